//===- Filters.cpp - Jinja's filters --------------------------------------===//

#include "Evaluator.h"
#include "TextMethods.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace chorus::rt::jinja {

std::vector<Value> pairsOf(RenderState &state, const DictObject &dict) {
  std::vector<Value> pairs;
  pairs.reserve(dict.entries.size());
  for (const auto &[key, value] : dict.entries)
    pairs.push_back(makeSequence(state, SequenceKind::Tuple, {key, value}));
  return pairs;
}

namespace {

/// str(value), kept alive by the object.
class TextOf {
public:
  TextOf(RenderState &state, const Value &value)
      : value(toString(state, value)) {}
  const StringObject &operator*() const { return *asString(value); }

private:
  Value value;
};

Value makeList(RenderState &state, std::vector<Value> items) {
  return makeSequence(state, SequenceKind::List, std::move(items));
}

Value makeGenerator(RenderState &state, std::vector<Value> items) {
  return makeSequence(state, SequenceKind::Generator, std::move(items));
}

/// Attribute arguments: "a.b.0" leads through attributes and indices.
class AttributePath {
public:
  AttributePath(Evaluator &evaluator, const Value *attribute)
      : evaluator(evaluator) {
    RenderState &state = evaluator.state;
    if (!attribute || is<None>(*attribute))
      return;
    const StringObject *text = asString(*attribute);
    if (!text) {
      parts.push_back(*attribute);
      return;
    }
    MarkedText dot(".", false);
    StringObject separator{dot, 1};
    for (Value &part : splitText(state, *text, &separator, -1)) {
      std::string_view digits = asString(part)->view();
      int64_t index = 0;
      auto result =
          std::from_chars(digits.data(), digits.data() + digits.size(), index);
      bool isIndex = !digits.empty() && digits[0] != '-' &&
                     result.ec == std::errc() &&
                     result.ptr == digits.data() + digits.size();
      parts.push_back(isIndex ? Value(index) : std::move(part));
    }
  }

  /// `otherwise`, if given, stands for what is undefined on the way.
  Value operator()(Value item, const Value *otherwise = nullptr) const {
    for (const Value &part : parts) {
      item = evaluator.element(item, part);
      if (otherwise && is<Undefined>(item))
        item = *otherwise;
    }
    return item;
  }

private:
  Evaluator &evaluator;
  std::vector<Value> parts;
};

/// The sort key of a value: strings in lower case unless case counts.
Value sortKey(RenderState &state, const Value &value, bool caseSensitive) {
  const StringObject *text = asString(value);
  return text && !caseSensitive ? changeCase(state, *text, LetterCase::Lower)
                                : value;
}

//===-- Text --------------------------------------------------------------===//

template <LetterCase to>
Value convertCase(Evaluator &evaluator, const Value &input,
                  Arguments &arguments) {
  requireNoArguments(evaluator.state, "filter", arguments);
  return changeCase(evaluator.state, *TextOf(evaluator.state, input), to);
}

Value capitalize(Evaluator &evaluator, const Value &input,
                 Arguments &arguments) {
  requireNoArguments(evaluator.state, "capitalize", arguments);
  return capitalizeText(evaluator.state, *TextOf(evaluator.state, input));
}

Value title(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "title", arguments);
  return titleWords(evaluator.state, *TextOf(evaluator.state, input));
}

Value trim(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  BoundArguments bound(evaluator.state, "trim", arguments, {"chars"});
  return stripText(evaluator.state, *TextOf(evaluator.state, input),
                   bound.string(0), /*left=*/true, /*right=*/true);
}

Value string(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "string", arguments);
  return toString(evaluator.state, input);
}

/// Text that + and str methods leave as it is.
Value safe(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "safe", arguments);
  return makeString(evaluator.state, (*TextOf(evaluator.state, input)).text,
                    /*isSafe=*/true);
}

Value escape(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "escape", arguments);
  return escapeHtml(evaluator.state, *TextOf(evaluator.state, input));
}

Value replace(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "replace", arguments, {"old", "new", "count"}, 2);
  bool hasCount = bound[2] && !is<None>(*bound[2]);
  StringObject plain = *TextOf(state, input);
  plain.isSafe = false;
  return replaceText(state, plain, *TextOf(state, *bound[0]),
                     *TextOf(state, *bound[1]),
                     hasCount ? bound.integer(2, -1) : -1);
}

Value indent(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "indent", arguments, {"width", "first", "blank"});
  const StringObject *text = asString(input);
  if (!text)
    state.fail(std::string("indent needs a string, found '") + typeName(input) +
               "'");
  MarkedText indention;
  if (bound[0] && asString(*bound[0])) {
    indention = asString(*bound[0])->text;
  } else {
    int64_t width = std::max<int64_t>(bound.integer(0, 4), 0);
    state.chargeValue(static_cast<size_t>(width));
    indention = MarkedText(std::string(static_cast<size_t>(width), ' '), false);
  }
  bool indentsFirst = bound.flag(1, false), indentsBlank = bound.flag(2, false);

  // A newline at the end, so that splitting keeps an empty last line.
  TextBuilder lengthened(state);
  lengthened.append(text->text);
  lengthened.append("\n", false);
  Value whole = makeString(state, lengthened.take());
  std::vector<Value> lines = splitLines(state, *asString(whole), false);
  TextBuilder out(state);
  for (size_t i = 0; i < lines.size(); ++i) {
    const MarkedText &line = asString(lines[i])->text;
    if (i > 0)
      out.append("\n", false);
    if (i == 0 ? indentsFirst : indentsBlank || !line.empty())
      out.append(indention);
    out.append(line);
  }
  return makeString(state, out.take(), text->isSafe);
}

Value join(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "join", arguments, {"d", "attribute"});
  AttributePath path(evaluator, bound[1]);
  TextBuilder out(state);
  Value none = makeString(state, std::string());
  TextOf separator(state, bound[0] ? *bound[0] : none);
  bool first = true;
  Iterator items(state, input);
  while (std::optional<Value> item = items.next()) {
    if (!first)
      out.append((*separator).text);
    first = false;
    appendStr(out, state, path(std::move(*item)));
  }
  return makeString(state, out.take());
}

//===-- Numbers -----------------------------------------------------------===//

/// A number's text without whitespace around it and underscores between
/// digits; nullopt if an underscore stands anywhere else.
std::optional<std::string> numberText(const StringObject &text) {
  std::string_view bytes = text.view();
  size_t begin = 0, end = bytes.size();
  for (size_t next = begin; begin < end; begin = next)
    if (!isWhitespace(decodeCodePoint(bytes, next)))
      break;
  while (end > begin) {
    size_t previous = previousCodePoint(bytes, end);
    size_t offset = previous;
    if (!isWhitespace(decodeCodePoint(bytes, offset)))
      break;
    end = previous;
  }
  bytes = bytes.substr(begin, end - begin);
  auto isDigitAt = [&](size_t i) {
    return i < bytes.size() && bytes[i] >= '0' && bytes[i] <= '9';
  };
  std::string out;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != '_')
      out += bytes[i];
    else if (i == 0 || !isDigitAt(i - 1) || !isDigitAt(i + 1))
      return std::nullopt;
  }
  return out;
}

/// int(text); nullopt where Python raises ValueError.
std::optional<int64_t> parseInteger(RenderState &state,
                                    const StringObject &text) {
  std::optional<std::string> digits = numberText(text);
  if (!digits || digits->empty())
    return std::nullopt;
  size_t start = (*digits)[0] == '+';
  size_t firstDigit = start + (start == 0 && (*digits)[0] == '-');
  if (firstDigit >= digits->size() ||
      digits->find_first_not_of("0123456789", firstDigit) != std::string::npos)
    return std::nullopt;
  int64_t value = 0;
  auto result = std::from_chars(digits->data() + start,
                                digits->data() + digits->size(), value);
  if (result.ec != std::errc())
    state.fail("integer does not fit in 64 bits");
  return value;
}

/// float(text); nullopt where Python raises ValueError.
std::optional<double> parseFloat(const StringObject &text) {
  std::optional<std::string> digits = numberText(text);
  if (!digits || digits->empty())
    return std::nullopt;
  const char *begin = digits->data(), *end = begin + digits->size();
  if (*begin == '+' && digits->size() > 1 && begin[1] != '-')
    ++begin;
  double value = 0;
  auto result = std::from_chars(begin, end, value);
  if (result.ptr != end || digits->find('(') != std::string::npos)
    return std::nullopt;
  if (result.ec == std::errc::result_out_of_range) {
    // Too small becomes zero, too large infinity.
    size_t exponent = digits->find_first_of("eE");
    bool isSmall =
        (exponent != std::string::npos && (*digits)[exponent + 1] == '-') ||
        digits->find_first_of("123456789") > digits->find('.');
    value = isSmall ? 0.0 : HUGE_VAL;
    return *begin == '-' ? -value : value;
  }
  return value;
}

/// int(number); nullopt where Python raises an error that a default replaces.
std::optional<int64_t> truncate(RenderState &state, double value) {
  if (std::isnan(value))
    return std::nullopt;
  double whole = std::trunc(value);
  if (!(whole >= -0x1p63 && whole < 0x1p63))
    state.fail("integer does not fit in 64 bits");
  return static_cast<int64_t>(whole);
}

Value toInteger(Evaluator &evaluator, const Value &input,
                Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "int", arguments, {"default", "base"});
  if (bound.integer(1, 10) != 10)
    state.fail("int with a base other than 10 is outside the supported subset");
  requireDefined(state, input);
  Value otherwise = bound[0] ? *bound[0] : Value(int64_t(0));
  if (const StringObject *text = asString(input)) {
    if (std::optional<int64_t> value = parseInteger(state, *text))
      return *value;
    std::optional<double> number = parseFloat(*text);
    if (!number || std::isinf(*number))
      return otherwise;
    std::optional<int64_t> value = truncate(state, *number);
    return value ? Value(*value) : otherwise;
  }
  if (std::optional<int64_t> integer = asInteger(input))
    return *integer;
  if (const double *number = std::get_if<double>(&input)) {
    if (std::isinf(*number))
      state.fail("cannot make an integer of infinity");
    std::optional<int64_t> value = truncate(state, *number);
    return value ? Value(*value) : otherwise;
  }
  return otherwise;
}

Value toFloat(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "float", arguments, {"default"});
  requireDefined(state, input);
  std::optional<double> value;
  if (const StringObject *text = asString(input))
    value = parseFloat(*text);
  else
    value = asNumber(input);
  if (value)
    return *value;
  return bound[0] ? *bound[0] : Value(0.0);
}

Value absolute(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "abs", arguments);
  requireDefined(evaluator.state, input);
  if (const double *number = std::get_if<double>(&input))
    return std::fabs(*number);
  std::optional<int64_t> integer = asInteger(input);
  if (!integer)
    evaluator.state.fail(std::string("abs needs a number, found '") +
                         typeName(input) + "'");
  return *integer < 0 ? applyNegate(evaluator.state, input) : Value(*integer);
}

Value round(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "round", arguments, {"precision", "method"});
  int64_t precision = bound.integer(0, 0);
  const StringObject *method = bound.string(1);
  if (method && method->view() != "common")
    state.fail("round by a method other than common is outside the supported "
               "subset");
  requireDefined(state, input);
  if (precision < 0)
    state.fail("round with a negative precision is outside the supported "
               "subset");
  if (std::optional<int64_t> integer = asInteger(input))
    return *integer;
  const double *number = std::get_if<double>(&input);
  if (!number)
    state.fail(std::string("round needs a number, found '") + typeName(input) +
               "'");
  if (!std::isfinite(*number) || precision > 330)
    return *number;
  // Decimal rounding is exact: half to even of the number's exact value.
  char buffer[700];
  char *end =
      std::to_chars(buffer, buffer + sizeof buffer, *number,
                    std::chars_format::fixed, static_cast<int>(precision))
          .ptr;
  double rounded = 0;
  std::from_chars(buffer, end, rounded);
  return rounded;
}

Value sum(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "sum", arguments, {"attribute", "start"});
  AttributePath path(evaluator, bound[0]);
  Value total = bound[1] ? *bound[1] : Value(int64_t(0));
  if (asString(total))
    state.fail("sum cannot add strings; use join");
  Iterator items(state, input);
  while (std::optional<Value> item = items.next())
    total =
        applyBinary(state, BinaryOperator::Add, total, path(std::move(*item)));
  return total;
}

//===-- Sequences ---------------------------------------------------------===//

Value length(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "length", arguments);
  return lengthOf(evaluator.state, input);
}

Value list(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  requireNoArguments(evaluator.state, "list", arguments);
  return makeList(evaluator.state, collect(evaluator.state, input));
}

Value first(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  requireNoArguments(state, "first", arguments);
  std::optional<Value> item = Iterator(state, input).next();
  return item ? std::move(*item)
              : makeUndefined(state, "there is no first item");
}

/// Items from the last to the first, for what Python's reversed() takes.
std::vector<Value> reversedItems(RenderState &state, const Value &input) {
  std::vector<Value> items = collect(state, input);
  std::reverse(items.begin(), items.end());
  return items;
}

bool isGenerator(const Value &value) {
  const SequenceObject *sequence = asSequence(value);
  return sequence && sequence->kind == SequenceKind::Generator;
}

Value last(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  requireNoArguments(state, "last", arguments);
  if (isGenerator(input))
    state.fail("last needs a list, found a generator");
  if (const StringObject *text = asString(input)) {
    if (text->length == 0)
      return makeUndefined(state, "there is no last item");
    size_t size = text->text.size();
    return makeString(
        state, text->text.slice(previousCodePoint(text->view(), size), size));
  }
  std::vector<Value> items = collect(state, input);
  return items.empty() ? makeUndefined(state, "there is no last item")
                       : std::move(items.back());
}

Value reverse(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  requireNoArguments(state, "reverse", arguments);
  if (asString(input)) {
    Value step = int64_t(-1);
    return getSlice(state, input, nullptr, nullptr, &step);
  }
  std::vector<Value> items = reversedItems(state, input);
  return isGenerator(input) ? makeList(state, std::move(items))
                            : makeGenerator(state, std::move(items));
}

Value sortedList(RenderState &state, std::vector<Value> items,
                 const std::vector<Value> &keys, bool reverse) {
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (size_t i : sortedOrder(state, keys, reverse))
    sorted.push_back(std::move(items[i]));
  return makeList(state, std::move(sorted));
}

Value sort(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "sort", arguments,
                       {"reverse", "case_sensitive", "attribute"});
  bool caseSensitive = bound.flag(1, false);
  std::vector<AttributePath> paths;
  if (bound[2] && asString(*bound[2])) {
    StringObject comma{MarkedText(",", false), 1};
    for (const Value &attribute :
         splitText(state, *asString(*bound[2]), &comma, -1))
      paths.emplace_back(evaluator, &attribute);
  } else {
    paths.emplace_back(evaluator, bound[2]);
  }
  std::vector<Value> items = collect(state, input), keys;
  for (const Value &item : items) {
    std::vector<Value> parts;
    parts.reserve(paths.size());
    for (const AttributePath &path : paths)
      parts.push_back(sortKey(state, path(item), caseSensitive));
    keys.push_back(makeList(state, std::move(parts)));
  }
  return sortedList(state, std::move(items), keys, bound.flag(0, false));
}

const DictObject &requireDict(RenderState &state, const Value &value,
                              const char *filter) {
  requireDefined(state, value);
  const DictObject *dict = asDict(value);
  if (!dict)
    state.fail(std::string(filter) + " needs a dict, found '" +
               typeName(value) + "'");
  return *dict;
}

Value dictsort(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "dictsort", arguments,
                       {"case_sensitive", "by", "reverse"});
  const StringObject *by = bound.string(1);
  bool byValue = by && by->view() == "value";
  if (by && !byValue && by->view() != "key")
    state.fail("dictsort sorts by 'key' or 'value'");
  const DictObject &dict = requireDict(state, input, "dictsort");
  std::vector<Value> keys;
  keys.reserve(dict.entries.size());
  for (const auto &[key, value] : dict.entries)
    keys.push_back(sortKey(state, byValue ? value : key, bound.flag(0, false)));
  return sortedList(state, pairsOf(state, dict), keys, bound.flag(2, false));
}

Value items(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  requireNoArguments(state, "items", arguments);
  if (is<Undefined>(input))
    return makeGenerator(state, {});
  return makeGenerator(state,
                       pairsOf(state, requireDict(state, input, "items")));
}

Value unique(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "unique", arguments,
                       {"case_sensitive", "attribute"});
  AttributePath path(evaluator, bound[1]);
  DictObject seen;
  std::vector<Value> kept;
  for (Value &item : collect(state, input)) {
    Value key = sortKey(state, path(item), bound.flag(0, false));
    requireHashable(state, key);
    if (seen.find(state, key))
      continue;
    seen.set(state, std::move(key), None());
    kept.push_back(std::move(item));
  }
  return makeGenerator(state, std::move(kept));
}

template <bool isMax>
Value extreme(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, isMax ? "max" : "min", arguments,
                       {"case_sensitive", "attribute"});
  AttributePath path(evaluator, bound[1]);
  std::optional<Value> best;
  Value bestKey;
  for (Value &item : collect(state, input)) {
    Value key = sortKey(state, path(item), bound.flag(0, false));
    if (best &&
        !(isMax ? isLess(state, bestKey, key) : isLess(state, key, bestKey)))
      continue;
    best = std::move(item);
    bestKey = std::move(key);
  }
  return best ? std::move(*best)
              : makeUndefined(state, "there is no item to choose from");
}

//===-- Choosing and mapping ----------------------------------------------===//

Value otherwise(Evaluator &evaluator, const Value &input,
                Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "default", arguments,
                       {"default_value", "boolean"});
  bool isMissing =
      is<Undefined>(input) || (bound.flag(1, false) && !isTrue(state, input));
  if (!isMissing)
    return input;
  return bound[0] ? *bound[0] : makeString(state, std::string());
}

/// Takes a name off the front of the positional arguments.
std::string takeName(RenderState &state, Arguments &arguments,
                     const char *what) {
  const StringObject *name = asString(arguments.positional.front());
  if (!name)
    state.fail(std::string("the name of a ") + what + " must be a string");
  std::string text(name->view());
  arguments.positional.erase(arguments.positional.begin());
  return text;
}

Value map(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  if (!isTrue(state, input))
    return makeGenerator(state, {});
  std::vector<Value> results;
  Iterator items(state, input);
  if (arguments.positional.empty()) {
    BoundArguments bound(state, "map", arguments, {"attribute", "default"}, 1);
    AttributePath path(evaluator, bound[0]);
    const Value *standIn =
        bound[1] && !is<None>(*bound[1]) ? bound[1] : nullptr;
    while (std::optional<Value> item = items.next())
      results.push_back(path(std::move(*item), standIn));
    return makeGenerator(state, std::move(results));
  }
  std::string name = takeName(state, arguments, "filter");
  FilterFunction filter = findFilter(name);
  if (!filter)
    state.fail("filter '" + escapeForMessage(name) +
               "' is outside the supported subset");
  RenderState::Nesting nesting(state);
  while (std::optional<Value> item = items.next()) {
    Arguments copy = arguments;
    state.charge(1 + copy.positional.size() + copy.named.size());
    results.push_back(filter(evaluator, *item, copy));
  }
  return makeGenerator(state, std::move(results));
}

/// select, reject, selectattr and rejectattr.
template <bool keepsTrue, bool byAttribute>
Value select(Evaluator &evaluator, const Value &input, Arguments &arguments) {
  RenderState &state = evaluator.state;
  if (!isTrue(state, input))
    return makeGenerator(state, {});
  std::optional<AttributePath> path;
  if (byAttribute) {
    if (arguments.positional.empty())
      state.fail("the name of the attribute is missing");
    path.emplace(evaluator, &arguments.positional.front());
    arguments.positional.erase(arguments.positional.begin());
  }
  TestFunction test = nullptr;
  if (!arguments.positional.empty()) {
    std::string name = takeName(state, arguments, "test");
    test = findTest(name);
    if (!test)
      state.fail("test '" + escapeForMessage(name) +
                 "' is outside the supported subset");
  }
  std::vector<Value> kept;
  Iterator items(state, input);
  while (std::optional<Value> item = items.next()) {
    Value subject = path ? (*path)(*item) : *item;
    bool passes;
    if (test) {
      Arguments copy = arguments;
      state.charge(1 + copy.positional.size() + copy.named.size());
      passes = test(evaluator, subject, copy);
    } else {
      passes = isTrue(state, subject);
    }
    if (passes == keepsTrue)
      kept.push_back(std::move(*item));
  }
  return makeGenerator(state, std::move(kept));
}

struct NamedFilter {
  const char *name;
  FilterFunction function;
};

const NamedFilter filters[] = {
    {"abs", absolute},
    {"capitalize", capitalize},
    {"count", length},
    {"d", otherwise},
    {"default", otherwise},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", toFloat},
    {"indent", indent},
    {"int", toInteger},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"lower", convertCase<LetterCase::Lower>},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"replace", replace},
    {"reverse", reverse},
    {"round", round},
    {"safe", safe},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"sort", sort},
    {"string", string},
    {"sum", sum},
    {"title", title},
    {"tojson", toJson},
    {"trim", trim},
    {"unique", unique},
    {"upper", convertCase<LetterCase::Upper>},
};

} // namespace

FilterFunction findFilter(std::string_view name) {
  for (const auto &[filterName, function] : filters)
    if (filterName == name)
      return function;
  return nullptr;
}

} // namespace chorus::rt::jinja
