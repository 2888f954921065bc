//===- Ast.h - Parsed chat templates ----------------------------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_AST_H
#define CHORUS_RT_TEXT_TEMPLATE_AST_H

#include "Value.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt::jinja {

struct Expr;
struct Stmt;
using ExprPtr = std::unique_ptr<Expr>;
/// Index into Program::names.
using NameId = uint32_t;

/// The statements between two tags.
struct Block {
  std::vector<Stmt> statements;
  /// In a block with a scope of its own: names that are undefined there until
  /// the block sets them, even if the context has them. See findUnsetNames.
  std::vector<NameId> unsetNames;
};

using FilterFunction = Value (*)(Evaluator &, const Value &input,
                                 Arguments &arguments);
using TestFunction = bool (*)(Evaluator &, const Value &subject,
                              Arguments &arguments);

enum class ExprKind {
  Constant,    ///< constant
  Name,        ///< name
  List,        ///< operands
  Tuple,       ///< operands
  Dict,        ///< operands: key, value, key, value, ..
  Attribute,   ///< operands[0] . text
  Element,     ///< operands[0] [ operands[1] ]
  Slice,       ///< operands[0] [ 1 : 2 : 3 ], null where left out
  Call,        ///< operands[0] ( rest, named )
  Filter,      ///< operands[0] | filter ( rest, named ); operand 0 is null for
               ///< the text of a block
  Test,        ///< operands[0] is test ( rest, named )
  Not,         ///< operands[0]
  Negate,      ///< operands[0]
  Positive,    ///< operands[0]
  Binary,      ///< operands[0] op operands[1]
  Concat,      ///< operands joined by ~
  Compare,     ///< operands[0] comparisons[0] operands[1] comparisons[1] ..
  And,         ///< operands[0], operands[1]
  Or,          ///< operands[0], operands[1]
  Conditional, ///< operands[1] if operands[0] else operands[2] (may be null)
};

enum class Comparison {
  Equal,
  NotEqual,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  In,
  NotIn
};

struct Expr {
  ExprKind kind;
  Position at;
  /// 1 above the deepest operand; the parser limits it.
  unsigned depth = 1;
  std::vector<ExprPtr> operands;
  std::vector<std::pair<std::string, ExprPtr>> named;
  Value constant;
  NameId name = 0;
  std::string text;
  BinaryOperator op{};
  std::vector<Comparison> comparisons;
  /// Null if there is none of this name; then evaluating is an error.
  FilterFunction filter = nullptr;
  TestFunction test = nullptr;
};

/// Where set, for and with put values: a name, an attribute of a namespace, or
/// a tuple of targets.
struct Target {
  enum class Kind { Name, Attribute, Tuple } kind;
  Position at;
  NameId name = 0;
  std::string attribute;
  std::vector<Target> items;
};

struct Macro {
  std::string name;
  std::vector<NameId> parameters;
  /// Defaults of the last parameters.
  std::vector<ExprPtr> defaults;
  Block body;
  /// Whether the body names `caller`, `varargs` or `kwargs`.
  bool usesCaller = false, usesVarargs = false, usesKwargs = false;
};

enum class StmtKind {
  Data,        ///< constant
  Output,      ///< expr
  If,          ///< branches, otherwise
  For,         ///< for target in expr if condition: body; otherwise
  Set,         ///< target = expr
  SetBlock,    ///< target = body, through filter expr if not null
  Macro,       ///< name = macro
  CallBlock,   ///< expr is a Call; macro is its caller
  FilterBlock, ///< body through filter expr
  With,        ///< bindings, body
  Scope,       ///< body with names of its own
  Break,
  Continue,
};

struct Branch {
  ExprPtr condition;
  Block body;
};

struct Stmt {
  StmtKind kind;
  Position at;
  Value constant;
  ExprPtr expr, condition;
  Target target{};
  NameId name = 0;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExprPtr>> bindings;
  Block body, otherwise;
  std::unique_ptr<Macro> macro;
};

struct Program {
  Block body;
  std::vector<std::string> names;
  /// Names with a meaning of their own.
  NameId loopName, callerName, varargsName, kwargsName;
};

/// Name lookup of filters and tests; nullptr if there is none.
FilterFunction findFilter(std::string_view name);
TestFunction findTest(std::string_view name);

/// Fills Block::unsetNames.
void findUnsetNames(Program &program);

/// Throws TemplateError.
Program parseTemplate(std::string_view source);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_AST_H
