//===- Evaluator.cpp - Renders a parsed chat template ---------------------===//

#include "Evaluator.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace chorus::rt::jinja {

namespace {

/// As Jinja's sandbox.
constexpr uint64_t maxRangeItems = 100'000;

/// Names that Jinja defines and that are outside the subset.
bool isUnsupportedGlobal(std::string_view name) {
  return name == "lipsum" || name == "cycler" || name == "joiner";
}

std::optional<Value> findGlobal(std::string_view name) {
  static const std::pair<const char *, GlobalFunction> functions[] = {
      {"range", GlobalFunction::Range},
      {"dict", GlobalFunction::Dict},
      {"namespace", GlobalFunction::Namespace},
      {"raise_exception", GlobalFunction::RaiseException},
      {"strftime_now", GlobalFunction::StrftimeNow}};
  for (const auto &[functionName, function] : functions)
    if (name == functionName)
      return function;
  return std::nullopt;
}

std::string inQuotes(std::string_view text) {
  return "'" + escapeForMessage(text) + "'";
}

/// Puts a value into a variable for the time of a C++ scope.
template <typename T> class Restore {
public:
  Restore(T &variable, T value)
      : variable(variable), saved(std::exchange(variable, std::move(value))) {}
  ~Restore() { variable = std::move(saved); }
  Restore(const Restore &) = delete;
  Restore &operator=(const Restore &) = delete;

private:
  T &variable;
  T saved;
};

} // namespace

void Scope::set(NameId name, Value value) {
  for (auto &[id, present] : variables)
    if (id == name) {
      present = std::move(value);
      return;
    }
  variables.emplace_back(name, std::move(value));
}

//===-- Arguments ---------------------------------------------------------===//

BoundArguments::BoundArguments(RenderState &state, const char *callee,
                               Arguments &arguments,
                               std::initializer_list<const char *> parameters,
                               size_t required)
    : state(state), callee(callee), values(parameters.size()) {
  if (arguments.positional.size() > parameters.size())
    state.fail(std::string(callee) + " takes at most " +
               std::to_string(parameters.size()) + " arguments, found " +
               std::to_string(arguments.positional.size()));
  for (size_t i = 0; i < arguments.positional.size(); ++i)
    values[i] = &arguments.positional[i];
  for (const auto &[name, value] : arguments.named) {
    size_t i = std::find(parameters.begin(), parameters.end(), name) -
               parameters.begin();
    if (i == parameters.size())
      state.fail(std::string(callee) + " has no argument " + inQuotes(name));
    if (values[i])
      state.fail(std::string(callee) + " got argument " + inQuotes(name) +
                 " twice");
    values[i] = &value;
  }
  for (size_t i = 0; i < required; ++i)
    if (!values[i])
      state.fail(std::string(callee) + " needs argument '" +
                 *(parameters.begin() + i) + "'");
}

void requireNoArguments(RenderState &state, const char *callee,
                        const Arguments &arguments) {
  if (!arguments.positional.empty() || !arguments.named.empty())
    state.fail(std::string(callee) + " takes no arguments");
}

bool BoundArguments::flag(size_t index, bool otherwise) const {
  return values[index] ? isTrue(state, *values[index]) : otherwise;
}

int64_t BoundArguments::integer(size_t index, int64_t otherwise) const {
  if (!values[index])
    return otherwise;
  requireDefined(state, *values[index]);
  std::optional<int64_t> value = asInteger(*values[index]);
  if (!value)
    state.fail(std::string(callee) + " needs an integer, found '" +
               typeName(*values[index]) + "'");
  return *value;
}

const StringObject *BoundArguments::string(size_t index) const {
  if (!values[index] || is<None>(*values[index]))
    return nullptr;
  const StringObject *value = asString(*values[index]);
  if (!value)
    state.fail(std::string(callee) + " needs a string, found '" +
               typeName(*values[index]) + "'");
  return value;
}

//===-- Loops -------------------------------------------------------------===//

LoopObject::LoopObject(Evaluator &evaluator, const Value &iterable,
                       const Stmt &loop, Scope &scope)
    : evaluator(evaluator), loop(loop), scope(scope),
      items(evaluator.state, iterable),
      valueDepthOfItems(valueDepth(iterable)) {
  if (!loop.condition)
    knownLength = items.sizeHint();
}

std::optional<Value> LoopObject::fetch() {
  if (!readAhead.empty()) {
    Value item = std::move(readAhead.back());
    readAhead.pop_back();
    return item;
  }
  while (std::optional<Value> item = items.next()) {
    if (!loop.condition || !isRunning)
      return item;
    auto inner = std::make_shared<Scope>();
    inner->parent = &scope;
    evaluator.assign(loop.target, *item, *inner);
    if (evaluator.isTrueIn(std::move(inner), *loop.condition))
      return item;
  }
  return std::nullopt;
}

const std::optional<Value> &LoopObject::peek() {
  // What follows the last item is asked for again each time, as Jinja does.
  if (!hasPeeked || !peeked)
    peeked = fetch();
  hasPeeked = true;
  return peeked;
}

std::optional<Value> LoopObject::advance() {
  std::optional<Value> item = hasPeeked && peeked ? std::move(peeked) : fetch();
  hasPeeked = false;
  peeked.reset();
  if (!item)
    return std::nullopt;
  ++index;
  before = std::exchange(now, *item);
  return item;
}

int64_t LoopObject::length() {
  if (!knownLength) {
    std::vector<Value> rest;
    while (std::optional<Value> item = fetch())
      rest.push_back(std::move(*item));
    knownLength = static_cast<int64_t>(rest.size()) + index + 1 +
                  (hasPeeked && peeked ? 1 : 0);
    readAhead.assign(std::make_move_iterator(rest.rbegin()),
                     std::make_move_iterator(rest.rend()));
  }
  return *knownLength;
}

std::optional<Value> LoopObject::attribute(RenderState &state,
                                           std::string_view name) {
  if (name == "index")
    return index + 1;
  if (name == "index0")
    return index;
  if (name == "first")
    return index == 0;
  if (name == "last")
    return !peek().has_value();
  if (name == "length")
    return length();
  if (name == "revindex")
    return length() - index;
  if (name == "revindex0")
    return length() - index - 1;
  if (name == "previtem")
    return index == 0 ? makeUndefined(state, "there is no previous item")
                      : before;
  if (name == "nextitem") {
    const std::optional<Value> &next = peek();
    return next ? *next : makeUndefined(state, "there is no next item");
  }
  if (name == "depth")
    return int64_t(1);
  if (name == "depth0")
    return int64_t(0);
  if (name == "changed")
    state.fail("loop.changed is outside the supported subset");
  return std::nullopt;
}

//===-- Statements --------------------------------------------------------===//

Evaluator::Evaluator(const Program &program, const nlohmann::ordered_json &json,
                     const RenderOptions &options)
    : state(options.budget), options(options), program(program),
      context(program.names.size()), isKnown(program.names.size()) {
  for (size_t name = 0; name < program.names.size(); ++name) {
    auto it = json.find(program.names[name]);
    if (it != json.end())
      context[name] = fromJson(
          state, *it, options.templateOwned.count(program.names[name]) == 0);
    isKnown[name] = context[name] || findGlobal(program.names[name]);
  }
  scope = makeScope(nullptr, program.body);
}

std::shared_ptr<Scope> Evaluator::makeScope(Scope *parent, const Block &block) {
  auto inner = std::make_shared<Scope>();
  inner->parent = parent;
  for (NameId name : block.unsetNames)
    if (isKnown[name])
      inner->set(name, makeUndefined(state, inQuotes(program.names[name]) +
                                                " is undefined"));
  return inner;
}

MarkedText Evaluator::render() {
  TextBuilder text(state);
  output = &text;
  run(program.body);
  return text.take();
}

void Evaluator::print(const Value &value) {
  appendStr(*output, state, value);
  if (output->size() > state.budget.maxOutputBytes)
    state.exceed("output is longer than " +
                 std::to_string(state.budget.maxOutputBytes) + " bytes");
}

Evaluator::Flow Evaluator::run(const Block &block) {
  RenderState::Nesting nesting(state);
  for (const Stmt &stmt : block.statements)
    if (Flow flow = run(stmt); flow != Flow::Normal)
      return flow;
  return Flow::Normal;
}

Evaluator::Flow Evaluator::run(const Stmt &stmt) {
  state.at = stmt.at;
  state.charge();
  switch (stmt.kind) {
  case StmtKind::Data:
    print(stmt.constant);
    return Flow::Normal;
  case StmtKind::Output:
    print(evaluate(*stmt.expr));
    return Flow::Normal;
  case StmtKind::If:
    return runIf(stmt);
  case StmtKind::For:
    return runFor(stmt);
  case StmtKind::Set:
    assign(stmt.target, evaluate(*stmt.expr), *scope);
    return Flow::Normal;
  case StmtKind::SetBlock:
  case StmtKind::FilterBlock:
    return runCaptured(stmt);
  case StmtKind::Macro:
    scope->set(stmt.name, std::make_shared<const MacroObject>(
                              MacroObject{stmt.macro.get(), scope}));
    return Flow::Normal;
  case StmtKind::CallBlock:
    runCallBlock(stmt);
    return Flow::Normal;
  case StmtKind::With:
    return runWith(stmt);
  case StmtKind::Scope:
    return runIn(makeScope(scope.get(), stmt.body), stmt.body);
  case StmtKind::Break:
    return Flow::Break;
  case StmtKind::Continue:
    return Flow::Continue;
  }
  return Flow::Normal;
}

Evaluator::Flow Evaluator::runIn(std::shared_ptr<Scope> inner,
                                 const Block &block) {
  Restore<std::shared_ptr<Scope>> restore(scope, std::move(inner));
  return run(block);
}

Evaluator::Flow Evaluator::runIf(const Stmt &stmt) {
  for (const Branch &branch : stmt.branches)
    if (isTrue(*branch.condition))
      return run(branch.body);
  return run(stmt.otherwise);
}

Evaluator::Flow Evaluator::runFor(const Stmt &stmt) {
  auto loop =
      std::make_shared<LoopObject>(*this, evaluate(*stmt.expr), stmt, *scope);
  // Jinja takes the else branch unless some iteration reached its end.
  bool completedOne = false;
  while (std::optional<Value> item = loop->advance()) {
    state.charge();
    std::shared_ptr<Scope> inner = makeScope(scope.get(), stmt.body);
    inner->set(program.loopName, loop);
    assign(stmt.target, std::move(*item), *inner);
    Flow flow = runIn(std::move(inner), stmt.body);
    if (flow == Flow::Break)
      break;
    completedOne |= flow == Flow::Normal;
  }
  loop->finish();
  if (completedOne)
    return Flow::Normal;
  return runIn(makeScope(scope.get(), stmt.otherwise), stmt.otherwise);
}

Value Evaluator::capture(const Block &block, Flow &flow) {
  TextBuilder text(state);
  Restore<TextBuilder *> restore(output, &text);
  flow = runIn(makeScope(scope.get(), block), block);
  return makeString(state, text.take());
}

Evaluator::Flow Evaluator::runCaptured(const Stmt &stmt) {
  Flow flow = Flow::Normal;
  Value text = capture(stmt.body, flow);
  if (flow != Flow::Normal)
    return flow;
  if (stmt.expr) {
    Restore<const Value *> restore(blockText, &text);
    text = evaluate(*stmt.expr);
  }
  if (stmt.kind == StmtKind::SetBlock)
    assign(stmt.target, std::move(text), *scope);
  else
    print(text);
  return Flow::Normal;
}

void Evaluator::runCallBlock(const Stmt &stmt) {
  const Expr &expr = *stmt.expr;
  Value callee = evaluate(*expr.operands[0]);
  Arguments arguments = evaluateArguments(expr);
  arguments.named.emplace_back(program.names[program.callerName],
                               std::make_shared<const MacroObject>(
                                   MacroObject{stmt.macro.get(), scope}));
  state.at = expr.at;
  print(call(callee, std::move(arguments)));
}

Evaluator::Flow Evaluator::runWith(const Stmt &stmt) {
  std::shared_ptr<Scope> inner = makeScope(scope.get(), stmt.body);
  for (const auto &[target, expr] : stmt.bindings)
    assign(target, evaluate(*expr), *inner);
  return runIn(std::move(inner), stmt.body);
}

void Evaluator::assign(const Target &target, Value value, Scope &into) {
  state.charge(1 + into.variables.size() / 16);
  switch (target.kind) {
  case Target::Kind::Name:
    into.set(target.name, std::move(value));
    return;
  case Target::Kind::Attribute: {
    Value object = lookUp(target.name);
    auto space = std::get_if<NamespaceObject *>(&object);
    if (!space)
      state.fail("cannot assign to an attribute of '" +
                 std::string(typeName(object)) + "', only of a namespace");
    (*space)->attributes.set(state, makeString(state, target.attribute),
                             std::move(value));
    return;
  }
  case Target::Kind::Tuple: {
    std::vector<Value> items = collect(state, value);
    if (items.size() != target.items.size())
      state.fail("cannot unpack " + std::to_string(items.size()) +
                 " values into " + std::to_string(target.items.size()) +
                 " names");
    for (size_t i = 0; i < items.size(); ++i)
      assign(target.items[i], std::move(items[i]), into);
    return;
  }
  }
}

bool Evaluator::isTrueIn(std::shared_ptr<Scope> inner, const Expr &condition) {
  Restore<std::shared_ptr<Scope>> restore(scope, std::move(inner));
  return isTrue(condition);
}

//===-- Expressions -------------------------------------------------------===//

Value Evaluator::evaluate(const Expr &expr) {
  RenderState::Nesting nesting(state);
  state.at = expr.at;
  state.charge();
  auto operand = [&](size_t i) { return evaluate(*expr.operands[i]); };
  switch (expr.kind) {
  case ExprKind::Constant:
    return expr.constant;
  case ExprKind::Name:
    return lookUp(expr.name);
  case ExprKind::List:
    return evaluateSequence(expr, SequenceKind::List);
  case ExprKind::Tuple:
    return evaluateSequence(expr, SequenceKind::Tuple);
  case ExprKind::Dict:
    return evaluateDict(expr);
  case ExprKind::Attribute: {
    Value object = operand(0);
    state.at = expr.at;
    return attribute(object, expr.text);
  }
  case ExprKind::Element: {
    Value object = operand(0), key = operand(1);
    state.at = expr.at;
    return element(object, key);
  }
  case ExprKind::Slice:
    return evaluateSlice(expr);
  case ExprKind::Call:
    return evaluateCall(expr);
  case ExprKind::Filter:
    return evaluateFilter(expr);
  case ExprKind::Test:
    return evaluateTest(expr);
  case ExprKind::Not:
    return !isTrue(*expr.operands[0]);
  case ExprKind::Negate:
    return applyNegate(state, operand(0));
  case ExprKind::Positive:
    return applyPositive(state, operand(0));
  case ExprKind::Binary: {
    Value left = operand(0), right = operand(1);
    state.at = expr.at;
    return applyBinary(state, expr.op, left, right);
  }
  case ExprKind::Concat:
    return evaluateConcat(expr);
  case ExprKind::Compare:
    return evaluateCompare(expr);
  case ExprKind::And: {
    Value left = operand(0);
    return jinja::isTrue(state, left) ? operand(1) : left;
  }
  case ExprKind::Or: {
    Value left = operand(0);
    return jinja::isTrue(state, left) ? left : operand(1);
  }
  case ExprKind::Conditional:
    if (isTrue(*expr.operands[0]))
      return operand(1);
    if (expr.operands[2])
      return operand(2);
    return makeUndefined(state, "the condition is false and has no else");
  }
  return Undefined();
}

Value Evaluator::lookUp(NameId name) {
  for (const Scope *s = scope.get(); s; s = s->parent) {
    state.charge(1 + s->variables.size() / 16);
    for (const auto &[id, value] : s->variables)
      if (id == name)
        return value;
  }
  if (const std::optional<Value> &value = context[name])
    return *value;
  const std::string &text = program.names[name];
  if (std::optional<Value> global = findGlobal(text))
    return *global;
  if (isUnsupportedGlobal(text))
    state.fail(inQuotes(text) + " is outside the supported subset");
  return makeUndefined(state, inQuotes(text) + " is undefined");
}

Value Evaluator::evaluateSequence(const Expr &expr, SequenceKind kind) {
  std::vector<Value> items;
  items.reserve(expr.operands.size());
  for (const ExprPtr &operand : expr.operands)
    items.push_back(evaluate(*operand));
  return makeSequence(state, kind, std::move(items));
}

Value Evaluator::evaluateDict(const Expr &expr) {
  DictObject dict;
  for (size_t i = 0; i < expr.operands.size(); i += 2) {
    Value key = evaluate(*expr.operands[i]);
    dict.set(state, std::move(key), evaluate(*expr.operands[i + 1]));
  }
  return makeDict(state, std::move(dict));
}

Value Evaluator::evaluateSlice(const Expr &expr) {
  Value container = evaluate(*expr.operands[0]);
  Value bounds[3];
  const Value *given[3] = {};
  for (size_t i = 0; i < 3; ++i)
    if (expr.operands[i + 1]) {
      bounds[i] = evaluate(*expr.operands[i + 1]);
      given[i] = &bounds[i];
    }
  state.at = expr.at;
  return getSlice(state, container, given[0], given[1], given[2]);
}

Value Evaluator::evaluateConcat(const Expr &expr) {
  TextBuilder text(state);
  for (const ExprPtr &operand : expr.operands)
    appendStr(text, state, evaluate(*operand));
  return makeString(state, text.take());
}

bool Evaluator::evaluateCompare(const Expr &expr) {
  Value left = evaluate(*expr.operands[0]);
  for (size_t i = 0; i < expr.comparisons.size(); ++i) {
    Value right = evaluate(*expr.operands[i + 1]);
    state.at = expr.at;
    if (!compare(expr.comparisons[i], left, right))
      return false;
    left = std::move(right);
  }
  return true;
}

bool Evaluator::compare(Comparison comparison, const Value &a, const Value &b) {
  switch (comparison) {
  case Comparison::Equal:
    return equals(state, a, b);
  case Comparison::NotEqual:
    return !equals(state, a, b);
  case Comparison::Less:
    return isLess(state, a, b);
  case Comparison::LessEqual:
    return isLessOrEqual(state, a, b);
  case Comparison::Greater:
    return isLess(state, b, a);
  case Comparison::GreaterEqual:
    return isLessOrEqual(state, b, a);
  case Comparison::In:
    return contains(state, b, a);
  case Comparison::NotIn:
    return !contains(state, b, a);
  }
  return false;
}

Arguments Evaluator::evaluateArguments(const Expr &expr) {
  Arguments arguments;
  for (size_t i = 1; i < expr.operands.size(); ++i)
    arguments.positional.push_back(evaluate(*expr.operands[i]));
  for (const auto &[name, value] : expr.named)
    arguments.named.emplace_back(name, evaluate(*value));
  return arguments;
}

Value Evaluator::evaluateFilter(const Expr &expr) {
  if (!expr.filter)
    state.fail("filter " + inQuotes(expr.text) +
               " is outside the supported subset");
  Value input = expr.operands[0] ? evaluate(*expr.operands[0]) : *blockText;
  Arguments arguments = evaluateArguments(expr);
  state.at = expr.at;
  return expr.filter(*this, input, arguments);
}

Value Evaluator::evaluateTest(const Expr &expr) {
  if (!expr.test)
    state.fail("test " + inQuotes(expr.text) +
               " is outside the supported subset");
  Value subject = evaluate(*expr.operands[0]);
  Arguments arguments = evaluateArguments(expr);
  state.at = expr.at;
  return expr.test(*this, subject, arguments);
}

//===-- Attributes and calls ----------------------------------------------===//

static Value missing(RenderState &state, const Value &container,
                     std::string_view name) {
  return makeUndefined(state, std::string("'") + typeName(container) +
                                  "' has no attribute " + inQuotes(name));
}

Value Evaluator::attribute(const Value &container, std::string_view name) {
  requireDefined(state, container);
  if (auto space = std::get_if<NamespaceObject *>(&container)) {
    const Value *value = (*space)->attributes.findString(name);
    return value ? *value : missing(state, container, name);
  }
  if (auto loop = std::get_if<LoopRef>(&container)) {
    if (std::optional<Value> value = (*loop)->attribute(state, name))
      return *value;
  }
  if (isMutatingMethod(container, name))
    return makeUndefined(state, "method " + inQuotes(name) +
                                    " changes its object, which templates "
                                    "may not do");
  if (MethodFunction method = findMethod(state, container, name)) {
    if (valueDepth(container) >= RenderState::maxValueDepth)
      state.exceed("values nest too deeply");
    state.chargeValue(sizeof(MethodObject));
    return std::make_shared<const MethodObject>(
        MethodObject{container, method});
  }
  if (const DictObject *dict = asDict(container))
    if (const Value *value = dict->findString(name))
      return *value;
  if (name.substr(0, 2) == "__")
    state.exceed("attribute " + inQuotes(name) + " is not accessible");
  return missing(state, container, name);
}

Value Evaluator::element(const Value &container, const Value &key) {
  if (std::optional<Value> item = getItem(state, container, key))
    return std::move(*item);
  if (const StringObject *name = asString(key))
    return attribute(container, name->view());
  return makeUndefined(state, std::string("'") + typeName(container) +
                                  "' has no such element");
}

Value Evaluator::evaluateCall(const Expr &expr) {
  Value callee = evaluate(*expr.operands[0]);
  Arguments arguments = evaluateArguments(expr);
  state.at = expr.at;
  return call(callee, std::move(arguments));
}

Value Evaluator::call(const Value &callee, Arguments arguments) {
  requireDefined(state, callee);
  if (auto macro = std::get_if<MacroRef>(&callee))
    return callMacro(**macro, std::move(arguments));
  if (auto method = std::get_if<MethodRef>(&callee))
    return (*method)->function(*this, (*method)->self, arguments);
  if (auto function = std::get_if<GlobalFunction>(&callee))
    return callGlobal(*function, std::move(arguments));
  state.fail(std::string("'") + typeName(callee) + "' cannot be called");
}

/// Takes the argument of this name out of `named`.
static std::optional<Value>
takeNamed(std::vector<std::pair<std::string, Value>> &named,
          std::string_view name) {
  for (auto it = named.begin(); it != named.end(); ++it)
    if (it->first == name) {
      Value value = std::move(it->second);
      named.erase(it);
      return value;
    }
  return std::nullopt;
}

Value Evaluator::callMacro(const MacroObject &object, Arguments arguments) {
  RenderState::Nesting nesting(state);
  const Macro &macro = *object.macro;
  std::shared_ptr<Scope> closure = object.closure.lock();
  if (!closure)
    state.fail("macro " + inQuotes(macro.name) +
               " is called after the block that defines it, which is outside "
               "the supported subset");
  std::shared_ptr<Scope> inner = makeScope(closure.get(), macro.body);
  size_t count = macro.parameters.size();
  state.charge(1 + count * count / 16);
  bool hasCallerParameter = false;
  std::vector<bool> isGiven(count);
  for (size_t i = 0; i < count; ++i) {
    NameId name = macro.parameters[i];
    hasCallerParameter |= name == program.callerName;
    std::optional<Value> value =
        i < arguments.positional.size()
            ? std::optional<Value>(arguments.positional[i])
            : takeNamed(arguments.named, program.names[name]);
    isGiven[i] = value.has_value();
    inner->set(name,
               value ? std::move(*value)
                     : makeUndefined(state, "parameter " +
                                                inQuotes(program.names[name]) +
                                                " was not provided"));
  }
  if (macro.usesCaller && !hasCallerParameter) {
    std::optional<Value> caller =
        takeNamed(arguments.named, program.names[program.callerName]);
    inner->set(program.callerName,
               caller ? std::move(*caller)
                      : makeUndefined(state, "no caller is defined"));
  }
  if (macro.usesKwargs)
    inner->set(program.kwargsName,
               makeDict(state, makeDictObject(
                                   "macro", {{}, std::move(arguments.named)})));
  else if (!arguments.named.empty())
    state.fail("macro " + inQuotes(macro.name) + " takes no argument " +
               inQuotes(arguments.named.front().first));
  size_t given = arguments.positional.size();
  if (macro.usesVarargs)
    inner->set(program.varargsName,
               makeSequence(state, SequenceKind::Tuple,
                            {arguments.positional.begin() +
                                 static_cast<ptrdiff_t>(std::min(count, given)),
                             arguments.positional.end()}));
  else if (given > count)
    state.fail("macro " + inQuotes(macro.name) + " takes at most " +
               std::to_string(count) + " arguments");

  Restore<std::shared_ptr<Scope>> restoreScope(scope, inner);
  size_t firstDefault = count - macro.defaults.size();
  for (size_t i = firstDefault; i < count; ++i)
    if (!isGiven[i])
      inner->set(macro.parameters[i],
                 evaluate(*macro.defaults[i - firstDefault]));
  TextBuilder text(state);
  Restore<TextBuilder *> restoreOutput(output, &text);
  run(macro.body);
  return makeString(state, text.take());
}

DictObject Evaluator::makeDictObject(const char *callee, Arguments arguments) {
  DictObject dict;
  if (arguments.positional.size() > 1)
    state.fail(std::string(callee) + " takes at most 1 positional argument");
  for (const Value &source : arguments.positional) {
    if (const DictObject *from = asDict(source)) {
      for (const auto &[key, value] : from->entries)
        dict.set(state, key, value);
      continue;
    }
    for (const Value &item : collect(state, source)) {
      std::vector<Value> pair = collect(state, item);
      if (pair.size() != 2)
        state.fail(std::string(callee) + " needs pairs of key and value");
      dict.set(state, pair[0], pair[1]);
    }
  }
  for (auto &[name, value] : arguments.named)
    dict.set(state, makeString(state, std::move(name)), std::move(value));
  return dict;
}

NamespaceObject *Evaluator::makeNamespace(Arguments arguments) {
  DictObject attributes = makeDictObject("namespace", std::move(arguments));
  state.chargeValue(sizeof(NamespaceObject));
  namespaces.push_back(std::make_unique<NamespaceObject>(
      NamespaceObject{std::move(attributes)}));
  return namespaces.back().get();
}

Value Evaluator::makeRange(const Arguments &arguments) {
  const std::vector<Value> &given = arguments.positional;
  if (!arguments.named.empty() || given.empty() || given.size() > 3)
    state.fail("range takes 1 to 3 positional arguments");
  int64_t bounds[3] = {0, 0, 1};
  for (size_t i = 0; i < given.size(); ++i) {
    requireDefined(state, given[i]);
    std::optional<int64_t> value = asInteger(given[i]);
    if (!value)
      state.fail(std::string("range needs integers, found '") +
                 typeName(given[i]) + "'");
    bounds[given.size() == 1 ? 1 : i] = *value;
  }
  auto [start, stop, step] = bounds;
  if (step == 0)
    state.fail("range step cannot be zero");
  uint64_t count = 0;
  // Distances fit in 64 unsigned bits.
  auto distance = [](int64_t from, int64_t to) {
    return static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
  };
  if (step > 0 && start < stop)
    count = (distance(start, stop) - 1) / static_cast<uint64_t>(step) + 1;
  else if (step < 0 && stop < start)
    count = (distance(stop, start) - 1) / distance(step, 0) + 1;
  if (count > maxRangeItems)
    state.exceed("range has " + std::to_string(count) + " items, at most " +
                 std::to_string(maxRangeItems) + " are allowed");
  std::vector<Value> items;
  items.reserve(count);
  for (uint64_t i = 0; i < count; ++i)
    items.push_back(static_cast<int64_t>(static_cast<uint64_t>(start) +
                                         i * static_cast<uint64_t>(step)));
  Value sequence = makeSequence(state, SequenceKind::Range, std::move(items));
  SequenceObject range = *asSequence(sequence);
  range.start = start;
  range.stop = stop;
  range.step = step;
  return std::make_shared<const SequenceObject>(std::move(range));
}

Value Evaluator::callGlobal(GlobalFunction function, Arguments arguments) {
  switch (function) {
  case GlobalFunction::Range:
    return makeRange(arguments);
  case GlobalFunction::Dict:
    return makeDict(state, makeDictObject("dict", std::move(arguments)));
  case GlobalFunction::Namespace:
    return makeNamespace(std::move(arguments));
  case GlobalFunction::RaiseException: {
    BoundArguments bound(state, "raise_exception", arguments, {"message"}, 1);
    state.fail(escapeForMessage(plainText(state, *bound[0]), 300));
  }
  case GlobalFunction::StrftimeNow: {
    BoundArguments bound(state, "strftime_now", arguments, {"format"}, 1);
    const StringObject *format = bound.string(0);
    if (!format)
      state.fail("strftime_now needs a format");
    std::tm time{};
    if (options.now) {
      time = options.now();
    } else {
      std::time_t now = std::time(nullptr);
      localtime_r(&now, &time);
    }
    return makeString(state, formatTime(state, time, format->view()));
  }
  }
  return Undefined();
}

} // namespace chorus::rt::jinja
