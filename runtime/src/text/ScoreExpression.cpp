//===- ScoreExpression.cpp - A score from probabilities of tokens ---------===//

#include "chorus_rt/ScoreExpression.h"

#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <new>

namespace chorus::rt {

static constexpr size_t maxBytes = 4096;
static constexpr int maxDepth = 64;

/// Recursive descent to postfix steps.
class ScoreExpression::Parser {
public:
  explicit Parser(std::string_view source) : source(source) {}

  StatusOr<ScoreExpression> parse() {
    CHORUS_RETURN_IF_ERROR(sum());
    if (at < source.size())
      return wrong("needed is an operator or the end");
    if (result.tokenTexts.empty())
      return usageError("score '" + escapeForMessage(source) +
                        "' has no p(\"...\"), so that all candidates would "
                        "be equal");
    return std::move(result);
  }

private:
  Status wrong(const std::string &message) const {
    std::string found = at < source.size()
                            ? "'" + escapeForMessage(source.substr(at, 1)) + "'"
                            : "the end";
    return usageError("score '" + escapeForMessage(source) + "' @" +
                      std::to_string(at) + ": found is " + found + ", " +
                      message);
  }

  /// Whether `token` comes next, behind blanks; takes it if so.
  bool take(std::string_view token) {
    at = std::min(source.find_first_not_of(" \t\r\n", at), source.size());
    if (source.substr(at, token.size()) != token)
      return false;
    at += token.size();
    return true;
  }

  void add(Op op, size_t offset) { result.steps.push_back({op, 0, 0, offset}); }

  Status sum() {
    CHORUS_RETURN_IF_ERROR(product());
    for (;;) {
      bool plus = take("+");
      if (!plus && !take("-"))
        return Status();
      size_t offset = at - 1;
      CHORUS_RETURN_IF_ERROR(product());
      add(plus ? Op::Add : Op::Subtract, offset);
    }
  }

  Status product() {
    CHORUS_RETURN_IF_ERROR(factor());
    for (;;) {
      bool times = take("*");
      if (!times && !take("/"))
        return Status();
      size_t offset = at - 1;
      CHORUS_RETURN_IF_ERROR(factor());
      add(times ? Op::Multiply : Op::Divide, offset);
    }
  }

  Status factor() {
    if (++depth > maxDepth)
      return wrong("allowed are " + std::to_string(maxDepth) + " levels");
    Status status = signedFactor();
    --depth;
    return status;
  }

  Status signedFactor() {
    if (take("-")) {
      size_t offset = at - 1;
      CHORUS_RETURN_IF_ERROR(factor());
      add(Op::Negate, offset);
      return Status();
    }
    if (take("+"))
      return factor();
    if (take("("))
      return closed(sum());
    size_t offset = at;
    if (takeCall("log")) {
      CHORUS_RETURN_IF_ERROR(closed(sum()));
      add(Op::Log, offset);
      return Status();
    }
    if (takeCall("p"))
      return closed(probability(offset));
    return number();
  }

  bool takeCall(std::string_view name) {
    size_t before = at;
    if (take(name) && take("("))
      return true;
    at = before;
    return false;
  }

  Status closed(const Status &inside) {
    CHORUS_RETURN_IF_ERROR(inside);
    return take(")") ? Status() : wrong("needed is ')'");
  }

  Status probability(size_t offset) {
    if (!take("\""))
      return wrong("needed is a string in '\"'");
    std::string text;
    for (;; ++at) {
      if (at == source.size())
        return wrong("needed is '\"'");
      char c = source[at];
      if (c == '"')
        break;
      if (c == '\\') {
        static constexpr std::string_view names = "\"\\nrt",
                                          bytes = "\"\\\n\r\t";
        size_t which = ++at < source.size() ? names.find(source[at])
                                            : std::string_view::npos;
        if (which == std::string_view::npos)
          return wrong("needed is one of \" \\ n r t after '\\'");
        c = bytes[which];
      }
      text += c;
    }
    ++at;
    std::vector<std::string> &texts = result.tokenTexts;
    size_t index = static_cast<size_t>(
        std::find(texts.begin(), texts.end(), text) - texts.begin());
    if (index == texts.size())
      texts.push_back(std::move(text));
    result.steps.push_back(
        {Op::Probability, static_cast<uint32_t>(index), 0, offset});
    return Status();
  }

  Status number() {
    double value = 0;
    std::from_chars_result end = std::from_chars(
        source.data() + at, source.data() + source.size(), value);
    // Neither "inf" nor "nan", which it takes as well.
    bool starts =
        at < source.size() &&
        (source[at] == '.' || (source[at] >= '0' && source[at] <= '9'));
    if (!starts || end.ec != std::errc())
      return wrong("needed is a number, '(', log( or p(\"...\")");
    result.steps.push_back({Op::Number, 0, value, at});
    at = static_cast<size_t>(end.ptr - source.data());
    return Status();
  }

  std::string_view source;
  size_t at = 0;
  int depth = 0;
  ScoreExpression result;
};

StatusOr<ScoreExpression> ScoreExpression::parse(std::string_view source) try {
  if (source.size() > maxBytes)
    return usageError("the score has " + std::to_string(source.size()) +
                      " bytes, allowed are " + std::to_string(maxBytes));
  if (size_t at = findInvalidUtf8(source); at != std::string_view::npos)
    return usageError("score @" + std::to_string(at) + ": invalid UTF-8");
  return Parser(source).parse();
} catch (const std::bad_alloc &) {
  return limitError("N10", "score", "out of memory");
}

StatusOr<std::vector<int32_t>>
ScoreExpression::tokens(const Tokenizer &tokenizer) const try {
  std::vector<int32_t> ids, all;
  for (const std::string &text : tokenTexts) {
    CHORUS_RETURN_IF_ERROR(tokenizer.encode(text, /*parseSpecial=*/true, ids));
    if (ids.size() != 1)
      return usageError("score: p(\"" + escapeForMessage(text) + "\") is " +
                        std::to_string(ids.size()) +
                        " tokens of the verifier, needed is exactly one");
    all.push_back(ids.front());
  }
  return all;
} catch (const std::bad_alloc &) {
  return limitError("N10", "score", "out of memory");
}

static Status noScore(size_t offset, const std::string &message) {
  return Status::error(ExitCode::SomeRecordsFailed, "N08",
                       "score @" + std::to_string(offset), message);
}

StatusOr<double>
ScoreExpression::evaluate(const std::vector<double> &probabilities,
                          const ScalarFunctions &functions) const try {
  std::vector<double> stack;
  for (const Step &step : steps) {
    double value = step.number;
    if (step.op == Op::Probability) {
      value = probabilities[step.text];
      if (!(value >= 0 && value <= 1))
        return noScore(step.offset,
                       "the probability of \"" +
                           escapeForMessage(tokenTexts[step.text]) +
                           "\" is not in [0, 1]");
    } else if (step.op != Op::Number) {
      double right = stack.back();
      stack.pop_back();
      double left = 0;
      if (step.op > Op::Log) {
        left = stack.back();
        stack.pop_back();
      }
      switch (step.op) {
      case Op::Negate:
        value = -right;
        break;
      case Op::Log:
        if (!(right >= std::numeric_limits<double>::min()))
          return noScore(step.offset, "logarithm of a number that is not "
                                      "positive");
        value = functions.log(right);
        break;
      case Op::Add:
        value = left + right;
        break;
      case Op::Subtract:
        value = left - right;
        break;
      case Op::Multiply:
        value = left * right;
        break;
      default:
        if (right == 0)
          return noScore(step.offset, "division by zero");
        value = left / right;
      }
    }
    if (!std::isfinite(value))
      return noScore(step.offset, "the value is not finite");
    stack.push_back(value);
  }
  return stack.back();
} catch (const std::bad_alloc &) {
  return limitError("N10", "score", "out of memory");
}

} // namespace chorus::rt
