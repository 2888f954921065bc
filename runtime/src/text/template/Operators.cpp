//===- Operators.cpp - Arithmetic, indices and slices ---------------------===//

#include "Unicode.h"
#include "Value.h"

#include <algorithm>
#include <cmath>

namespace chorus::rt::jinja {

namespace {

[[noreturn]] void failOverflow(RenderState &state) {
  state.fail("result does not fit in a 64-bit integer");
}

const char *operatorText(BinaryOperator op) {
  switch (op) {
  case BinaryOperator::Add:
    return "+";
  case BinaryOperator::Sub:
    return "-";
  case BinaryOperator::Mul:
    return "*";
  case BinaryOperator::Div:
    return "/";
  case BinaryOperator::FloorDiv:
    return "//";
  case BinaryOperator::Mod:
    return "%";
  case BinaryOperator::Pow:
    return "**";
  }
  return "";
}

int64_t integerPower(RenderState &state, int64_t base, int64_t exponent) {
  int64_t result = 1;
  // A base beyond 1 overflows after 63 rounds at the latest.
  if (base == 0 || base == 1)
    return exponent == 0 ? 1 : base;
  if (base == -1)
    return exponent % 2 == 0 ? 1 : -1;
  for (; exponent > 0; --exponent)
    if (__builtin_mul_overflow(result, base, &result))
      failOverflow(state);
  return result;
}

Value applyToIntegers(RenderState &state, BinaryOperator op, int64_t a,
                      int64_t b) {
  int64_t result = 0;
  bool overflows = false;
  switch (op) {
  case BinaryOperator::Add:
    overflows = __builtin_add_overflow(a, b, &result);
    break;
  case BinaryOperator::Sub:
    overflows = __builtin_sub_overflow(a, b, &result);
    break;
  case BinaryOperator::Mul:
    overflows = __builtin_mul_overflow(a, b, &result);
    break;
  case BinaryOperator::Div:
    if (b == 0)
      state.fail("division by zero");
    return static_cast<double>(static_cast<long double>(a) /
                               static_cast<long double>(b));
  case BinaryOperator::FloorDiv:
  case BinaryOperator::Mod: {
    if (b == 0)
      state.fail("division by zero");
    if (b == -1) { // INT64_MIN / -1 does not fit.
      if (op == BinaryOperator::Mod)
        return int64_t(0);
      overflows = __builtin_sub_overflow(int64_t(0), a, &result);
      break;
    }
    int64_t quotient = a / b, rest = a % b;
    if (rest != 0 && (rest < 0) != (b < 0)) {
      --quotient;
      rest += b;
    }
    return op == BinaryOperator::Mod ? rest : quotient;
  }
  case BinaryOperator::Pow:
    if (b < 0)
      state.fail("** with a negative exponent is outside the supported subset");
    return integerPower(state, a, b);
  }
  if (overflows)
    failOverflow(state);
  return result;
}

/// Quotient rounded down, and the rest with the sign of the divisor.
std::pair<double, double> floorDivide(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest == 0) {
    rest = std::copysign(0.0, b);
  } else if ((rest < 0) != (b < 0)) {
    rest += b;
    quotient -= 1;
  }
  if (quotient == 0)
    return {std::copysign(0.0, a / b), rest};
  double whole = std::floor(quotient);
  if (quotient - whole > 0.5)
    whole += 1;
  return {whole, rest};
}

Value applyToFloats(RenderState &state, BinaryOperator op, double a, double b) {
  switch (op) {
  case BinaryOperator::Add:
    return a + b;
  case BinaryOperator::Sub:
    return a - b;
  case BinaryOperator::Mul:
    return a * b;
  case BinaryOperator::Div:
  case BinaryOperator::FloorDiv:
  case BinaryOperator::Mod:
    if (b == 0)
      state.fail("division by zero");
    if (op == BinaryOperator::Div)
      return a / b;
    return op == BinaryOperator::Mod ? floorDivide(a, b).second
                                     : floorDivide(a, b).first;
  case BinaryOperator::Pow:
    break;
  }
  state.fail("** of floats is outside the supported subset");
}

/// `value` * `count` for strings, lists and tuples; nullopt for other types.
std::optional<Value> repeat(RenderState &state, const Value &value,
                            int64_t count) {
  count = std::max<int64_t>(count, 0);
  if (const StringObject *string = asString(value)) {
    TextBuilder out(state);
    for (int64_t i = 0; i < count && string->length > 0; ++i)
      out.append(string->text);
    return makeString(state, out.take(), string->isSafe);
  }
  const SequenceObject *sequence = asSequence(value);
  if (!sequence || (sequence->kind != SequenceKind::List &&
                    sequence->kind != SequenceKind::Tuple))
    return std::nullopt;
  std::vector<Value> items;
  for (int64_t i = 0; i < count && !sequence->items.empty(); ++i) {
    state.chargeValue(sequence->items.size() * sizeof(Value));
    items.insert(items.end(), sequence->items.begin(), sequence->items.end());
  }
  return makeSequence(state, sequence->kind, std::move(items));
}

std::optional<Value> concatenate(RenderState &state, const Value &a,
                                 const Value &b) {
  const StringObject *x = asString(a), *y = asString(b);
  if (x && y) {
    bool isSafe = x->isSafe || y->isSafe;
    Value left = isSafe ? escapeHtml(state, *x) : a;
    Value right = isSafe ? escapeHtml(state, *y) : b;
    TextBuilder out(state);
    out.append(asString(left)->text);
    out.append(asString(right)->text);
    return makeString(state, out.take(), isSafe);
  }
  const SequenceObject *xs = asSequence(a), *ys = asSequence(b);
  if (!xs || !ys || xs->kind != ys->kind ||
      (xs->kind != SequenceKind::List && xs->kind != SequenceKind::Tuple))
    return std::nullopt;
  std::vector<Value> items = xs->items;
  items.insert(items.end(), ys->items.begin(), ys->items.end());
  return makeSequence(state, xs->kind, std::move(items));
}

/// An index counted from the end if negative; nullopt if out of range.
std::optional<size_t> resolveIndex(int64_t index, size_t length) {
  if (index < 0)
    index += static_cast<int64_t>(length);
  if (index < 0 || index >= static_cast<int64_t>(length))
    return std::nullopt;
  return static_cast<size_t>(index);
}

int64_t sliceBound(RenderState &state, const Value *bound, int64_t otherwise) {
  if (!bound || is<None>(*bound))
    return otherwise;
  requireDefined(state, *bound);
  std::optional<int64_t> value = asInteger(*bound);
  if (!value)
    state.fail(std::string("slice bounds must be integers, found '") +
               typeName(*bound) + "'");
  return *value;
}

/// Items of a slice: start, start + step, .. (`count` of them).
struct SliceIndices {
  int64_t start, stop, step;
  size_t count;

  size_t operator[](size_t k) const {
    return static_cast<size_t>(start + static_cast<int64_t>(k) * step);
  }
};

SliceIndices resolveSlice(RenderState &state, size_t size, const Value *start,
                          const Value *stop, const Value *step) {
  int64_t length = static_cast<int64_t>(size);
  int64_t by = sliceBound(state, step, 1);
  if (by == 0)
    state.fail("slice step cannot be zero");
  by = std::max(by, -INT64_MAX);
  // Where a bound may lie: before the first item only when going down.
  int64_t low = by < 0 ? -1 : 0, high = by < 0 ? length - 1 : length;
  auto clamp = [&](const Value *bound, int64_t otherwise) {
    if (!bound || is<None>(*bound))
      return otherwise;
    int64_t value = sliceBound(state, bound, 0);
    if (value < 0)
      value += length;
    return std::clamp(value, low, high);
  };
  int64_t from = clamp(start, by < 0 ? high : low);
  int64_t to = clamp(stop, by < 0 ? low : high);
  size_t count = 0;
  if (by > 0 && from < to)
    count = static_cast<size_t>((to - from - 1) / by + 1);
  else if (by < 0 && to < from)
    count = static_cast<size_t>((from - to - 1) / -by + 1);
  return {from, to, by, count};
}

Value sliceString(RenderState &state, const StringObject &string,
                  const SliceIndices &slice) {
  state.chargeText(string.text.size());
  if (slice.count == 0)
    return makeString(state, MarkedText(), string.isSafe);
  size_t first = static_cast<size_t>(slice.start);
  if (slice.step == 1) {
    size_t begin = first, end = first + slice.count;
    if (!string.isAscii()) {
      begin = codePointOffset(string.view(), first);
      end = begin + codePointOffset(string.view().substr(begin), slice.count);
    }
    return makeString(state, string.text.slice(begin, end), string.isSafe);
  }
  std::vector<size_t> offsets; // Where the code points start.
  state.chargeValue((string.length + 1) * sizeof(size_t));
  offsets.reserve(string.length + 1);
  for (size_t offset = 0; offset < string.text.size();) {
    offsets.push_back(offset);
    decodeCodePoint(string.view(), offset);
  }
  offsets.push_back(string.text.size());
  TextBuilder out(state);
  for (size_t k = 0; k < slice.count; ++k)
    out.append(string.text, offsets[slice[k]], offsets[slice[k] + 1]);
  return makeString(state, out.take(), string.isSafe);
}

Value sliceSequence(RenderState &state, const SequenceObject &sequence,
                    const SliceIndices &slice) {
  std::vector<Value> items;
  items.reserve(slice.count);
  for (size_t k = 0; k < slice.count; ++k)
    items.push_back(sequence.items[slice[k]]);
  Value result = makeSequence(state, sequence.kind, std::move(items));
  if (sequence.kind != SequenceKind::Range)
    return result;
  auto at = [&](int64_t index) {
    int64_t value = 0;
    if (__builtin_mul_overflow(index, sequence.step, &value) ||
        __builtin_add_overflow(value, sequence.start, &value))
      failOverflow(state);
    return value;
  };
  SequenceObject range = *asSequence(result);
  range.start = at(slice.start);
  range.stop = at(slice.stop);
  if (__builtin_mul_overflow(sequence.step, slice.step, &range.step))
    failOverflow(state);
  return std::make_shared<const SequenceObject>(std::move(range));
}

} // namespace

Value applyBinary(RenderState &state, BinaryOperator op, const Value &a,
                  const Value &b) {
  state.charge();
  if (op == BinaryOperator::Mod && asString(a))
    state.fail("formatting of strings with % is outside the supported subset");
  requireDefined(state, a);
  requireDefined(state, b);
  std::optional<int64_t> aInt = asInteger(a), bInt = asInteger(b);
  if (aInt && bInt)
    return applyToIntegers(state, op, *aInt, *bInt);
  std::optional<double> aNumber = asNumber(a), bNumber = asNumber(b);
  if (aNumber && bNumber)
    return applyToFloats(state, op, *aNumber, *bNumber);
  std::optional<Value> result;
  if (op == BinaryOperator::Add)
    result = concatenate(state, a, b);
  else if (op == BinaryOperator::Mul && bInt)
    result = repeat(state, a, *bInt);
  else if (op == BinaryOperator::Mul && aInt)
    result = repeat(state, b, *aInt);
  if (!result)
    state.fail(std::string("cannot apply ") + operatorText(op) + " to '" +
               typeName(a) + "' and '" + typeName(b) + "'");
  return std::move(*result);
}

Value applyNegate(RenderState &state, const Value &value) {
  requireDefined(state, value);
  if (std::optional<int64_t> integer = asInteger(value))
    return applyToIntegers(state, BinaryOperator::Sub, 0, *integer);
  if (const double *number = std::get_if<double>(&value))
    return -*number;
  state.fail(std::string("cannot apply - to '") + typeName(value) + "'");
}

Value applyPositive(RenderState &state, const Value &value) {
  requireDefined(state, value);
  if (std::optional<int64_t> integer = asInteger(value))
    return *integer;
  if (is<double>(value))
    return value;
  state.fail(std::string("cannot apply + to '") + typeName(value) + "'");
}

std::optional<Value> getItem(RenderState &state, const Value &container,
                             const Value &key) {
  state.charge();
  requireDefined(state, container);
  if (const DictObject *dict = asDict(container)) {
    if (asDict(key) ||
        (asSequence(key) && asSequence(key)->kind != SequenceKind::Tuple))
      return std::nullopt;
    const Value *value = dict->find(state, key);
    return value ? std::optional<Value>(*value) : std::nullopt;
  }
  std::optional<int64_t> index = asInteger(key);
  if (!index)
    return std::nullopt;
  if (const StringObject *string = asString(container)) {
    std::optional<size_t> i = resolveIndex(*index, string->length);
    if (!i)
      return std::nullopt;
    size_t begin = *i, end = *i + 1;
    if (!string->isAscii()) {
      state.chargeText(string->text.size() * 8);
      begin = end = codePointOffset(string->view(), *i);
      decodeCodePoint(string->view(), end);
    }
    return makeString(state, string->text.slice(begin, end), string->isSafe);
  }
  const SequenceObject *sequence = asSequence(container);
  if (!sequence || (sequence->kind != SequenceKind::List &&
                    sequence->kind != SequenceKind::Tuple &&
                    sequence->kind != SequenceKind::Range))
    return std::nullopt;
  std::optional<size_t> i = resolveIndex(*index, sequence->items.size());
  return i ? std::optional<Value>(sequence->items[*i]) : std::nullopt;
}

Value getSlice(RenderState &state, const Value &container, const Value *start,
               const Value *stop, const Value *step) {
  state.charge();
  requireDefined(state, container);
  if (const StringObject *string = asString(container))
    return sliceString(state, *string,
                       resolveSlice(state, string->length, start, stop, step));
  const SequenceObject *sequence = asSequence(container);
  if (!sequence || (sequence->kind != SequenceKind::List &&
                    sequence->kind != SequenceKind::Tuple &&
                    sequence->kind != SequenceKind::Range))
    state.fail(std::string("cannot slice '") + typeName(container) + "'");
  return sliceSequence(
      state, *sequence,
      resolveSlice(state, sequence->items.size(), start, stop, step));
}

} // namespace chorus::rt::jinja
