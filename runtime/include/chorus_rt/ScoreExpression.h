//===- ScoreExpression.h - A score from probabilities of tokens -*- C++ -*-===//
//
// p(" yes") / (p(" yes") + p(" no")): numbers, + - * / ( ), log(x), and p("…"),
// the probability of that one token right after the text that a verifier has
// read. In the string, \" \\ \n \r \t stand for themselves.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SCOREEXPRESSION_H
#define CHORUS_RT_SCOREEXPRESSION_H

#include "chorus_rt/ScalarFunctions.h"
#include "chorus_rt/Status.h"
#include "chorus_rt/Tokenizer.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// A parsed expression. Immutable: threads may share one.
class ScoreExpression {
public:
  /// Usage error with the offset of what is wrong: syntax, more than 4096
  /// bytes, more than 64 levels, or no p("…") at all.
  static StatusOr<ScoreExpression> parse(std::string_view source);

  /// The distinct strings of p("…"), in the order of their first appearance.
  const std::vector<std::string> &texts() const { return tokenTexts; }

  /// Each text's token; texts of special tokens are recognised. Usage error
  /// that names a text which is not exactly one token and how many it is.
  StatusOr<std::vector<int32_t>> tokens(const Tokenizer &tokenizer) const;

  /// The value in f64 with the probabilities of texts(). `functions` are the
  /// model's. N08 (exit 1) where there is none: a division by zero, the
  /// logarithm of what is not positive, an overflow, or a probability that is
  /// not in [0, 1].
  StatusOr<double> evaluate(const std::vector<double> &probabilities,
                            const ScalarFunctions &functions) const;

private:
  class Parser;

  enum class Op : uint8_t {
    Number,
    Probability,
    Negate,
    Log,
    Add,
    Subtract,
    Multiply,
    Divide
  };
  /// Operands stand before their operation.
  struct Step {
    Op op;
    uint32_t text = 0; ///< Of a probability.
    double number = 0;
    size_t offset = 0; ///< In the source, for messages.
  };

  std::vector<Step> steps;
  std::vector<std::string> tokenTexts;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SCOREEXPRESSION_H
