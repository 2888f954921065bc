//===- Methods.cpp - Methods of strings, lists and dicts ------------------===//

#include "Evaluator.h"
#include "TextMethods.h"

#include <charconv>
#include <cstring>

namespace chorus::rt::jinja {

namespace {

const StringObject &text(const Value &self) { return *asString(self); }

//===-- str ---------------------------------------------------------------===//

template <LetterCase to>
Value convertCase(Evaluator &evaluator, const Value &self,
                  Arguments &arguments) {
  requireNoArguments(evaluator.state, "method", arguments);
  return changeCase(evaluator.state, text(self), to);
}

Value capitalize(Evaluator &evaluator, const Value &self,
                 Arguments &arguments) {
  requireNoArguments(evaluator.state, "capitalize", arguments);
  return capitalizeText(evaluator.state, text(self));
}

template <bool left, bool right>
Value strip(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  BoundArguments bound(evaluator.state, "strip", arguments, {"chars"});
  return stripText(evaluator.state, text(self), bound.string(0), left, right);
}

Value split(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "split", arguments, {"sep", "maxsplit"});
  return makeSequence(
      state, SequenceKind::List,
      splitText(state, text(self), bound.string(0), bound.integer(1, -1)));
}

Value rsplit(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "rsplit", arguments, {"sep", "maxsplit"});
  return makeSequence(state, SequenceKind::List,
                      splitTextFromRight(state, text(self), bound.string(0),
                                         bound.integer(1, -1)));
}

Value splitlines(Evaluator &evaluator, const Value &self,
                 Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "splitlines", arguments, {"keepends"});
  return makeSequence(state, SequenceKind::List,
                      splitLines(state, text(self), bound.flag(0, false)));
}

const StringObject &requireString(const BoundArguments &bound, size_t index,
                                  RenderState &state) {
  const StringObject *value = bound.string(index);
  if (!value)
    state.fail("method needs a string, found 'NoneType'");
  return *value;
}

template <bool atStart>
bool hasAffix(RenderState &state, const Value &self, const Value &affix) {
  const StringObject *part = asString(affix);
  if (!part)
    state.fail(std::string("method needs a string or a tuple of strings, "
                           "found '") +
               typeName(affix) + "'");
  std::string_view whole = text(self).view();
  size_t size = part->text.size();
  state.chargeText(size);
  if (size > whole.size())
    return false;
  return whole.substr(atStart ? 0 : whole.size() - size, size) == part->view();
}

template <bool atStart>
Value affixTest(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, atStart ? "startswith" : "endswith", arguments,
                       {"affix"}, 1);
  const SequenceObject *choices = asSequence(*bound[0]);
  if (!choices || choices->kind != SequenceKind::Tuple)
    return hasAffix<atStart>(state, self, *bound[0]);
  for (const Value &choice : choices->items)
    if (hasAffix<atStart>(state, self, choice))
      return true;
  return false;
}

template <bool atStart>
Value removeAffix(Evaluator &evaluator, const Value &self,
                  Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, atStart ? "removeprefix" : "removesuffix",
                       arguments, {"affix"}, 1);
  requireString(bound, 0, state);
  if (!hasAffix<atStart>(state, self, *bound[0]))
    return self;
  const MarkedText &whole = text(self).text;
  size_t size = asString(*bound[0])->text.size();
  return makeString(state,
                    atStart ? whole.slice(size, whole.size())
                            : whole.slice(0, whole.size() - size),
                    text(self).isSafe);
}

Value replace(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "replace", arguments, {"old", "new", "count"}, 2);
  const StringObject &to = requireString(bound, 1, state);
  Value escaped = text(self).isSafe ? escapeHtml(state, to) : *bound[1];
  return replaceText(state, text(self), requireString(bound, 0, state),
                     *asString(escaped), bound.integer(2, -1));
}

/// Code point index of the first or last occurrence, -1 if there is none.
template <bool fromLeft>
Value find(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "find", arguments, {"sub"}, 1);
  std::string_view whole = text(self).view();
  std::string_view part = requireString(bound, 0, state).view();
  state.chargeText(whole.size() * (fromLeft ? 1 : 1 + part.size()));
  size_t at = fromLeft ? findText(whole, part, 0) : whole.rfind(part);
  if (at == std::string_view::npos)
    return int64_t(-1);
  return static_cast<int64_t>(countCodePoints(whole.substr(0, at)));
}

Value countText(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "count", arguments, {"sub"}, 1);
  std::string_view whole = text(self).view();
  std::string_view part = requireString(bound, 0, state).view();
  state.chargeText(whole.size());
  if (part.empty())
    return static_cast<int64_t>(text(self).length + 1);
  int64_t count = 0;
  for (size_t at = 0;
       (at = findText(whole, part, at)) != std::string_view::npos;
       at += part.size())
    ++count;
  return count;
}

Value join(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  BoundArguments bound(state, "join", arguments, {"iterable"}, 1);
  return joinTexts(state, text(self), collect(state, *bound[0]));
}

/// The value that a replacement field of str.format() names.
const Value &formatArgument(RenderState &state, const Arguments &arguments,
                            std::string_view field, size_t &automatic) {
  const std::vector<Value> &positional = arguments.positional;
  size_t index = field.empty() ? automatic++ : positional.size();
  if (!field.empty()) {
    auto result =
        std::from_chars(field.data(), field.data() + field.size(), index);
    bool isIndex = result.ptr == field.data() + field.size();
    if (!isIndex) {
      for (const auto &[name, value] : arguments.named)
        if (name == field)
          return value;
      bool isName = field.find_first_of("!:.[]{") == std::string_view::npos;
      state.fail(isName ? "format has no argument '" + escapeForMessage(field) +
                              "'"
                        : "format with anything but a name or number in "
                          "braces is outside the supported subset");
    }
  }
  if (index >= positional.size())
    state.fail("format has too few arguments");
  return positional[index];
}

Value format(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  const StringObject &pattern = text(self);
  std::string_view bytes = pattern.view();
  if (pattern.isSafe)
    state.fail("format of safe text is outside the supported subset");
  TextBuilder out(state);
  size_t done = 0, automatic = 0;
  for (size_t at;
       (at = bytes.find_first_of("{}", done)) != std::string_view::npos;) {
    out.append(pattern.text, done, at);
    if (at + 1 < bytes.size() && bytes[at + 1] == bytes[at]) { // {{ or }}
      out.append(pattern.text, at, at + 1);
      done = at + 2;
      continue;
    }
    size_t end = bytes.find('}', at + 1);
    if (bytes[at] == '}' || end == std::string_view::npos)
      state.fail("format has a single '" + std::string(1, bytes[at]) + "'");
    appendStr(out, state,
              formatArgument(state, arguments,
                             bytes.substr(at + 1, end - at - 1), automatic));
    done = end + 1;
  }
  out.append(pattern.text, done, bytes.size());
  return makeString(state, out.take());
}

template <bool (*predicate)(char32_t)>
Value isEach(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  requireNoArguments(state, "method", arguments);
  state.chargeText(text(self).text.size());
  std::string_view whole = text(self).view();
  for (size_t offset = 0; offset < whole.size();)
    if (!predicate(decodeCodePoint(whole, offset)))
      return false;
  return !whole.empty();
}

template <bool (*predicate)(const StringObject &)>
Value isCase(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  requireNoArguments(evaluator.state, "method", arguments);
  evaluator.state.chargeText(text(self).text.size());
  return predicate(text(self));
}

//===-- dict --------------------------------------------------------------===//

Value keys(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  requireNoArguments(evaluator.state, "keys", arguments);
  std::vector<Value> items;
  for (const auto &entry : asDict(self)->entries)
    items.push_back(entry.first);
  return makeSequence(evaluator.state, SequenceKind::Keys, std::move(items));
}

Value values(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  requireNoArguments(evaluator.state, "values", arguments);
  std::vector<Value> items;
  for (const auto &entry : asDict(self)->entries)
    items.push_back(entry.second);
  return makeSequence(evaluator.state, SequenceKind::Values, std::move(items));
}

Value items(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  requireNoArguments(evaluator.state, "items", arguments);
  return makeSequence(evaluator.state, SequenceKind::Items,
                      pairsOf(evaluator.state, *asDict(self)));
}

Value get(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  RenderState &state = evaluator.state;
  if (!arguments.named.empty())
    state.fail("get takes no named arguments");
  BoundArguments bound(state, "get", arguments, {"key", "default"}, 1);
  requireHashable(state, *bound[0]);
  if (const Value *value = asDict(self)->find(state, *bound[0]))
    return *value;
  return bound[1] ? *bound[1] : Value(None());
}

Value copy(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  requireNoArguments(evaluator.state, "copy", arguments);
  return self; // Nothing can change either of the two.
}

//===-- list, tuple -------------------------------------------------------===//

Value countItem(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  BoundArguments bound(evaluator.state, "count", arguments, {"value"}, 1);
  int64_t count = 0;
  for (const Value &item : asSequence(self)->items)
    count += equals(evaluator.state, item, *bound[0]);
  return count;
}

Value indexOfItem(Evaluator &evaluator, const Value &self,
                  Arguments &arguments) {
  BoundArguments bound(evaluator.state, "index", arguments, {"value"}, 1);
  const std::vector<Value> &list = asSequence(self)->items;
  for (size_t i = 0; i < list.size(); ++i)
    if (equals(evaluator.state, list[i], *bound[0]))
      return static_cast<int64_t>(i);
  evaluator.state.fail("index: the value is not in the list");
}

//===-- loop --------------------------------------------------------------===//

Value cycle(Evaluator &evaluator, const Value &self, Arguments &arguments) {
  if (arguments.positional.empty() || !arguments.named.empty())
    evaluator.state.fail("cycle needs positional arguments");
  int64_t index = std::get<LoopRef>(self)->index0();
  return arguments
      .positional[static_cast<size_t>(index) % arguments.positional.size()];
}

//===-- Tables ------------------------------------------------------------===//

struct Method {
  const char *name;
  MethodFunction function;
};

const Method stringMethods[] = {
    {"capitalize", capitalize},
    {"count", countText},
    {"endswith", affixTest<false>},
    {"find", find<true>},
    {"format", format},
    {"isdigit", isEach<isDigit>},
    {"islower", isCase<isAllLower>},
    {"isspace", isEach<isWhitespace>},
    {"isupper", isCase<isAllUpper>},
    {"join", join},
    {"lower", convertCase<LetterCase::Lower>},
    {"lstrip", strip<true, false>},
    {"removeprefix", removeAffix<true>},
    {"removesuffix", removeAffix<false>},
    {"replace", replace},
    {"rfind", find<false>},
    {"rsplit", rsplit},
    {"rstrip", strip<false, true>},
    {"split", split},
    {"splitlines", splitlines},
    {"startswith", affixTest<true>},
    {"strip", strip<true, true>},
    {"title", convertCase<LetterCase::Title>},
    {"upper", convertCase<LetterCase::Upper>},
};

const Method dictMethods[] = {{"copy", copy},
                              {"get", get},
                              {"items", items},
                              {"keys", keys},
                              {"values", values}};

const Method listMethods[] = {
    {"copy", copy}, {"count", countItem}, {"index", indexOfItem}};

const Method tupleMethods[] = {{"count", countItem}, {"index", indexOfItem}};

const Method loopMethods[] = {{"cycle", cycle}};

/// What Python has beyond the tables: an error rather than undefined.
const char *const unsupportedStringMethods[] = {
    "casefold",  "center",    "encode",  "expandtabs",   "format_map",
    "index",     "isalnum",   "isalpha", "isascii",      "isdecimal",
    "isnumeric", "istitle",   "ljust",   "isidentifier", "isprintable",
    "maketrans", "partition", "rindex",  "rjust",        "rpartition",
    "swapcase",  "translate", "zfill"};
const char *const unsupportedDictMethods[] = {"fromkeys"};
const char *const unsupportedRangeMethods[] = {"count", "index", "start",
                                               "step", "stop"};
const char *const unsupportedNumberMethods[] = {
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
    "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
    "numerator",        "real",      "to_bytes"};
const char *const unsupportedViewMethods[] = {"isdisjoint", "mapping"};

const char *const mutatingListMethods[] = {
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"};
const char *const mutatingDictMethods[] = {"clear", "pop", "popitem",
                                           "setdefault", "update"};

template <size_t N>
MethodFunction findIn(const Method (&methods)[N], std::string_view name) {
  for (const Method &method : methods)
    if (method.name == name)
      return method.function;
  return nullptr;
}

template <size_t N>
bool isIn(const char *const (&names)[N], std::string_view name) {
  for (const char *candidate : names)
    if (candidate == name)
      return true;
  return false;
}

bool isUnsupportedMethod(const Value &self, std::string_view name) {
  if (asString(self))
    return isIn(unsupportedStringMethods, name);
  if (asDict(self))
    return isIn(unsupportedDictMethods, name);
  if (asNumber(self))
    return isIn(unsupportedNumberMethods, name);
  if (is<MacroRef>(self))
    return true;
  const SequenceObject *sequence = asSequence(self);
  if (!sequence)
    return false;
  switch (sequence->kind) {
  case SequenceKind::Range:
    return isIn(unsupportedRangeMethods, name);
  case SequenceKind::Keys:
  case SequenceKind::Values:
  case SequenceKind::Items:
    return isIn(unsupportedViewMethods, name);
  case SequenceKind::List:
  case SequenceKind::Tuple:
  case SequenceKind::Generator:
    return false;
  }
  return false;
}

} // namespace

bool isMutatingMethod(const Value &self, std::string_view name) {
  if (asDict(self))
    return isIn(mutatingDictMethods, name);
  const SequenceObject *sequence = asSequence(self);
  return sequence && sequence->kind == SequenceKind::List &&
         isIn(mutatingListMethods, name);
}

MethodFunction findMethod(RenderState &state, const Value &self,
                          std::string_view name) {
  MethodFunction method = nullptr;
  const SequenceObject *sequence = asSequence(self);
  if (asString(self))
    method = findIn(stringMethods, name);
  else if (asDict(self))
    method = findIn(dictMethods, name);
  else if (sequence && sequence->kind == SequenceKind::List)
    method = findIn(listMethods, name);
  else if (sequence && sequence->kind == SequenceKind::Tuple)
    method = findIn(tupleMethods, name);
  else if (is<LoopRef>(self))
    method = findIn(loopMethods, name);
  if (!method && isUnsupportedMethod(self, name))
    state.fail(std::string(typeName(self)) + "." + escapeForMessage(name) +
               " is outside the supported subset");
  return method;
}

} // namespace chorus::rt::jinja
