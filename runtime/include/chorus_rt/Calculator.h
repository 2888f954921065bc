//===- Calculator.h - GSM8K's calculator ------------------------*- C++ -*-===//
//
// A text that writes "<<3*4=" gets "12>>" from the calculator instead of the
// model: Cobbe et al., "Training Verifiers to Solve Math Word Problems", 2021.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_CALCULATOR_H
#define CHORUS_RT_CALCULATOR_H

#include "chorus_rt/Generation.h"
#include "chorus_rt/Tokenizer.h"

#include <optional>
#include <string>
#include <string_view>

namespace chorus::rt {

/// What must follow a text that ends in `=`: the value of what stands between
/// its last "<<" and the first `=` after it, and ">>". Nothing if the text does
/// not end so, if a ">>" has closed the last "<<", or if there is no value.
///
/// Expressions are Python's over the characters 0-9 . + - * / ( ), with // and
/// **; commas are left out. Whole numbers print as integers, others in the
/// shortest form that reads back as the same f64. No value: anything else in
/// the expression, no syntax of Python, a division by zero, integers beyond 64
/// bits, results that are not finite, and powers whose exponent is no integer.
std::optional<std::string> calculatorContinuation(std::string_view text);

/// Writes calculatorContinuation() into the candidates of one request, its text
/// tokenised alone. `tokenizer` outlives the hook.
ForceCallback calculatorHook(const Tokenizer &tokenizer);

} // namespace chorus::rt

#endif // CHORUS_RT_CALCULATOR_H
