//===- Value.cpp - What template expressions evaluate to ------------------===//

#include "Value.h"

#include "Evaluator.h"
#include "Unicode.h"
#include "chorus_rt/Utf8.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <list>

namespace chorus::rt::jinja {

namespace {

/// Dicts with more entries have an index of their string keys.
constexpr size_t indexThreshold = 8;
/// What a value costs beyond its content: object, reference count, pointer.
constexpr size_t valueOverhead = 64;

unsigned nestedDepth(RenderState &state, unsigned deepest) {
  if (deepest + 1 > RenderState::maxValueDepth)
    state.exceed("values nest deeper than " +
                 std::to_string(RenderState::maxValueDepth) + " levels");
  return deepest + 1;
}

/// -1, 0 or 1; nullopt if `b` is NaN. Exact, as Python.
std::optional<int> compareIntDouble(int64_t a, double b) {
  if (std::isnan(b))
    return std::nullopt;
  if (b >= 0x1p63)
    return -1;
  if (b < -0x1p63)
    return 1;
  int64_t whole = static_cast<int64_t>(b);
  if (a != whole)
    return a < whole ? -1 : 1;
  double fraction = b - static_cast<double>(whole);
  return fraction > 0 ? -1 : fraction < 0 ? 1 : 0;
}

/// Order of two numbers; nullopt if one is NaN.
std::optional<int> compareNumbers(const Value &a, const Value &b) {
  std::optional<int64_t> aInt = asInteger(a), bInt = asInteger(b);
  if (aInt && bInt)
    return *aInt < *bInt ? -1 : *aInt > *bInt;
  if (aInt)
    return compareIntDouble(*aInt, std::get<double>(b));
  if (bInt) {
    std::optional<int> order = compareIntDouble(*bInt, std::get<double>(a));
    return order ? std::optional<int>(-*order) : std::nullopt;
  }
  double x = std::get<double>(a), y = std::get<double>(b);
  if (std::isnan(x) || std::isnan(y))
    return std::nullopt;
  return x < y ? -1 : x > y;
}

bool isNumber(const Value &value) {
  return is<int64_t>(value) || is<double>(value) || is<bool>(value);
}

bool equalSequences(RenderState &state, const SequenceObject &a,
                    const SequenceObject &b) {
  bool comparable = a.kind == SequenceKind::List ||
                    a.kind == SequenceKind::Tuple ||
                    a.kind == SequenceKind::Range;
  if (!comparable || a.kind != b.kind)
    return &a == &b;
  if (a.items.size() != b.items.size())
    return false;
  for (size_t i = 0; i < a.items.size(); ++i)
    if (!equals(state, a.items[i], b.items[i]))
      return false;
  return true;
}

bool equalDicts(RenderState &state, const DictObject &a, const DictObject &b) {
  if (a.entries.size() != b.entries.size())
    return false;
  for (const auto &[key, value] : a.entries) {
    const Value *other = b.find(state, key);
    if (!other || !equals(state, value, *other))
      return false;
  }
  return true;
}

/// Of two values of one type without content to compare.
bool isSameObject(const Value &a, const Value &b) {
  if (auto space = std::get_if<NamespaceObject *>(&a))
    return *space == std::get<NamespaceObject *>(b);
  if (auto macro = std::get_if<MacroRef>(&a))
    return *macro == std::get<MacroRef>(b);
  if (auto method = std::get_if<MethodRef>(&a))
    return *method == std::get<MethodRef>(b);
  if (auto loop = std::get_if<LoopRef>(&a))
    return *loop == std::get<LoopRef>(b);
  return std::get<GlobalFunction>(a) == std::get<GlobalFunction>(b);
}

/// Whether a comes before b; `orEqual` decides for equal values.
bool isOrdered(RenderState &state, const Value &a, const Value &b,
               bool orEqual) {
  state.charge();
  requireDefined(state, a);
  requireDefined(state, b);
  if (isNumber(a) && isNumber(b)) {
    std::optional<int> order = compareNumbers(a, b);
    return order && (*order < 0 || (orEqual && *order == 0));
  }
  if (const StringObject *x = asString(a))
    if (const StringObject *y = asString(b)) {
      state.chargeText(std::min(x->text.size(), y->text.size()));
      // The order of UTF-8 bytes is that of code points.
      int order = x->view().compare(y->view());
      return order < 0 || (orEqual && order == 0);
    }
  const SequenceObject *x = asSequence(a), *y = asSequence(b);
  if (x && y && x->kind == y->kind &&
      (x->kind == SequenceKind::List || x->kind == SequenceKind::Tuple)) {
    size_t common = std::min(x->items.size(), y->items.size());
    for (size_t i = 0; i < common; ++i)
      if (!equals(state, x->items[i], y->items[i]))
        return isOrdered(state, x->items[i], y->items[i], orEqual);
    return orEqual ? x->items.size() <= y->items.size()
                   : x->items.size() < y->items.size();
  }
  state.fail(std::string("cannot order '") + typeName(a) + "' and '" +
             typeName(b) + "'");
}

} // namespace

//===-- Dicts -------------------------------------------------------------===//

const Value *DictObject::findString(std::string_view key) const {
  if (entries.size() > indexThreshold) {
    auto it = index.find(key);
    return it == index.end() ? nullptr : &entries[it->second].second;
  }
  for (const auto &[entryKey, value] : entries)
    if (const StringObject *text = asString(entryKey))
      if (text->view() == key)
        return &value;
  return nullptr;
}

const Value *DictObject::find(RenderState &state, const Value &key) const {
  state.charge();
  if (const StringObject *text = asString(key))
    return findString(text->view());
  for (const auto &[entryKey, value] : entries)
    if (equals(state, entryKey, key))
      return &value;
  return nullptr;
}

void DictObject::set(RenderState &state, Value key, Value value) {
  requireHashable(state, key);
  depth = std::max({depth, nestedDepth(state, valueDepth(value)),
                    nestedDepth(state, valueDepth(key))});
  state.chargeValue(2 * sizeof(Value) + valueOverhead);
  if (const Value *present = find(state, key)) {
    *const_cast<Value *>(present) = std::move(value);
    return;
  }
  entries.emplace_back(std::move(key), std::move(value));
  auto addToIndex = [&](size_t i) {
    if (const StringObject *text = asString(entries[i].first))
      index.emplace(text->view(), i);
  };
  if (entries.size() == indexThreshold + 1)
    for (size_t i = 0; i < entries.size(); ++i)
      addToIndex(i);
  else if (entries.size() > indexThreshold)
    addToIndex(entries.size() - 1);
}

//===-- Making values -----------------------------------------------------===//

Value makeString(RenderState &state, MarkedText text, bool isSafe) {
  state.chargeValue(text.size() + valueOverhead);
  size_t length = countCodePoints(text.view());
  return std::make_shared<const StringObject>(
      StringObject{std::move(text), length, isSafe});
}

Value makeString(RenderState &state, std::string text) {
  return makeString(state, MarkedText(std::move(text), /*isUser=*/false));
}

Value makeSequence(RenderState &state, SequenceKind kind,
                   std::vector<Value> items) {
  state.chargeValue(items.size() * sizeof(Value) + valueOverhead);
  unsigned deepest = 0;
  for (const Value &item : items)
    deepest = std::max(deepest, valueDepth(item));
  return std::make_shared<const SequenceObject>(
      SequenceObject{kind, std::move(items), nestedDepth(state, deepest)});
}

Value makeDict(RenderState &state, DictObject dict) {
  state.chargeValue(valueOverhead);
  return std::make_shared<const DictObject>(std::move(dict));
}

Value makeUndefined(RenderState &state, std::string what) {
  state.chargeValue(what.size() + valueOverhead);
  return Undefined{std::make_shared<const std::string>(std::move(what))};
}

static Value jsonString(RenderState &state, const std::string &text,
                        bool isUser) {
  size_t invalid = findInvalidUtf8(text);
  if (invalid != std::string_view::npos)
    throw TemplateError{"T09",
                        {},
                        "a string is not UTF-8 at its byte " +
                            std::to_string(invalid)};
  return makeString(state, MarkedText(text, isUser));
}

Value fromJson(RenderState &state, const nlohmann::ordered_json &json,
               bool isUser) {
  RenderState::Nesting nesting(state);
  state.charge();
  switch (json.type()) {
  case nlohmann::json::value_t::null:
    return None();
  case nlohmann::json::value_t::boolean:
    return json.get<bool>();
  case nlohmann::json::value_t::number_integer:
    return json.get<int64_t>();
  case nlohmann::json::value_t::number_unsigned: {
    uint64_t value = json.get<uint64_t>();
    if (value > static_cast<uint64_t>(INT64_MAX))
      state.fail("integer " + std::to_string(value) +
                 " of the context does not fit in 64 signed bits");
    return static_cast<int64_t>(value);
  }
  case nlohmann::json::value_t::number_float:
    return json.get<double>();
  case nlohmann::json::value_t::string:
    return jsonString(state, json.get_ref<const std::string &>(), isUser);
  case nlohmann::json::value_t::array: {
    std::vector<Value> items;
    for (const auto &item : json)
      items.push_back(fromJson(state, item, isUser));
    return makeSequence(state, SequenceKind::List, std::move(items));
  }
  case nlohmann::json::value_t::object: {
    DictObject dict;
    for (const auto &[key, value] : json.items())
      dict.set(state, jsonString(state, key, isUser),
               fromJson(state, value, isUser));
    return makeDict(state, std::move(dict));
  }
  case nlohmann::json::value_t::binary:
  case nlohmann::json::value_t::discarded:
    break;
  }
  state.fail("the context holds a value that is not JSON");
}

//===-- Looking at values -------------------------------------------------===//

const StringObject *asString(const Value &value) {
  const StringRef *ref = std::get_if<StringRef>(&value);
  return ref ? ref->get() : nullptr;
}

const SequenceObject *asSequence(const Value &value) {
  const SequenceRef *ref = std::get_if<SequenceRef>(&value);
  return ref ? ref->get() : nullptr;
}

const DictObject *asDict(const Value &value) {
  const DictRef *ref = std::get_if<DictRef>(&value);
  return ref ? ref->get() : nullptr;
}

std::optional<int64_t> asInteger(const Value &value) {
  if (const int64_t *integer = std::get_if<int64_t>(&value))
    return *integer;
  if (const bool *boolean = std::get_if<bool>(&value))
    return *boolean;
  return std::nullopt;
}

std::optional<double> asNumber(const Value &value) {
  if (const double *number = std::get_if<double>(&value))
    return *number;
  if (std::optional<int64_t> integer = asInteger(value))
    return static_cast<double>(*integer);
  return std::nullopt;
}

const char *typeName(const Value &value) {
  struct Namer {
    const char *operator()(const Undefined &) { return "Undefined"; }
    const char *operator()(None) { return "NoneType"; }
    const char *operator()(bool) { return "bool"; }
    const char *operator()(int64_t) { return "int"; }
    const char *operator()(double) { return "float"; }
    const char *operator()(const StringRef &) { return "str"; }
    const char *operator()(const SequenceRef &sequence) {
      switch (sequence->kind) {
      case SequenceKind::List:
        return "list";
      case SequenceKind::Tuple:
        return "tuple";
      case SequenceKind::Range:
        return "range";
      case SequenceKind::Keys:
        return "dict_keys";
      case SequenceKind::Values:
        return "dict_values";
      case SequenceKind::Items:
        return "dict_items";
      case SequenceKind::Generator:
        return "generator";
      }
      return "sequence";
    }
    const char *operator()(const DictRef &) { return "dict"; }
    const char *operator()(NamespaceObject *) { return "namespace"; }
    const char *operator()(const MacroRef &) { return "macro"; }
    const char *operator()(const MethodRef &) { return "method"; }
    const char *operator()(const LoopRef &) { return "loop"; }
    const char *operator()(GlobalFunction) { return "function"; }
  };
  return std::visit(Namer(), value);
}

unsigned valueDepth(const Value &value) {
  if (const SequenceObject *sequence = asSequence(value))
    return sequence->depth;
  if (const DictObject *dict = asDict(value))
    return dict->depth;
  if (const MethodRef *method = std::get_if<MethodRef>(&value))
    return valueDepth((*method)->self) + 1;
  if (const LoopRef *loop = std::get_if<LoopRef>(&value))
    return (*loop)->depth();
  return 0;
}

bool isTrue(RenderState &state, const Value &value) {
  if (is<Undefined>(value) || is<None>(value))
    return false;
  if (std::optional<int64_t> integer = asInteger(value))
    return *integer != 0;
  if (const double *number = std::get_if<double>(&value))
    return *number != 0;
  if (const StringObject *text = asString(value))
    return text->length != 0;
  if (const SequenceObject *sequence = asSequence(value))
    return sequence->kind == SequenceKind::Generator ||
           !sequence->items.empty();
  if (const DictObject *dict = asDict(value))
    return !dict->entries.empty();
  return true;
}

bool equals(RenderState &state, const Value &a, const Value &b) {
  state.charge();
  if (isNumber(a) && isNumber(b))
    return compareNumbers(a, b) == 0;
  if (a.index() != b.index())
    return false;
  if (is<Undefined>(a) || is<None>(a))
    return true;
  if (const StringObject *x = asString(a)) {
    const StringObject *y = asString(b);
    if (x->text.size() != y->text.size())
      return false;
    state.chargeText(x->text.size());
    return x->view() == y->view();
  }
  if (const SequenceObject *x = asSequence(a))
    return equalSequences(state, *x, *asSequence(b));
  if (const DictObject *x = asDict(a))
    return equalDicts(state, *x, *asDict(b));
  return isSameObject(a, b);
}

bool isLess(RenderState &state, const Value &a, const Value &b) {
  return isOrdered(state, a, b, /*orEqual=*/false);
}

bool isLessOrEqual(RenderState &state, const Value &a, const Value &b) {
  return isOrdered(state, a, b, /*orEqual=*/true);
}

std::vector<size_t> sortedOrder(RenderState &state,
                                const std::vector<Value> &keys, bool reverse) {
  state.chargeValue(keys.size() * 4 * sizeof(size_t));
  // A list sorts by merging: stable, and safe with NaN, which has no order.
  std::list<size_t> order;
  for (size_t i = 0; i < keys.size(); ++i)
    order.push_back(i);
  order.sort([&](size_t a, size_t b) {
    return reverse ? isLess(state, keys[b], keys[a])
                   : isLess(state, keys[a], keys[b]);
  });
  return {order.begin(), order.end()};
}

bool contains(RenderState &state, const Value &container, const Value &item) {
  if (const StringObject *text = asString(container)) {
    const StringObject *part = asString(item);
    if (!part)
      state.fail(std::string("'in' a string needs a string, found '") +
                 typeName(item) + "'");
    state.chargeText(text->text.size() + part->text.size());
    return text->view().find(part->view()) != std::string_view::npos;
  }
  if (const DictObject *dict = asDict(container)) {
    requireHashable(state, item);
    return dict->find(state, item) != nullptr;
  }
  Iterator items(state, container);
  while (std::optional<Value> candidate = items.next())
    if (equals(state, *candidate, item))
      return true;
  return false;
}

int64_t lengthOf(RenderState &state, const Value &value) {
  if (is<Undefined>(value))
    return 0;
  if (const StringObject *text = asString(value))
    return static_cast<int64_t>(text->length);
  if (const SequenceObject *sequence = asSequence(value))
    if (sequence->kind != SequenceKind::Generator)
      return static_cast<int64_t>(sequence->items.size());
  if (const DictObject *dict = asDict(value))
    return static_cast<int64_t>(dict->entries.size());
  state.fail(std::string("'") + typeName(value) + "' has no length");
}

void requireHashable(RenderState &state, const Value &value) {
  if (const SequenceObject *sequence = asSequence(value)) {
    if (sequence->kind == SequenceKind::Tuple) {
      for (const Value &item : sequence->items)
        requireHashable(state, item);
      return;
    }
    if (sequence->kind != SequenceKind::List)
      return;
  } else if (!asDict(value)) {
    return;
  }
  state.fail(std::string("'") + typeName(value) + "' cannot be a key");
}

void requireDefined(RenderState &state, const Value &value) {
  if (const Undefined *undefined = std::get_if<Undefined>(&value))
    state.fail(undefined->what ? *undefined->what : "value is undefined");
}

//===-- Iteration ---------------------------------------------------------===//

Iterator::Iterator(RenderState &state, Value value)
    : state(state), source(std::move(value)) {
  if (!is<Undefined>(source) && !asString(source) && !asSequence(source) &&
      !asDict(source))
    state.fail(std::string("cannot iterate over '") + typeName(source) + "'");
}

std::optional<Value> Iterator::next() {
  state.charge();
  if (const StringObject *text = asString(source)) {
    if (position >= text->text.size())
      return std::nullopt;
    size_t begin = position;
    decodeCodePoint(text->view(), position);
    return makeString(state, text->text.slice(begin, position));
  }
  if (const SequenceObject *sequence = asSequence(source)) {
    size_t &at = sequence->kind == SequenceKind::Generator ? sequence->consumed
                                                           : position;
    if (at >= sequence->items.size())
      return std::nullopt;
    return sequence->items[at++];
  }
  if (const DictObject *dict = asDict(source)) {
    if (position >= dict->entries.size())
      return std::nullopt;
    return dict->entries[position++].first;
  }
  return std::nullopt;
}

std::optional<int64_t> Iterator::sizeHint() const {
  const SequenceObject *sequence = asSequence(source);
  if (sequence && sequence->kind == SequenceKind::Generator)
    return std::nullopt;
  return lengthOf(state, source);
}

std::vector<Value> collect(RenderState &state, const Value &iterable) {
  std::vector<Value> items;
  Iterator iterator(state, iterable);
  while (std::optional<Value> item = iterator.next())
    items.push_back(std::move(*item));
  state.chargeValue(items.size() * sizeof(Value));
  return items;
}

} // namespace chorus::rt::jinja
