//===- Value.h - What template expressions evaluate to ----------*- C++ -*-===//
//
// Values behave as Python's: strings are sequences of code points, dicts keep
// insertion order, bool is a number. All but namespaces are immutable, as in
// Jinja's immutable sandbox; no value gives access to anything of the host.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_VALUE_H
#define CHORUS_RT_TEXT_TEMPLATE_VALUE_H

#include "RenderState.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace chorus::rt::jinja {

struct StringObject;
struct SequenceObject;
struct DictObject;
struct NamespaceObject;
struct MacroObject;
struct MethodObject;
class LoopObject;

/// A missing variable, key or element; using it says what was missing.
struct Undefined {
  std::shared_ptr<const std::string> what;
};
struct None {};

enum class GlobalFunction {
  Range,
  Dict,
  Namespace,
  RaiseException,
  StrftimeNow
};

using StringRef = std::shared_ptr<const StringObject>;
using SequenceRef = std::shared_ptr<const SequenceObject>;
using DictRef = std::shared_ptr<const DictObject>;
using MacroRef = std::shared_ptr<const MacroObject>;
using MethodRef = std::shared_ptr<const MethodObject>;
using LoopRef = std::shared_ptr<LoopObject>;

/// A namespace is owned by the rendering, since it may hold itself.
using Value = std::variant<Undefined, None, bool, int64_t, double, StringRef,
                           SequenceRef, DictRef, NamespaceObject *, MacroRef,
                           MethodRef, LoopRef, GlobalFunction>;

struct StringObject {
  MarkedText text;
  size_t length; ///< In code points.
  /// Made by the filters safe or escape: adding other text escapes that text.
  bool isSafe = false;

  std::string_view view() const { return text.view(); }
  bool isAscii() const { return length == text.size(); }
};

enum class SequenceKind {
  List,
  Tuple,
  Range,
  Keys,   ///< dict.keys()
  Values, ///< dict.values()
  Items,  ///< dict.items()
  /// Result of map, select and the like: no length, read once.
  Generator,
};

struct SequenceObject {
  SequenceKind kind;
  std::vector<Value> items;
  unsigned depth; ///< 1 above the deepest item.
  /// Generator: items that were read.
  mutable size_t consumed = 0;
  /// Range: as given to range().
  int64_t start = 0, stop = 0, step = 1;
};

struct DictObject {
  std::vector<std::pair<Value, Value>> entries;
  unsigned depth = 1;

  /// The value of a key, nullptr if there is none. `key` must be hashable.
  const Value *find(RenderState &state, const Value &key) const;
  const Value *findString(std::string_view key) const;
  /// Adds an entry, or replaces the value of an equal key.
  void set(RenderState &state, Value key, Value value);

private:
  /// String keys to entries; filled once there are more than a few.
  std::unordered_map<std::string_view, size_t> index;
};

struct NamespaceObject {
  DictObject attributes;
};

struct MethodObject;
class Evaluator;
struct Arguments;

/// A method of a string, list or dict.
using MethodFunction = Value (*)(Evaluator &, const Value &self,
                                 Arguments &arguments);
struct MethodObject {
  Value self;
  MethodFunction function;
};

//===-- Making values -----------------------------------------------------===//

Value makeString(RenderState &state, MarkedText text, bool isSafe = false);
/// Text of the template, such as a literal.
Value makeString(RenderState &state, std::string text);
Value makeSequence(RenderState &state, SequenceKind kind,
                   std::vector<Value> items);
/// `dict` is filled with DictObject::set.
Value makeDict(RenderState &state, DictObject dict);
Value makeUndefined(RenderState &state, std::string what);
/// A value of the context. Strings, dict keys included, are marked `isUser`.
Value fromJson(RenderState &state, const nlohmann::ordered_json &json,
               bool isUser);

//===-- Looking at values -------------------------------------------------===//

template <typename T> bool is(const Value &value) {
  return std::holds_alternative<T>(value);
}

/// The string object of a string, else nullptr.
const StringObject *asString(const Value &value);
/// The sequence object of a list, tuple, range, view or generator.
const SequenceObject *asSequence(const Value &value);
const DictObject *asDict(const Value &value);
/// The value of an integer or bool (as Python: True is 1).
std::optional<int64_t> asInteger(const Value &value);
/// The value of a float, integer or bool.
std::optional<double> asNumber(const Value &value);

/// As Python names the type: "str", "dict".
const char *typeName(const Value &value);
unsigned valueDepth(const Value &value);
bool isTrue(RenderState &state, const Value &value);
bool equals(RenderState &state, const Value &a, const Value &b);
/// a < b as Python; fails for types without an order.
bool isLess(RenderState &state, const Value &a, const Value &b);
/// a <= b; not the negation of b < a if one is NaN.
bool isLessOrEqual(RenderState &state, const Value &a, const Value &b);
/// Indices of `keys` in ascending (or descending) order, equal ones in theirs.
std::vector<size_t> sortedOrder(RenderState &state,
                                const std::vector<Value> &keys, bool reverse);
/// `item in container`.
bool contains(RenderState &state, const Value &container, const Value &item);
/// len(); fails for values without one.
int64_t lengthOf(RenderState &state, const Value &value);
/// Fails for lists and dicts, which cannot be dict keys.
void requireHashable(RenderState &state, const Value &value);
/// Fails, saying what was undefined, if `value` is undefined.
void requireDefined(RenderState &state, const Value &value);

/// str(value), repr(value).
void appendStr(TextBuilder &out, RenderState &state, const Value &value);
void appendRepr(TextBuilder &out, RenderState &state, const Value &value);
/// str(value) as a string value; strings come back as they are.
Value toString(RenderState &state, const Value &value);
/// `text` with & < > ' " as HTML entities, unless it is safe already; safe.
Value escapeHtml(RenderState &state, const StringObject &text);
/// str(value) without marks, for comparing and for messages.
std::string plainText(RenderState &state, const Value &value);

/// repr(float) of Python.
std::string formatFloat(double value);

/// Reads the items of anything iterable, one at a time.
class Iterator {
public:
  /// Fails if `value` cannot be iterated.
  Iterator(RenderState &state, Value value);
  std::optional<Value> next();
  /// len() of what is iterated, if it has one.
  std::optional<int64_t> sizeHint() const;

private:
  RenderState &state;
  Value source;
  size_t position = 0;
};

std::vector<Value> collect(RenderState &state, const Value &iterable);

//===-- Operators ---------------------------------------------------------===//

enum class BinaryOperator { Add, Sub, Mul, Div, FloorDiv, Mod, Pow };

Value applyBinary(RenderState &state, BinaryOperator op, const Value &a,
                  const Value &b);
Value applyNegate(RenderState &state, const Value &value);
Value applyPositive(RenderState &state, const Value &value);
/// container[key] for strings, sequences and dicts; nullopt if it is missing
/// or the types do not fit.
std::optional<Value> getItem(RenderState &state, const Value &container,
                             const Value &key);
/// container[start:stop:step]; nullptr for a bound that was left out.
Value getSlice(RenderState &state, const Value &container, const Value *start,
               const Value *stop, const Value *step);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_VALUE_H
