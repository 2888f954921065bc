//===- Answer.h - The answer that a text gives ------------------*- C++ -*-===//
//
// What candidates vote for, and what is compared with a reference answer.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ANSWER_H
#define CHORUS_RT_ANSWER_H

#include "chorus_rt/Status.h"

#include <memory>
#include <optional>
#include <string>
#include <string_view>

// PCRE2's compiled pattern.
struct pcre2_real_code_8;

namespace chorus::rt {

/// GSM8K's rule: what follows the first "#### " that a number follows, which is
/// an optional minus and then digits, periods and commas; commas are left out.
/// Source: Cobbe et al., "Training Verifiers to Solve Math Word Problems",
/// 2021. Nothing if there is no such place.
std::optional<std::string> gsm8kAnswer(std::string_view text);

/// How answers are found in texts. Immutable: threads may share one.
class AnswerRule {
public:
  /// GSM8K's rule, and where it finds nothing, the whole text.
  AnswerRule() = default;

  /// A regular expression of PCRE2: the answer is its first group that took
  /// part in its first match, the whole match if none did. Usage error with the
  /// offset of what is wrong in it.
  static StatusOr<AnswerRule> fromPattern(std::string_view pattern);

  /// The answer of a text, without blanks around it and, if it is a number,
  /// without its commas; nothing if that is empty. `text` is UTF-8; other bytes
  /// match nothing. Error `limit` when the pattern takes too many steps.
  StatusOr<std::optional<std::string>> find(std::string_view text) const;

  /// The answer of a reference: as in other texts, or all of it where the rule
  /// finds nothing.
  StatusOr<std::string> reference(std::string_view text) const;

private:
  StatusOr<std::optional<std::string>> match(std::string_view text) const;

  /// Null: GSM8K's rule.
  std::shared_ptr<const pcre2_real_code_8> pattern;
};

} // namespace chorus::rt

#endif // CHORUS_RT_ANSWER_H
