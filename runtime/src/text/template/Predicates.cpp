//===- Predicates.cpp - Jinja's tests: value is NAME ----------------------===//

#include "Evaluator.h"
#include "TextMethods.h"

namespace chorus::rt::jinja {

namespace {

/// A test that looks at nothing but the value.
template <bool (*predicate)(const Value &)>
bool simple(Evaluator &evaluator, const Value &subject, Arguments &arguments) {
  requireNoArguments(evaluator.state, "test", arguments);
  return predicate(subject);
}

bool isDefined(const Value &value) { return !is<Undefined>(value); }
bool isUndefined(const Value &value) { return is<Undefined>(value); }
bool isNone(const Value &value) { return is<None>(value); }
bool isBoolean(const Value &value) { return is<bool>(value); }
bool isTrueConstant(const Value &value) {
  return is<bool>(value) && std::get<bool>(value);
}
bool isFalseConstant(const Value &value) {
  return is<bool>(value) && !std::get<bool>(value);
}
bool isInteger(const Value &value) { return is<int64_t>(value); }
bool isFloat(const Value &value) { return is<double>(value); }
bool isNumber(const Value &value) { return asNumber(value).has_value(); }
bool isString(const Value &value) { return asString(value) != nullptr; }
bool isEscaped(const Value &value) {
  return asString(value) && asString(value)->isSafe;
}
bool isMapping(const Value &value) { return asDict(value) != nullptr; }

/// Anything with a length and an index, undefined included, as in Jinja.
bool isSequence(const Value &value) {
  if (const SequenceObject *sequence = asSequence(value))
    return sequence->kind == SequenceKind::List ||
           sequence->kind == SequenceKind::Tuple ||
           sequence->kind == SequenceKind::Range;
  return asString(value) || asDict(value) || is<Undefined>(value);
}

bool isIterable(const Value &value) {
  return asString(value) || asSequence(value) || asDict(value) ||
         is<Undefined>(value) || is<LoopRef>(value);
}

bool isCallable(const Value &value) {
  return is<MacroRef>(value) || is<MethodRef>(value) ||
         is<GlobalFunction>(value) || is<Undefined>(value) ||
         is<LoopRef>(value);
}

template <bool (*predicate)(const StringObject &)>
bool isCase(Evaluator &evaluator, const Value &subject, Arguments &arguments) {
  requireNoArguments(evaluator.state, "test", arguments);
  Value text = toString(evaluator.state, subject);
  evaluator.state.chargeText(asString(text)->text.size());
  return predicate(*asString(text));
}

bool isMultiple(Evaluator &evaluator, const Value &subject,
                const Value &divisor, int64_t rest) {
  RenderState &state = evaluator.state;
  return equals(
      state, applyBinary(state, BinaryOperator::Mod, subject, divisor), rest);
}

template <int64_t rest>
bool isParity(Evaluator &evaluator, const Value &subject,
              Arguments &arguments) {
  requireNoArguments(evaluator.state, "test", arguments);
  return isMultiple(evaluator, subject, int64_t(2), rest);
}

bool isDivisibleBy(Evaluator &evaluator, const Value &subject,
                   Arguments &arguments) {
  BoundArguments bound(evaluator.state, "divisibleby", arguments, {"num"}, 1);
  return isMultiple(evaluator, subject, *bound[0], 0);
}

/// Same object: for None and booleans; others need their address.
bool isSameAs(Evaluator &evaluator, const Value &subject,
              Arguments &arguments) {
  BoundArguments bound(evaluator.state, "sameas", arguments, {"other"}, 1);
  auto isSingleton = [](const Value &value) {
    return is<None>(value) || is<bool>(value);
  };
  if (!isSingleton(subject) && !isSingleton(*bound[0]))
    evaluator.state.fail("sameas is supported for none, true and false only");
  return subject.index() == bound[0]->index() &&
         equals(evaluator.state, subject, *bound[0]);
}

bool isIn(Evaluator &evaluator, const Value &subject, Arguments &arguments) {
  BoundArguments bound(evaluator.state, "in", arguments, {"seq"}, 1);
  return contains(evaluator.state, *bound[0], subject);
}

template <Comparison comparison>
bool compares(Evaluator &evaluator, const Value &subject,
              Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "comparison", arguments, {"other"}, 1);
  return evaluator.compare(comparison, subject, *bound[0]);
}

struct NamedTest {
  const char *name;
  TestFunction function;
};

const NamedTest tests[] = {
    {"!=", compares<Comparison::NotEqual>},
    {"<", compares<Comparison::Less>},
    {"<=", compares<Comparison::LessEqual>},
    {"==", compares<Comparison::Equal>},
    {">", compares<Comparison::Greater>},
    {">=", compares<Comparison::GreaterEqual>},
    {"boolean", simple<isBoolean>},
    {"callable", simple<isCallable>},
    {"defined", simple<isDefined>},
    {"divisibleby", isDivisibleBy},
    {"eq", compares<Comparison::Equal>},
    {"equalto", compares<Comparison::Equal>},
    {"escaped", simple<isEscaped>},
    {"even", isParity<0>},
    {"false", simple<isFalseConstant>},
    {"float", simple<isFloat>},
    {"ge", compares<Comparison::GreaterEqual>},
    {"greaterthan", compares<Comparison::Greater>},
    {"gt", compares<Comparison::Greater>},
    {"in", isIn},
    {"integer", simple<isInteger>},
    {"iterable", simple<isIterable>},
    {"le", compares<Comparison::LessEqual>},
    {"lessthan", compares<Comparison::Less>},
    {"lower", isCase<isAllLower>},
    {"lt", compares<Comparison::Less>},
    {"mapping", simple<isMapping>},
    {"ne", compares<Comparison::NotEqual>},
    {"none", simple<isNone>},
    {"number", simple<isNumber>},
    {"odd", isParity<1>},
    {"sameas", isSameAs},
    {"sequence", simple<isSequence>},
    {"string", simple<isString>},
    {"true", simple<isTrueConstant>},
    {"undefined", simple<isUndefined>},
    {"upper", isCase<isAllUpper>},
};

} // namespace

TestFunction findTest(std::string_view name) {
  for (const auto &[testName, function] : tests)
    if (testName == name)
      return function;
  return nullptr;
}

} // namespace chorus::rt::jinja
