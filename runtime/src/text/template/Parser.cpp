//===- Parser.cpp - Chat templates to syntax trees ------------------------===//

#include "Ast.h"
#include "Lexer.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>
#include <utility>

namespace chorus::rt::jinja {

namespace {

/// Nested brackets and blocks; keeps the parser's stack small.
constexpr unsigned maxParseDepth = 100;
/// Height of an expression's tree, such as a long chain of +.
constexpr unsigned maxExprDepth = 200;

/// Named arguments of a call, parameters of a macro.
constexpr size_t maxNamed = 255;

bool isDunder(std::string_view name) { return name.substr(0, 2) == "__"; }

class Parser {
public:
  explicit Parser(std::vector<Token> tokens)
      : tokens(std::move(tokens)), constants(TemplateBudget()) {
    program.loopName = intern("loop");
    program.callerName = intern("caller");
    program.varargsName = intern("varargs");
    program.kwargsName = intern("kwargs");
  }

  Program run() {
    program.body = parseBlock({});
    return std::move(program);
  }

private:
  //===-- Tokens ----------------------------------------------------------===//

  const Token &current() const { return tokens[pos]; }
  const Token &following() const {
    return tokens[std::min(pos + 1, tokens.size() - 1)];
  }

  [[noreturn]] void failAt(Position at, std::string message,
                           std::string code = "template") const {
    throw TemplateError{std::move(code), at, std::move(message)};
  }
  [[noreturn]] void fail(std::string message) const {
    failAt(current().at, std::move(message));
  }
  [[noreturn]] void failUnsupported(Position at,
                                    const std::string &what) const {
    failAt(at, what + " is outside the supported subset");
  }

  static std::string describe(const Token &token) {
    switch (token.kind) {
    case TokenKind::Data:
      return "text";
    case TokenKind::VariableBegin:
      return "'{{'";
    case TokenKind::VariableEnd:
      return "'}}'";
    case TokenKind::BlockBegin:
      return "'{%'";
    case TokenKind::BlockEnd:
      return "'%}'";
    case TokenKind::String:
      return "a string";
    case TokenKind::End:
      return "the end of the template";
    case TokenKind::Name:
    case TokenKind::Integer:
    case TokenKind::Float:
    case TokenKind::Operator:
      break;
    }
    return "'" + escapeForMessage(token.text) + "'";
  }

  bool isOperator(std::string_view op) const {
    return current().kind == TokenKind::Operator && current().text == op;
  }
  bool isName(std::string_view name) const {
    return current().kind == TokenKind::Name && current().text == name;
  }
  const Token &advance() { return tokens[pos++]; }
  bool skipOperator(std::string_view op) {
    bool matches = isOperator(op);
    pos += matches;
    return matches;
  }
  bool skipName(std::string_view name) {
    bool matches = isName(name);
    pos += matches;
    return matches;
  }
  void expectOperator(std::string_view op) {
    if (!skipOperator(op))
      fail("found " + describe(current()) + ", expected '" + std::string(op) +
           "'");
  }
  void expectName(std::string_view name) {
    if (!skipName(name))
      fail("found " + describe(current()) + ", expected '" + std::string(name) +
           "'");
  }
  void expectKind(TokenKind kind, const char *what) {
    if (current().kind != kind)
      fail("found " + describe(current()) + ", expected " + what);
    ++pos;
  }
  std::string expectAnyName() {
    if (current().kind != TokenKind::Name)
      fail("found " + describe(current()) + ", expected a name");
    return advance().text;
  }
  std::string expectAttributeName() {
    Position at = current().at;
    std::string name = expectAnyName();
    if (isDunder(name))
      failAt(at, "attribute '" + escapeForMessage(name) + "' is not accessible",
             "T12");
    return name;
  }

  class Nesting {
  public:
    explicit Nesting(Parser &parser) : parser(parser) {
      if (++parser.depth > maxParseDepth)
        parser.failAt(parser.current().at,
                      "template nests deeper than " +
                          std::to_string(maxParseDepth) + " levels",
                      "T12");
    }
    ~Nesting() { --parser.depth; }

  private:
    Parser &parser;
  };

  NameId intern(const std::string &name) {
    auto [it, isNew] =
        nameIds.try_emplace(name, static_cast<NameId>(program.names.size()));
    if (isNew)
      program.names.push_back(name);
    return it->second;
  }

  //===-- Tree nodes ------------------------------------------------------===//

  ExprPtr make(ExprKind kind, Position at, std::vector<ExprPtr> operands = {}) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->at = at;
    expr->operands = std::move(operands);
    setDepth(*expr);
    return expr;
  }

  void setDepth(Expr &expr) const {
    for (const ExprPtr &operand : expr.operands)
      if (operand)
        expr.depth = std::max(expr.depth, operand->depth + 1);
    for (const auto &[name, value] : expr.named)
      expr.depth = std::max(expr.depth, value->depth + 1);
    if (expr.depth > maxExprDepth)
      failAt(expr.at,
             "expression nests deeper than " + std::to_string(maxExprDepth) +
                 " levels",
             "T12");
  }

  template <typename... Operands>
  static std::vector<ExprPtr> list(Operands... operands) {
    std::vector<ExprPtr> items;
    (items.push_back(std::move(operands)), ...);
    return items;
  }

  ExprPtr makeConstant(Position at, Value value) {
    ExprPtr expr = make(ExprKind::Constant, at);
    expr->constant = std::move(value);
    return expr;
  }

  static bool isConstantName(const std::string &name) {
    return name == "true" || name == "false" || name == "none" ||
           name == "True" || name == "False" || name == "None";
  }

  //===-- Expressions -----------------------------------------------------===//

  ExprPtr parseExpression() {
    Nesting nesting(*this);
    Position at = current().at;
    ExprPtr expr = parseOr();
    while (skipName("if")) {
      ExprPtr condition = parseOr();
      ExprPtr otherwise = skipName("else") ? parseExpression() : nullptr;
      expr = make(
          ExprKind::Conditional, at,
          list(std::move(condition), std::move(expr), std::move(otherwise)));
    }
    return expr;
  }

  ExprPtr parseOr() {
    ExprPtr left = parseAnd();
    while (isName("or")) {
      Position at = advance().at;
      ExprPtr right = parseAnd();
      left = make(ExprKind::Or, at, list(std::move(left), std::move(right)));
    }
    return left;
  }

  ExprPtr parseAnd() {
    ExprPtr left = parseNot();
    while (isName("and")) {
      Position at = advance().at;
      ExprPtr right = parseNot();
      left = make(ExprKind::And, at, list(std::move(left), std::move(right)));
    }
    return left;
  }

  ExprPtr parseNot() {
    if (!isName("not"))
      return parseCompare();
    Nesting nesting(*this);
    Position at = advance().at;
    return make(ExprKind::Not, at, list(parseNot()));
  }

  bool skipComparison(Comparison &comparison) {
    static const std::pair<const char *, Comparison> operators[] = {
        {"==", Comparison::Equal},  {"!=", Comparison::NotEqual},
        {"<", Comparison::Less},    {"<=", Comparison::LessEqual},
        {">", Comparison::Greater}, {">=", Comparison::GreaterEqual}};
    for (const auto &[text, op] : operators)
      if (skipOperator(text)) {
        comparison = op;
        return true;
      }
    if (skipName("in")) {
      comparison = Comparison::In;
      return true;
    }
    if (isName("not") && following().kind == TokenKind::Name &&
        following().text == "in") {
      pos += 2;
      comparison = Comparison::NotIn;
      return true;
    }
    return false;
  }

  ExprPtr parseCompare() {
    Position at = current().at;
    ExprPtr first = parseSum();
    std::vector<ExprPtr> operands;
    std::vector<Comparison> comparisons;
    Comparison comparison;
    while (skipComparison(comparison)) {
      comparisons.push_back(comparison);
      operands.push_back(parseSum());
    }
    if (operands.empty())
      return first;
    operands.insert(operands.begin(), std::move(first));
    ExprPtr expr = make(ExprKind::Compare, at, std::move(operands));
    expr->comparisons = std::move(comparisons);
    return expr;
  }

  ExprPtr makeBinary(Position at, BinaryOperator op, ExprPtr left,
                     ExprPtr right) {
    ExprPtr expr =
        make(ExprKind::Binary, at, list(std::move(left), std::move(right)));
    expr->op = op;
    return expr;
  }

  ExprPtr parseSum() {
    ExprPtr left = parseConcat();
    while (isOperator("+") || isOperator("-")) {
      const Token &token = advance();
      BinaryOperator op =
          token.text == "+" ? BinaryOperator::Add : BinaryOperator::Sub;
      ExprPtr right = parseConcat();
      left = makeBinary(token.at, op, std::move(left), std::move(right));
    }
    return left;
  }

  ExprPtr parseConcat() {
    Position at = current().at;
    std::vector<ExprPtr> parts = list(parseProduct());
    while (skipOperator("~"))
      parts.push_back(parseProduct());
    if (parts.size() == 1)
      return std::move(parts.front());
    return make(ExprKind::Concat, at, std::move(parts));
  }

  ExprPtr parseProduct() {
    ExprPtr left = parsePower();
    while (isOperator("*") || isOperator("/") || isOperator("//") ||
           isOperator("%")) {
      const Token &token = advance();
      BinaryOperator op = token.text == "*"    ? BinaryOperator::Mul
                          : token.text == "/"  ? BinaryOperator::Div
                          : token.text == "//" ? BinaryOperator::FloorDiv
                                               : BinaryOperator::Mod;
      ExprPtr right = parsePower();
      left = makeBinary(token.at, op, std::move(left), std::move(right));
    }
    return left;
  }

  /// Left-associative, as in Jinja.
  ExprPtr parsePower() {
    ExprPtr left = parseUnary(/*withFilters=*/true);
    while (isOperator("**")) {
      Position at = advance().at;
      ExprPtr right = parseUnary(/*withFilters=*/true);
      left = makeBinary(at, BinaryOperator::Pow, std::move(left),
                        std::move(right));
    }
    return left;
  }

  ExprPtr parseUnary(bool withFilters) {
    ExprPtr expr;
    if (isOperator("-") || isOperator("+")) {
      Nesting nesting(*this);
      const Token &token = advance();
      ExprKind kind = token.text == "-" ? ExprKind::Negate : ExprKind::Positive;
      expr = make(kind, token.at, list(parseUnary(/*withFilters=*/false)));
    } else {
      expr = parsePrimary();
    }
    expr = parsePostfix(std::move(expr));
    return withFilters ? parseFiltersAndTests(std::move(expr))
                       : std::move(expr);
  }

  ExprPtr parsePrimary() {
    const Token &token = current();
    switch (token.kind) {
    case TokenKind::Name:
      return parseNameOrConstant();
    case TokenKind::String: {
      std::string text;
      while (current().kind == TokenKind::String)
        text += advance().text;
      return makeConstant(token.at, makeString(constants, std::move(text)));
    }
    case TokenKind::Integer:
      ++pos;
      return makeConstant(token.at, integerOf(token));
    case TokenKind::Float: {
      ++pos;
      double value = 0;
      auto result = std::from_chars(
          token.text.data(), token.text.data() + token.text.size(), value);
      if (result.ec == std::errc::result_out_of_range)
        value = token.text.find("e-") != std::string::npos ? 0 : HUGE_VAL;
      return makeConstant(token.at, value);
    }
    case TokenKind::Operator:
      if (skipOperator("(")) {
        ExprPtr expr = parseTuple(/*inParentheses=*/true);
        expectOperator(")");
        return expr;
      }
      if (isOperator("["))
        return parseListLiteral();
      if (isOperator("{"))
        return parseDictLiteral();
      break;
    default:
      break;
    }
    fail("unexpected " + describe(token));
  }

  ExprPtr parseNameOrConstant() {
    const Token &token = advance();
    if (token.text == "true" || token.text == "True")
      return makeConstant(token.at, true);
    if (token.text == "false" || token.text == "False")
      return makeConstant(token.at, false);
    if (token.text == "none" || token.text == "None")
      return makeConstant(token.at, None());
    if (token.text == "self")
      failUnsupported(token.at, "'self'");
    for (Macro *macro : openMacros) {
      macro->usesCaller |= token.text == "caller";
      macro->usesVarargs |= token.text == "varargs";
      macro->usesKwargs |= token.text == "kwargs";
    }
    ExprPtr expr = make(ExprKind::Name, token.at);
    expr->name = intern(token.text);
    return expr;
  }

  Value integerOf(const Token &token) const {
    std::string_view digits = token.text;
    int base = 10;
    if (digits.size() > 1 && digits[0] == '0') {
      base = digits[1] == 'x' ? 16 : digits[1] == 'o' ? 8 : 2;
      digits.remove_prefix(2);
    }
    int64_t value = 0;
    auto result = std::from_chars(digits.data(), digits.data() + digits.size(),
                                  value, base);
    if (result.ec != std::errc())
      failAt(token.at, "integer does not fit in 64 bits");
    return value;
  }

  /// Whether a tuple without brackets may end here.
  bool isTupleEnd(bool endsAtIn) const {
    return current().kind == TokenKind::VariableEnd ||
           current().kind == TokenKind::BlockEnd || isOperator(")") ||
           (endsAtIn && isName("recursive"));
  }

  /// An expression, or several with commas between them. `withConditional`
  /// tells whether `a if b` may stand there without brackets.
  ExprPtr parseTuple(bool inParentheses, bool withConditional = true,
                     bool endsAtRecursive = false) {
    Position at = current().at;
    std::vector<ExprPtr> items;
    bool isTuple = false;
    while (true) {
      if (!items.empty())
        expectOperator(",");
      if (isTupleEnd(endsAtRecursive))
        break;
      items.push_back(withConditional ? parseExpression() : parseOr());
      if (!isOperator(","))
        break;
      isTuple = true;
    }
    if (!isTuple && !items.empty())
      return std::move(items.front());
    if (!isTuple && !inParentheses)
      fail("found " + describe(current()) + ", expected an expression");
    return make(ExprKind::Tuple, at, std::move(items));
  }

  ExprPtr parseListLiteral() {
    Position at = advance().at;
    std::vector<ExprPtr> items;
    while (!isOperator("]")) {
      if (!items.empty())
        expectOperator(",");
      if (isOperator("]"))
        break;
      items.push_back(parseExpression());
    }
    expectOperator("]");
    return make(ExprKind::List, at, std::move(items));
  }

  ExprPtr parseDictLiteral() {
    Position at = advance().at;
    std::vector<ExprPtr> items;
    while (!isOperator("}")) {
      if (!items.empty())
        expectOperator(",");
      if (isOperator("}"))
        break;
      items.push_back(parseExpression());
      expectOperator(":");
      items.push_back(parseExpression());
    }
    expectOperator("}");
    return make(ExprKind::Dict, at, std::move(items));
  }

  ExprPtr parsePostfix(ExprPtr expr) {
    while (true) {
      if (isOperator("."))
        expr = parseAttribute(std::move(expr));
      else if (isOperator("["))
        expr = parseSubscript(std::move(expr));
      else if (isOperator("("))
        expr = parseCall(std::move(expr));
      else
        return expr;
    }
  }

  ExprPtr parseFiltersAndTests(ExprPtr expr) {
    while (true) {
      if (isOperator("|"))
        expr = parseFilter(std::move(expr));
      else if (isName("is"))
        expr = parseTest(std::move(expr));
      else if (isOperator("("))
        expr = parseCall(std::move(expr));
      else
        return expr;
    }
  }

  ExprPtr parseAttribute(ExprPtr object) {
    Position at = advance().at;
    if (current().kind == TokenKind::Integer) {
      ExprPtr index = makeConstant(current().at, integerOf(current()));
      ++pos;
      return make(ExprKind::Element, at,
                  list(std::move(object), std::move(index)));
    }
    std::string name = expectAttributeName();
    ExprPtr expr = make(ExprKind::Attribute, at, list(std::move(object)));
    expr->text = std::move(name);
    return expr;
  }

  ExprPtr parseSubscript(ExprPtr object) {
    Position at = advance().at;
    std::vector<ExprPtr> parts; // Index, or start, stop, step.
    std::vector<ExprPtr> indices;
    bool isSlice = false;
    while (true) {
      ExprPtr part;
      if (!isOperator(":") && !isOperator("]") && !isOperator(","))
        part = parseExpression();
      parts.push_back(std::move(part));
      if (!isOperator(":") || parts.size() == 3)
        break;
      ++pos;
      isSlice = true;
    }
    if (isOperator(","))
      failUnsupported(at, "an index of several parts");
    expectOperator("]");
    if (!isSlice) {
      if (!parts.front())
        failAt(at, "index is missing");
      return make(ExprKind::Element, at,
                  list(std::move(object), std::move(parts.front())));
    }
    parts.resize(3);
    parts.insert(parts.begin(), std::move(object));
    return make(ExprKind::Slice, at, std::move(parts));
  }

  /// Parses `( arguments )` into the operands and named arguments of `expr`.
  void parseArguments(Expr &expr) {
    expectOperator("(");
    bool first = true;
    while (!isOperator(")")) {
      if (!first)
        expectOperator(",");
      if (isOperator(")"))
        break;
      first = false;
      if (isOperator("*") || isOperator("**"))
        failUnsupported(current().at, "unpacking of arguments with * or **");
      if (current().kind == TokenKind::Name &&
          following().kind == TokenKind::Operator && following().text == "=") {
        std::string name = advance().text;
        for (const auto &[other, value] : expr.named)
          if (other == name)
            fail("argument '" + escapeForMessage(name) + "' is repeated");
        requireFewNamed(expr.named.size());
        ++pos;
        expr.named.emplace_back(std::move(name), parseExpression());
      } else {
        if (!expr.named.empty())
          fail("positional argument follows a named one");
        expr.operands.push_back(parseExpression());
      }
    }
    expectOperator(")");
    setDepth(expr);
  }

  void requireFewNamed(size_t count) const {
    if (count >= maxNamed)
      failAt(current().at,
             "more than " + std::to_string(maxNamed) + " named arguments",
             "T12");
  }

  ExprPtr parseCall(ExprPtr callee) {
    ExprPtr expr = make(ExprKind::Call, current().at, list(std::move(callee)));
    parseArguments(*expr);
    return expr;
  }

  /// After `|`; also at the start of a filter block.
  ExprPtr parseFilterName(ExprPtr input) {
    Position at = current().at;
    std::string name = expectAnyName();
    FilterFunction filter = findFilter(name);
    // Under a condition an unknown filter matters only if it is reached.
    if (!filter && ifDepth == 0)
      failUnsupported(at, "filter '" + escapeForMessage(name) + "'");
    ExprPtr expr = make(ExprKind::Filter, at, list(std::move(input)));
    expr->text = std::move(name);
    expr->filter = filter;
    if (isOperator("("))
      parseArguments(*expr);
    return expr;
  }

  ExprPtr parseFilter(ExprPtr input) {
    ++pos; // The bar.
    return parseFilterName(std::move(input));
  }

  ExprPtr parseTest(ExprPtr subject) {
    Position at = advance().at;
    bool negated = skipName("not");
    Position nameAt = current().at;
    std::string name = expectAnyName();
    TestFunction test = findTest(name);
    if (!test && ifDepth == 0)
      failUnsupported(nameAt, "test '" + escapeForMessage(name) + "'");
    ExprPtr expr = make(ExprKind::Test, at, list(std::move(subject)));
    expr->text = std::move(name);
    expr->test = test;
    if (isOperator("(")) {
      parseArguments(*expr);
    } else if (isOperandStart()) {
      if (isName("is"))
        fail("tests cannot be chained with 'is'");
      expr->operands.push_back(parsePostfix(parsePrimary()));
      setDepth(*expr);
    }
    return negated ? make(ExprKind::Not, at, list(std::move(expr)))
                   : std::move(expr);
  }

  /// Whether the operand of a test without brackets starts here.
  bool isOperandStart() const {
    switch (current().kind) {
    case TokenKind::Name:
      return !isName("else") && !isName("or") && !isName("and");
    case TokenKind::String:
    case TokenKind::Integer:
    case TokenKind::Float:
      return true;
    case TokenKind::Operator:
      return isOperator("[") || isOperator("{");
    default:
      return false;
    }
  }

  //===-- Targets ---------------------------------------------------------===//

  Target parseNameTarget() {
    Position at = current().at;
    std::string name = expectAnyName();
    if (isConstantName(name))
      failAt(at, "cannot assign to '" + name + "'");
    return {Target::Kind::Name, at, intern(name), {}, {}};
  }

  Target parseSingleTarget(bool withNamespace, bool endsAtIn) {
    if (isOperator("(")) {
      Nesting nesting(*this);
      ++pos;
      Target target = parseTarget(withNamespace, endsAtIn);
      expectOperator(")");
      return target;
    }
    Target target = parseNameTarget();
    if (withNamespace && skipOperator(".")) {
      target.kind = Target::Kind::Attribute;
      target.attribute = expectAttributeName();
    }
    return target;
  }

  Target parseTarget(bool withNamespace, bool endsAtIn) {
    Target tuple{Target::Kind::Tuple, current().at, 0, {}, {}};
    tuple.items.push_back(parseSingleTarget(withNamespace, endsAtIn));
    if (!isOperator(","))
      return std::move(tuple.items.front());
    while (skipOperator(",")) {
      if (isTupleEnd(false) || (endsAtIn && isName("in")))
        break;
      tuple.items.push_back(parseSingleTarget(withNamespace, endsAtIn));
    }
    return tuple;
  }

  //===-- Statements ------------------------------------------------------===//

  void endTag() { expectKind(TokenKind::BlockEnd, "'%}'"); }

  /// Statements up to a tag named in `ends`, whose name is left as the current
  /// token; up to the end of the template if `ends` is empty.
  Block parseBlock(std::initializer_list<const char *> ends) {
    Nesting nesting(*this);
    Block block;
    while (true) {
      Position at = current().at;
      switch (current().kind) {
      case TokenKind::Data: {
        Stmt &stmt = addStmt(block, StmtKind::Data, at);
        stmt.constant = makeString(constants, advance().text);
        break;
      }
      case TokenKind::VariableBegin: {
        ++pos;
        ExprPtr expr = parseTuple(/*inParentheses=*/false);
        expectKind(TokenKind::VariableEnd, "'}}'");
        addStmt(block, StmtKind::Output, at).expr = std::move(expr);
        break;
      }
      case TokenKind::BlockBegin:
        ++pos;
        for (const char *end : ends)
          if (isName(end))
            return block;
        parseStatement(block);
        break;
      case TokenKind::End:
        if (ends.size() != 0)
          fail("template ends, expected '" + std::string(*(ends.end() - 1)) +
               "'");
        return block;
      default:
        fail("unexpected " + describe(current()));
      }
    }
  }

  /// The rest of an opening tag, the statements and the name of the end tag.
  Block parseBody(std::initializer_list<const char *> ends) {
    skipOperator(":");
    endTag();
    return parseBlock(ends);
  }

  Block parseBodyToEnd(const char *end) {
    Block block = parseBody({end});
    ++pos;
    return block;
  }

  static Stmt &addStmt(Block &block, StmtKind kind, Position at) {
    Stmt &stmt = block.statements.emplace_back();
    stmt.kind = kind;
    stmt.at = at;
    return stmt;
  }

  void parseStatement(Block &block) {
    if (current().kind != TokenKind::Name)
      fail("found " + describe(current()) + ", expected the name of a tag");
    const Token &tag = advance();
    const std::string &name = tag.text;
    if (name == "if")
      parseIf(block, tag.at);
    else if (name == "for")
      parseFor(block, tag.at);
    else if (name == "set")
      parseSet(block, tag.at);
    else if (name == "macro")
      parseMacro(block, tag.at);
    else if (name == "call")
      parseCallBlock(block, tag.at);
    else if (name == "filter")
      parseFilterBlock(block, tag.at);
    else if (name == "with")
      parseWith(block, tag.at);
    else if (name == "generation")
      parseGeneration(block, tag.at);
    else if (name == "break" || name == "continue")
      parseLoopControl(block, tag);
    else if (name == "print")
      parsePrint(block, tag.at);
    else if (name == "elif" || name == "else" || name.substr(0, 3) == "end")
      failAt(tag.at, "tag '" + escapeForMessage(name) +
                         "' does not belong to an open tag");
    else
      failUnsupported(tag.at, "tag '" + escapeForMessage(name) + "'");
    endTag();
  }

  void parseIf(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::If;
    stmt.at = at;
    do {
      Branch branch;
      branch.condition =
          parseTuple(/*inParentheses=*/false, /*withConditional=*/false);
      ++ifDepth;
      branch.body = parseBody({"elif", "else", "endif"});
      --ifDepth;
      stmt.branches.push_back(std::move(branch));
    } while (skipName("elif"));
    ++ifDepth;
    if (skipName("else"))
      stmt.otherwise = parseBody({"endif"});
    --ifDepth;
    expectName("endif");
    block.statements.push_back(std::move(stmt));
  }

  void parseFor(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::For;
    stmt.at = at;
    stmt.target = parseTarget(/*withNamespace=*/false, /*endsAtIn=*/true);
    expectName("in");
    stmt.expr = parseTuple(/*inParentheses=*/false, /*withConditional=*/false,
                           /*endsAtRecursive=*/true);
    if (skipName("if"))
      stmt.condition = parseExpression();
    if (isName("recursive"))
      failUnsupported(current().at, "a recursive loop");
    ++loopDepth;
    stmt.body = parseBody({"endfor", "else"});
    --loopDepth;
    if (skipName("else"))
      stmt.otherwise = parseBody({"endfor"});
    expectName("endfor");
    block.statements.push_back(std::move(stmt));
  }

  void parseSet(Block &block, Position at) {
    Stmt stmt;
    stmt.at = at;
    stmt.target = parseTarget(/*withNamespace=*/true, /*endsAtIn=*/false);
    if (skipOperator("=")) {
      stmt.kind = StmtKind::Set;
      stmt.expr = parseTuple(/*inParentheses=*/false);
    } else {
      stmt.kind = StmtKind::SetBlock;
      while (isOperator("|"))
        stmt.expr = parseFilter(std::move(stmt.expr));
      stmt.body = parseBodyToEnd("endset");
    }
    block.statements.push_back(std::move(stmt));
  }

  /// Bodies that become functions: loop controls do not cross their border.
  Block parseFunctionBody(Macro &macro, const char *end) {
    unsigned outerLoops = std::exchange(loopDepth, 0);
    openMacros.push_back(&macro);
    Block body = parseBodyToEnd(end);
    openMacros.pop_back();
    loopDepth = outerLoops;
    return body;
  }

  void parseSignature(Macro &macro) {
    expectOperator("(");
    while (!isOperator(")")) {
      if (!macro.parameters.empty())
        expectOperator(",");
      Target parameter = parseNameTarget();
      for (NameId other : macro.parameters)
        if (other == parameter.name)
          failAt(parameter.at, "parameter is repeated");
      requireFewNamed(macro.parameters.size());
      macro.parameters.push_back(parameter.name);
      if (skipOperator("="))
        macro.defaults.push_back(parseExpression());
      else if (!macro.defaults.empty())
        failAt(parameter.at, "parameter without default follows one with");
    }
    expectOperator(")");
  }

  void parseMacro(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::Macro;
    stmt.at = at;
    stmt.macro = std::make_unique<Macro>();
    Macro &macro = *stmt.macro;
    Target name = parseNameTarget();
    stmt.name = name.name;
    macro.name = program.names[name.name];
    parseSignature(macro);
    macro.body = parseFunctionBody(macro, "endmacro");
    block.statements.push_back(std::move(stmt));
  }

  void parseCallBlock(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::CallBlock;
    stmt.at = at;
    stmt.macro = std::make_unique<Macro>();
    stmt.macro->name = "caller";
    if (isOperator("("))
      parseSignature(*stmt.macro);
    stmt.expr = parseExpression();
    if (stmt.expr->kind != ExprKind::Call)
      failAt(at, "call block needs a call");
    stmt.macro->body = parseFunctionBody(*stmt.macro, "endcall");
    block.statements.push_back(std::move(stmt));
  }

  void parseFilterBlock(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::FilterBlock;
    stmt.at = at;
    stmt.expr = parseFilterName(nullptr);
    while (isOperator("|"))
      stmt.expr = parseFilter(std::move(stmt.expr));
    stmt.body = parseBodyToEnd("endfilter");
    block.statements.push_back(std::move(stmt));
  }

  void parseWith(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::With;
    stmt.at = at;
    while (current().kind != TokenKind::BlockEnd) {
      if (!stmt.bindings.empty())
        expectOperator(",");
      Target target = parseNameTarget();
      expectOperator("=");
      stmt.bindings.emplace_back(std::move(target), parseExpression());
    }
    stmt.body = parseBodyToEnd("endwith");
    block.statements.push_back(std::move(stmt));
  }

  void parseGeneration(Block &block, Position at) {
    Stmt stmt;
    stmt.kind = StmtKind::Scope;
    stmt.at = at;
    unsigned outerLoops = std::exchange(loopDepth, 0);
    stmt.body = parseBodyToEnd("endgeneration");
    loopDepth = outerLoops;
    block.statements.push_back(std::move(stmt));
  }

  void parseLoopControl(Block &block, const Token &tag) {
    if (loopDepth == 0)
      failAt(tag.at, "'" + tag.text + "' outside a loop");
    addStmt(block, tag.text == "break" ? StmtKind::Break : StmtKind::Continue,
            tag.at);
  }

  void parsePrint(Block &block, Position at) {
    bool first = true;
    while (current().kind != TokenKind::BlockEnd) {
      if (!first)
        expectOperator(",");
      first = false;
      addStmt(block, StmtKind::Output, at).expr = parseExpression();
    }
  }

  std::vector<Token> tokens;
  size_t pos = 0;
  unsigned depth = 0;
  unsigned loopDepth = 0;
  std::vector<Macro *> openMacros;
  unsigned ifDepth = 0; ///< Open bodies of if.
  std::unordered_map<std::string, NameId> nameIds;
  RenderState constants; ///< Accounts for literals.
  Program program;
};

} // namespace

Program parseTemplate(std::string_view source) {
  Program program = Parser(tokenize(source)).run();
  findUnsetNames(program);
  return program;
}

} // namespace chorus::rt::jinja
