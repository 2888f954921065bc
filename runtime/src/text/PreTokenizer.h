//===- PreTokenizer.h - Text to words ---------------------------*- C++ -*-===//
//
// Byte pairs are merged inside words only. What a word is depends on the
// model; GGUF names the rule.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXT_PRETOKENIZER_H
#define CHORUS_RT_TEXT_PRETOKENIZER_H

#include "chorus_rt/Status.h"

#include <cstddef>
#include <memory>
#include <string_view>

struct pcre2_real_code_8;

namespace chorus::rt {

/// A named rule and what goes with it.
struct PreTokenizerRule {
  std::string_view name; ///< As in GGUF's tokenizer.ggml.pre.
  const char *pattern;   ///< Matches a word at the start of a text.
  /// Whether a word that is a token by itself is taken without merging.
  bool ignoreMerges;
  /// Whether BOS is added where the file does not say.
  bool addBosByDefault;
};

/// The rule of that name, or null.
const PreTokenizerRule *findPreTokenizerRule(std::string_view name);

/// A compiled rule; immutable, so threads may share it. One that was not made
/// by `create` is empty and can only be assigned to.
class PreTokenizer {
public:
  static StatusOr<PreTokenizer> create(const PreTokenizerRule &rule);

  /// Walks the words of one text after another; for one thread.
  class Words {
  public:
    explicit Words(const PreTokenizer &preTokenizer);
    ~Words();
    Words(const Words &) = delete;
    Words &operator=(const Words &) = delete;

    /// The length in bytes (at least 1) of the word at `offset` of `text`,
    /// which is valid UTF-8; `offset` is at a character and before the end.
    StatusOr<size_t> wordLength(std::string_view text, size_t offset);

  private:
    struct Workspace;
    const PreTokenizer &preTokenizer;
    std::unique_ptr<Workspace> workspace;
  };

private:
  struct Deleter {
    void operator()(pcre2_real_code_8 *code) const;
  };
  std::unique_ptr<pcre2_real_code_8, Deleter> code;
};

} // namespace chorus::rt

#endif // CHORUS_RT_TEXT_PRETOKENIZER_H
