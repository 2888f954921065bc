//===- HoistRowSelection.cpp - The vocabulary product of wanted rows ------===//
//
// Prefill wants the logits of one row in hundreds; the vocabulary product is a
// quarter of a small model. A row of the result is the same sequence of
// operations wherever the rows are selected.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_HOISTROWSELECTIONPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// The one operand with rows of a token-wise op, null if there are several or
/// the op is another.
Value getOnlyRows(Operation *op) {
  if (!isa<RMSNormOp, QuantizeActivationsOp, LinearOp, GLUOp>(op) &&
      !OpTrait::hasElementwiseMappableTraits(op))
    return {};
  Value rows;
  for (Value operand : op->getOperands()) {
    auto type = dyn_cast<RankedTensorType>(operand.getType());
    if (!type || type.hasStaticShape() || operand == rows)
      continue;
    if (rows)
      return {};
    rows = operand;
  }
  return rows;
}

/// Selects rows as early as can be. Returns the new selection, if any.
SelectRowsOp hoist(SelectRowsOp select) {
  Value selected;
  Operation *reader = nullptr;
  for (Value value = select.getInput(); llvm::all_equal(value.getUsers());) {
    Operation *op = value.getDefiningOp();
    Value rows = op ? getOnlyRows(op) : Value();
    if (!rows)
      break;
    value = rows;
    // Rows that are rounded to int8 are selected before.
    auto type = cast<RankedTensorType>(rows.getType());
    if (type.getRank() == 2 && type.getElementType().isF32()) {
      selected = rows;
      reader = op;
    }
  }
  if (!reader)
    return {};
  OpBuilder builder(reader);
  auto earlier = SelectRowsOp::create(builder, select.getLoc(), selected,
                                      select.getRows());
  reader->replaceUsesOfWith(selected, earlier);
  select.replaceAllUsesWith(select.getInput());
  select.erase();
  return earlier;
}

/// Selections of one function. Those of logits and of a value head meet at the
/// hidden state that both are products of, and go on as one.
void hoistAll(func::FuncOp function) {
  SmallVector<SelectRowsOp> selections;
  function.walk([&](SelectRowsOp select) { selections.push_back(select); });
  while (!selections.empty()) {
    SmallVector<SelectRowsOp> moved;
    for (SelectRowsOp select : selections) {
      SelectRowsOp earlier = hoist(select);
      if (!earlier)
        continue;
      auto same = llvm::find_if(moved, [&](SelectRowsOp other) {
        return other.getInput() == earlier.getInput() &&
               other.getRows() == earlier.getRows() &&
               other->getBlock() == earlier->getBlock();
      });
      if (same == moved.end()) {
        moved.push_back(earlier);
        continue;
      }
      if (earlier->isBeforeInBlock(*same))
        (*same)->moveBefore(earlier);
      earlier.replaceAllUsesWith(same->getResult());
      earlier.erase();
    }
    selections = std::move(moved);
  }
}

struct HoistRowSelectionPass
    : chorus::impl::HoistRowSelectionPassBase<HoistRowSelectionPass> {
  void runOnOperation() override {
    if (chorus::isStepFunction(getOperation()))
      hoistAll(getOperation());
  }
};

} // namespace
