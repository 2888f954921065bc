//===- ChatTemplate.h - Messages to prompt text -----------------*- C++ -*-===//
//
// A small interpreter of the Jinja subset that chat templates use, with the
// settings in which Hugging Face renders them: trim_blocks, lstrip_blocks, loop
// controls, a tojson that keeps Unicode, raise_exception, strftime_now, and
// transparent {% generation %} blocks.
//
// Every character of the result carries whether it came from user data or from
// the template, so that special tokens are never recognised in user text.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_CHATTEMPLATE_H
#define CHORUS_RT_CHATTEMPLATE_H

#include "chorus_rt/Status.h"
#include "chorus_rt/TextSpan.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace chorus::rt {

/// What one rendering may cost; beyond it, the template is refused with T12.
struct TemplateBudget {
  /// Evaluated nodes, loop iterations and 64-byte pieces of processed text.
  uint64_t maxSteps = 5'000'000;
  /// Nested evaluations, macro calls included.
  unsigned maxDepth = 400;
  /// Bytes of the rendered prompt.
  size_t maxOutputBytes = size_t(32) << 20;
  /// Bytes of all values that the rendering makes, freed or not.
  size_t maxValueBytes = size_t(384) << 20;
};

struct RenderOptions {
  TemplateBudget budget;
  /// The local time that strftime_now prints; empty: the system's clock.
  std::function<std::tm()> now;
  /// Variables of the context whose strings count as the template's own, such
  /// as the model's special tokens. The strings of all others are user text.
  std::set<std::string> templateOwned = {"bos_token", "eos_token", "unk_token",
                                         "pad_token", "sep_token", "cls_token",
                                         "mask_token"};
};

namespace jinja {
struct Program;
} // namespace jinja

/// A parsed chat template. Immutable: one object may render in many threads.
class ChatTemplate {
public:
  /// Parses `source` (UTF-8, at most 1 MiB). Errors, exit 3: `template` for a
  /// syntax error or a construct outside the subset, which it names with
  /// line:column (columns count bytes from 1); `T12` for nesting or size over
  /// the limit and for names such as `__class__`.
  static StatusOr<ChatTemplate> parse(std::string source);

  /// Renders with the variables of `context`, an object such as
  /// {"messages": [...], "tools": [...], "add_generation_prompt": true,
  /// "bos_token": "<s>"}. Returns maximal spans, none of them empty.
  ///
  /// Errors, exit 3: `template` for an error in the template or a message of
  /// its raise_exception; `T12` over the budget; `T09` if a string of the
  /// context is not UTF-8. Exit 4 if memory runs out.
  StatusOr<std::vector<TextSpan>>
  render(const nlohmann::ordered_json &context,
         const RenderOptions &options = {}) const;

private:
  ChatTemplate() = default;

  std::shared_ptr<const jinja::Program> program;
};

} // namespace chorus::rt

#endif // CHORUS_RT_CHATTEMPLATE_H
