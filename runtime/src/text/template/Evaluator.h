//===- Evaluator.h - Renders a parsed chat template -------------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_EVALUATOR_H
#define CHORUS_RT_TEXT_TEMPLATE_EVALUATOR_H

#include "Ast.h"

#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt::jinja {

/// Arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// Arguments bound to the parameters of a built-in function.
class BoundArguments {
public:
  /// Fails on surplus or unknown arguments and if one of the first `required`
  /// parameters is missing.
  BoundArguments(RenderState &state, const char *callee, Arguments &arguments,
                 std::initializer_list<const char *> parameters,
                 size_t required = 0);

  /// The argument of parameter `index`, nullptr if it was left out.
  const Value *operator[](size_t index) const { return values[index]; }
  /// The argument as a truth value, `otherwise` if it was left out.
  bool flag(size_t index, bool otherwise) const;
  /// The argument as an integer; fails for other types.
  int64_t integer(size_t index, int64_t otherwise) const;
  /// The argument as a string; fails for other types. nullptr if it was left
  /// out or is None.
  const StringObject *string(size_t index) const;

private:
  RenderState &state;
  const char *callee;
  std::vector<const Value *> values;
};

/// Fails if there are any arguments.
void requireNoArguments(RenderState &state, const char *callee,
                        const Arguments &arguments);

/// Names that were set inside one block. Inner scopes see outer ones.
struct Scope {
  Scope *parent = nullptr;
  std::vector<std::pair<NameId, Value>> variables;

  void set(NameId name, Value value);
};

struct MacroObject {
  const Macro *macro;
  /// The scope of the definition; macros do not outlive it.
  std::weak_ptr<Scope> closure;
};

/// What a for loop knows about itself: the variable `loop`.
class LoopObject {
public:
  /// `scope`, around the loop, is used while the loop runs.
  LoopObject(Evaluator &evaluator, const Value &iterable, const Stmt &loop,
             Scope &scope);

  /// Moves to the next item; nullopt after the last.
  std::optional<Value> advance();
  /// Called when the loop ends: what was not read is no longer filtered.
  void finish() { isRunning = false; }
  /// loop.NAME; nullopt if there is no such attribute.
  std::optional<Value> attribute(RenderState &state, std::string_view name);
  int64_t index0() const { return index; }
  unsigned depth() const { return valueDepthOfItems + 1; }

private:
  std::optional<Value> fetch();
  const std::optional<Value> &peek();
  int64_t length();

  Evaluator &evaluator;
  const Stmt &loop;
  Scope &scope;
  Iterator items;
  std::optional<int64_t> knownLength;
  std::vector<Value> readAhead; ///< In reverse order.
  unsigned valueDepthOfItems;
  bool isRunning = true;
  int64_t index = -1;
  std::optional<Value> peeked;
  bool hasPeeked = false;
  Value before, now;
};

class Evaluator {
public:
  /// `context`: an object, see ChatTemplate::render.
  Evaluator(const Program &program, const nlohmann::ordered_json &context,
            const RenderOptions &options);

  MarkedText render();

  Value evaluate(const Expr &expr);
  bool isTrue(const Expr &expr) { return jinja::isTrue(state, evaluate(expr)); }
  Value call(const Value &callee, Arguments arguments);
  /// container.name, as Jinja: methods, then items.
  Value attribute(const Value &container, std::string_view name);
  /// container[key], as Jinja: items, then attributes.
  Value element(const Value &container, const Value &key);
  bool compare(Comparison comparison, const Value &a, const Value &b);
  /// Binds the items of `value` to `target` in `scope`.
  void assign(const Target &target, Value value, Scope &scope);
  /// The innermost scope is `scope` while the condition is evaluated.
  bool isTrueIn(std::shared_ptr<Scope> scope, const Expr &condition);

  RenderState state;
  const RenderOptions &options;

private:
  enum class Flow { Normal, Break, Continue };

  std::shared_ptr<Scope> makeScope(Scope *parent, const Block &block);
  Flow run(const Block &block);
  Flow run(const Stmt &stmt);
  Flow runIf(const Stmt &stmt);
  Flow runFor(const Stmt &stmt);
  Flow runIn(std::shared_ptr<Scope> scope, const Block &block);
  Flow runCaptured(const Stmt &stmt);
  void runCallBlock(const Stmt &stmt);
  Flow runWith(const Stmt &stmt);
  /// Output of `block` as a string.
  Value capture(const Block &block, Flow &flow);
  void print(const Value &value);

  Value lookUp(NameId name);
  Value evaluateSequence(const Expr &expr, SequenceKind kind);
  Value evaluateDict(const Expr &expr);
  Value evaluateSlice(const Expr &expr);
  Value evaluateConcat(const Expr &expr);
  bool evaluateCompare(const Expr &expr);
  Arguments evaluateArguments(const Expr &expr);
  Value evaluateFilter(const Expr &expr);
  Value evaluateTest(const Expr &expr);
  Value evaluateCall(const Expr &expr);
  Value callMacro(const MacroObject &object, Arguments arguments);
  Value callGlobal(GlobalFunction function, Arguments arguments);
  Value makeRange(const Arguments &arguments);
  NamespaceObject *makeNamespace(Arguments arguments);
  DictObject makeDictObject(const char *callee, Arguments arguments);

  const Program &program;
  /// Variables of the context by NameId.
  std::vector<std::optional<Value>> context;
  /// By NameId: whether the context or the interpreter gives it a value.
  std::vector<bool> isKnown;
  std::vector<std::unique_ptr<NamespaceObject>> namespaces;
  std::shared_ptr<Scope> scope;
  TextBuilder *output = nullptr;
  /// What the innermost filter block or block set printed.
  const Value *blockText = nullptr;
};

/// Whether Python has a method of this name that would change `self`.
bool isMutatingMethod(const Value &self, std::string_view name);
/// A method of `self`; nullptr if there is none of this name. Fails for
/// methods of Python that are outside the subset.
MethodFunction findMethod(RenderState &state, const Value &self,
                          std::string_view name);

/// json.dumps(value) with Hugging Face's defaults.
Value toJson(Evaluator &evaluator, const Value &input, Arguments &arguments);

/// datetime.strftime() in the C locale.
std::string formatTime(RenderState &state, const std::tm &time,
                       std::string_view format);

/// The (key, value) tuples of a dict.
std::vector<Value> pairsOf(RenderState &state, const DictObject &dict);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_EVALUATOR_H
