//===- UnsetNames.cpp - Names that hide a variable of the context ---------===//
//
// Jinja decides per block where a name lives. If a block with a scope of its
// own sets a name before it reads it, the name is the block's: inner blocks
// that come earlier find it undefined, even if the context has a variable of
// this name. Reading it first, or setting it under a condition, makes it start
// with the context's value.
//
//===----------------------------------------------------------------------===//

#include "Ast.h"

#include <unordered_set>

namespace chorus::rt::jinja {

namespace {

/// The names of one block with a scope of its own.
class BlockNames {
public:
  BlockNames(const BlockNames *parent, Block &block)
      : parent(parent), block(block) {}

  void declare(NameId name) { own.insert(name); }

  void declare(const Target &target) {
    if (target.kind == Target::Kind::Name)
      declare(target.name);
    for (const Target &item : target.items)
      declare(item);
  }

  void load(NameId name) {
    if (!isVisible(name))
      own.insert(name);
  }

  void load(const Expr *expr) {
    if (!expr)
      return;
    if (expr->kind == ExprKind::Name)
      load(expr->name);
    for (const ExprPtr &operand : expr->operands)
      load(operand.get());
    for (const auto &[name, value] : expr->named)
      load(value.get());
  }

  void store(NameId name, bool isConditional) {
    bool isNew = !isVisible(name);
    own.insert(name);
    if (isNew && !isConditional)
      block.unsetNames.push_back(name);
  }

  void store(const Target &target, bool isConditional) {
    switch (target.kind) {
    case Target::Kind::Name:
      return store(target.name, isConditional);
    case Target::Kind::Attribute:
      return load(target.name);
    case Target::Kind::Tuple:
      for (const Target &item : target.items)
        store(item, isConditional);
    }
  }

private:
  bool isVisible(NameId name) const {
    for (const BlockNames *names = this; names; names = names->parent)
      if (names->own.count(name))
        return true;
    return false;
  }

  const BlockNames *parent;
  Block &block;
  std::unordered_set<NameId> own;
};

/// What `statements` read and set in the scope of `names`.
void visit(BlockNames &names, std::vector<Stmt> &statements,
           bool isConditional) {
  for (Stmt &stmt : statements) {
    switch (stmt.kind) {
    case StmtKind::Output:
    case StmtKind::For:
    case StmtKind::CallBlock:
    case StmtKind::FilterBlock:
      names.load(stmt.expr.get());
      break;
    case StmtKind::If:
      for (Branch &branch : stmt.branches) {
        names.load(branch.condition.get());
        visit(names, branch.body.statements, /*isConditional=*/true);
      }
      visit(names, stmt.otherwise.statements, /*isConditional=*/true);
      break;
    case StmtKind::Set:
    case StmtKind::SetBlock:
      names.load(stmt.expr.get());
      names.store(stmt.target, isConditional);
      break;
    case StmtKind::Macro:
      names.store(stmt.name, isConditional);
      break;
    case StmtKind::With:
      for (auto &[target, value] : stmt.bindings)
        names.load(value.get());
      break;
    case StmtKind::Data:
    case StmtKind::Scope:
    case StmtKind::Break:
    case StmtKind::Continue:
      break;
    }
  }
}

class Analysis {
public:
  explicit Analysis(const Program &program) : program(program) {}

  void analyze(BlockNames &names, Block &block) {
    visit(names, block.statements, /*isConditional=*/false);
    analyzeInner(names, block);
  }

private:
  /// Blocks inside see all names of `names`, also those that come later.
  void analyzeInner(const BlockNames &names, Block &block) {
    for (Stmt &stmt : block.statements) {
      for (Branch &branch : stmt.branches)
        analyzeInner(names, branch.body);
      if (stmt.kind == StmtKind::If) {
        analyzeInner(names, stmt.otherwise);
        continue;
      }
      BlockNames body(&names, stmt.body);
      if (stmt.kind == StmtKind::For) {
        body.declare(stmt.target);
        body.declare(program.loopName);
      }
      for (auto &[target, value] : stmt.bindings)
        body.declare(target);
      analyze(body, stmt.body);
      BlockNames otherwise(&names, stmt.otherwise);
      analyze(otherwise, stmt.otherwise);
      if (stmt.macro)
        analyzeMacro(names, *stmt.macro);
    }
  }

  void analyzeMacro(const BlockNames &outer, Macro &macro) {
    BlockNames names(&outer, macro.body);
    for (NameId parameter : macro.parameters)
      names.declare(parameter);
    if (macro.usesCaller)
      names.declare(program.callerName);
    if (macro.usesVarargs)
      names.declare(program.varargsName);
    if (macro.usesKwargs)
      names.declare(program.kwargsName);
    for (const ExprPtr &value : macro.defaults)
      names.load(value.get());
    analyze(names, macro.body);
  }

  const Program &program;
};

} // namespace

void findUnsetNames(Program &program) {
  BlockNames names(nullptr, program.body);
  Analysis(program).analyze(names, program.body);
}

} // namespace chorus::rt::jinja
