//===- Prompt.h - From what a user gives to token ids -----------*- C++ -*-===//

#ifndef CHORUS_RT_PROMPT_H
#define CHORUS_RT_PROMPT_H

#include "chorus_rt/ChatTemplate.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/TextSpan.h"
#include "chorus_rt/Tokenizer.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// What the model reads.
struct Prompt {
  std::vector<TextSpan> spans; ///< Empty where only ids were given.
  std::vector<int32_t> ids;

  /// The spans as one text.
  std::string text() const;
};

/// A text as it is; BOS stands before it when the model asks for it. Special
/// tokens are recognised only with `parseSpecial`. Errors: T08, T09.
StatusOr<Prompt> promptFromText(const Tokenizer &tokenizer, std::string text,
                                bool parseSpecial);

/// Parses messages: a JSON array of objects with a `role` and a `content`, as
/// chat templates expect them. `place` stands in messages. Errors: T01 (not
/// such an array, nested too deeply), T08 (too long), T09 (no UTF-8, a lone
/// surrogate).
StatusOr<nlohmann::ordered_json> parseMessages(std::string_view json,
                                               const std::string &place);

/// Parses tools that the assistant may call: a JSON array of objects, which
/// only chat templates look into. Errors as of parseMessages().
StatusOr<nlohmann::ordered_json> parseTools(std::string_view json,
                                            const std::string &place);

/// Messages rendered with a chat template, up to where the assistant's answer
/// begins. `tools` is null where there are none. Special tokens are recognised
/// in the template's own text only, with `parseSpecial` in messages and tools
/// as well. No BOS is added: that is the template's to write. Errors: those of
/// ChatTemplate, T08, T09.
StatusOr<Prompt> promptFromMessages(const Tokenizer &tokenizer,
                                    std::string templateSource,
                                    const nlohmann::ordered_json &messages,
                                    const nlohmann::ordered_json &tools,
                                    bool parseSpecial);

/// A template rendered with `variables`, an object, and the texts of the
/// model's special tokens (bos_token, eos_token, ..). Strings of `variables`
/// are user text: no special token is recognised in them. No BOS is added.
/// Errors: those of ChatTemplate, T08, T09.
StatusOr<Prompt> promptFromTemplate(const Tokenizer &tokenizer,
                                    const ChatTemplate &source,
                                    nlohmann::ordered_json variables);

/// The text of the last message of role `user`; of several parts, those of type
/// `text` joined. Empty if there is none. `messages` is what parseMessages
/// gives.
std::string lastUserText(const nlohmann::ordered_json &messages);

} // namespace chorus::rt

#endif // CHORUS_RT_PROMPT_H
