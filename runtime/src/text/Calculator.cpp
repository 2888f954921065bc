//===- Calculator.cpp - GSM8K's calculator --------------------------------===//

#include "chorus_rt/Calculator.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <variant>

namespace chorus::rt {
namespace {

/// An int or a float of Python.
using Number = std::variant<int64_t, double>;
using Value = std::optional<Number>;

/// Python refuses more parentheses, and the text of a model may hold any.
constexpr int maxDepth = 200;

bool isInteger(const Number &x) { return std::holds_alternative<int64_t>(x); }
int64_t integer(const Number &x) { return std::get<int64_t>(x); }
double toFloat(const Number &x) {
  return isInteger(x) ? static_cast<double>(integer(x)) : std::get<double>(x);
}

Value finite(double x) { return std::isfinite(x) ? Value(x) : std::nullopt; }

uint64_t magnitude(int64_t x) {
  return x < 0 ? -static_cast<uint64_t>(x) : static_cast<uint64_t>(x);
}

/// a / b of integers, rounded once.
double trueQuotient(int64_t a, int64_t b) {
  if (a == 0)
    return 0;
  using Wide = unsigned __int128;
  // At least 64 bits of quotient, below them whether there is more.
  int shift = 63 + __builtin_clzll(magnitude(a));
  Wide dividend = static_cast<Wide>(magnitude(a)) << shift;
  Wide quotient = dividend / magnitude(b);
  if (dividend % magnitude(b) != 0)
    quotient |= 1;
  double result = std::ldexp(static_cast<double>(quotient), -shift);
  return (a < 0) != (b < 0) ? -result : result;
}

int64_t floorQuotient(int64_t a, int64_t b) {
  int64_t quotient = a / b;
  return quotient - (a % b != 0 && (a < 0) != (b < 0));
}

/// Python's: from the remainder, which is exact.
double floorQuotient(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0))
    quotient -= 1;
  if (quotient == 0)
    return std::copysign(0.0, a / b);
  double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Value power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
      return std::nullopt;
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
      return std::nullopt;
  }
  return result;
}

/// base^exponent, or 1 / base^exponent, in pairs of f64 whose sum has about 100
/// bits, so that the result is rounded once.
double power(double base, uint64_t exponent, bool reciprocal) {
  struct Pair {
    double high, low;
    Pair operator*(const Pair &other) const {
      double product = high * other.high;
      double error = std::fma(high, other.high, -product) +
                     (high * other.low + low * other.high);
      double sum = product + error;
      return {sum, error - (sum - product)};
    }
  };
  Pair result{1, 0}, factor{base, 0};
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1)
      result = result * factor;
    factor = factor * factor;
  }
  if (!reciprocal)
    return result.high;
  double quotient = 1 / result.high;
  double rest = std::fma(-quotient, result.high, 1) - quotient * result.low;
  return quotient + quotient * rest;
}

Value power(const Number &base, const Number &exponent) {
  if (isInteger(base) && isInteger(exponent) && integer(exponent) >= 0)
    return power(integer(base), integer(exponent));
  double x = toFloat(base), y = toFloat(exponent);
  if (y != std::floor(y) || std::fabs(y) > 0x1p53 || (x == 0 && y < 0))
    return std::nullopt;
  return finite(power(x, static_cast<uint64_t>(std::fabs(y)), y < 0));
}

/// Python's grammar of numbers, the operators and parentheses.
class Parser {
public:
  explicit Parser(std::string_view text) : text(text) {}

  Value parse() {
    Value value = sum();
    return at == text.size() ? value : std::nullopt;
  }

private:
  bool take(std::string_view token) {
    if (text.substr(at, token.size()) != token)
      return false;
    at += token.size();
    return true;
  }

  Value sum() {
    Value left = product();
    while (left) {
      bool plus = take("+");
      if (!plus && !take("-"))
        break;
      left = apply(left, product(), plus ? '+' : '-');
    }
    return left;
  }

  Value product() {
    Value left = signedPower();
    while (left) {
      // "**" binds tighter and has been taken by then.
      char op = take("//") ? 'f' : take("/") ? '/' : take("*") ? '*' : 0;
      if (!op)
        break;
      left = apply(left, signedPower(), op);
    }
    return left;
  }

  /// Signs bind less than a power to their right, more than one to their left.
  Value signedPower() {
    bool negative = false;
    for (;;) {
      if (take("-"))
        negative = !negative;
      else if (!take("+"))
        break;
    }
    Value base = atom();
    if (base && take("**")) {
      if (++depth > maxDepth)
        return std::nullopt;
      Value exponent = signedPower();
      --depth;
      base = exponent ? power(*base, *exponent) : std::nullopt;
    }
    if (!base || !negative)
      return base;
    if (!isInteger(*base))
      return -toFloat(*base);
    return apply(Number(int64_t(0)), base, '-');
  }

  Value atom() {
    if (!take("("))
      return number();
    if (++depth > maxDepth)
      return std::nullopt;
    Value value = sum();
    --depth;
    return take(")") ? value : std::nullopt;
  }

  Value number() {
    size_t begin = at;
    auto digits = [&] {
      size_t first = at;
      while (at < text.size() && text[at] >= '0' && text[at] <= '9')
        ++at;
      return at - first;
    };
    size_t before = digits();
    bool point = take(".");
    size_t after = point ? digits() : 0;
    if (before + after == 0)
      return std::nullopt;
    std::string_view token = text.substr(begin, at - begin);
    if (point) {
      double value = 0;
      if (std::from_chars(token.data(), token.data() + token.size(), value)
              .ec != std::errc())
        return std::nullopt;
      return value;
    }
    // Python has no integers with leading zeros but 0 itself.
    if (token[0] == '0' && token.find_first_not_of('0') != token.npos)
      return std::nullopt;
    int64_t value = 0;
    if (std::from_chars(token.data(), token.data() + token.size(), value).ec !=
        std::errc())
      return std::nullopt;
    return value;
  }

  static Value apply(const Value &a, const Value &b, char op) {
    if (!a || !b)
      return std::nullopt;
    bool divides = op == '/' || op == 'f';
    if (divides && toFloat(*b) == 0)
      return std::nullopt;
    if (isInteger(*a) && isInteger(*b)) {
      int64_t x = integer(*a), y = integer(*b), result = 0;
      if (op == '/')
        return trueQuotient(x, y);
      if (op == 'f' && x == INT64_MIN && y == -1)
        return std::nullopt;
      if (op == 'f')
        return floorQuotient(x, y);
      bool overflow = op == '+'   ? __builtin_add_overflow(x, y, &result)
                      : op == '-' ? __builtin_sub_overflow(x, y, &result)
                                  : __builtin_mul_overflow(x, y, &result);
      return overflow ? std::nullopt : Value(result);
    }
    double x = toFloat(*a), y = toFloat(*b);
    return finite(op == '+'   ? x + y
                  : op == '-' ? x - y
                  : op == '*' ? x * y
                  : op == '/' ? x / y
                              : floorQuotient(x, y));
  }

  std::string_view text;
  size_t at = 0;
  int depth = 0;
};

std::string print(const Number &value) {
  char buffer[400]; // Whole numbers have up to 309 digits.
  std::to_chars_result end;
  if (isInteger(value))
    end = std::to_chars(buffer, buffer + sizeof buffer, integer(value));
  else if (double x = toFloat(value); x == 0)
    end = std::to_chars(buffer, buffer + sizeof buffer, 0);
  else if (x == std::floor(x))
    end = std::to_chars(buffer, buffer + sizeof buffer, x,
                        std::chars_format::fixed, 0);
  else // Python's repr leaves the fixed form below 1e-4.
    end = std::to_chars(buffer, buffer + sizeof buffer, x,
                        std::fabs(x) < 1e-4 ? std::chars_format::scientific
                                            : std::chars_format::fixed);
  return std::string(buffer, end.ptr);
}

/// Where the last "<<" begins, or npos. They are counted from the left, as by
/// Python's split: in "<<<" the third one is text behind.
size_t findLastOpening(std::string_view text) {
  size_t last = std::string_view::npos;
  for (size_t at = text.find("<<"); at != std::string_view::npos;
       at = text.find("<<", at + 2))
    last = at;
  return last;
}

} // namespace

std::optional<std::string> calculatorContinuation(std::string_view text) {
  if (text.empty() || text.back() != '=')
    return std::nullopt;
  size_t open = findLastOpening(text);
  if (open == std::string_view::npos)
    return std::nullopt;
  std::string_view rest = text.substr(open + 2);
  if (rest.find(">>") != std::string_view::npos)
    return std::nullopt;
  std::string expression;
  for (char c : rest.substr(0, rest.find('=')))
    if (c != ',')
      expression += c;
  Value value = Parser(expression).parse();
  if (!value)
    return std::nullopt;
  return print(*value) + ">>";
}

ForceCallback calculatorHook(const Tokenizer &tokenizer) {
  // Of each candidate, the text from its last "<<" on.
  auto texts = std::make_shared<std::map<int64_t, std::string>>();
  return
      [texts, &tokenizer](const TokenEvent &event, std::vector<int32_t> &next) {
        std::string &text = (*texts)[event.candidate];
        text += event.textDelta;
        size_t open = findLastOpening(text);
        // Without one, the next piece may make it.
        text.erase(0, open != std::string::npos ? open
                                                : text.size() - !text.empty());
        // A token that adds no text leaves a `=` that was looked at before.
        if (event.textDelta.empty())
          return Status();
        std::optional<std::string> forced = calculatorContinuation(text);
        return forced ? tokenizer.encode(*forced, /*parseSpecial=*/false, next)
                      : Status();
      };
}

} // namespace chorus::rt
