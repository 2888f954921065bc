//===- RequireIndices.cpp - What keeps plain entries inside their tensors -===//
//
// Kernels and definitions trust their indices. In a plain function these come
// from whoever calls it, so what they trust is written down here, while the ops
// still say which tensor is indexed by what.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_REQUIREINDICESPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// Writes requirements in front of the op that `builder` stands at.
class Requirements {
public:
  explicit Requirements(Operation *op) : builder(op), loc(op->getLoc()) {}

  /// Elements of `indices` pick places of `tensor` along `dim`.
  void indices(Value indices, Value tensor, int64_t dim) {
    RequireIndicesOp::create(builder, loc, indices, size(tensor, dim));
  }
  void size(Value small, int64_t smallDim, Value large, int64_t largeDim) {
    atMost(size(small, smallDim), size(large, largeDim));
  }
  /// `tensor` has a place `index` along `dim`.
  void place(int64_t index, Value tensor, int64_t dim) {
    atMost(arith::ConstantIndexOp::create(builder, loc, index + 1),
           size(tensor, dim));
  }

private:
  Value size(Value tensor, int64_t dim) {
    return builder.createOrFold<tensor::DimOp>(loc, tensor, dim);
  }
  void atMost(Value small, Value large) {
    RequireSizeOp::create(builder, loc, small, large);
  }

  OpBuilder builder;
  Location loc;
};

/// Bounds `index`, which picks a place of `tensor` along `dim` in the body of
/// `op`; fails if it cannot.
LogicalResult requireIndex(linalg::LinalgOp op, Value index, Value tensor,
                           int64_t dim) {
  Requirements requirements(op);
  if (std::optional<int64_t> constant = getConstantIntValue(index)) {
    requirements.place(*constant, tensor, dim);
    return success(*constant >= 0);
  }
  if (auto loop = index.getDefiningOp<linalg::IndexOp>()) {
    // Some operand has the loop's length.
    for (OpOperand &operand : op->getOpOperands()) {
      AffineMap map = op.getMatchingIndexingMap(&operand);
      for (auto [place, expr] : llvm::enumerate(map.getResults()))
        if (auto at = dyn_cast<AffineDimExpr>(expr);
            at && at.getPosition() == loop.getDim()) {
          requirements.size(operand.get(), static_cast<int64_t>(place), tensor,
                            dim);
          return success();
        }
    }
    return failure();
  }
  Operation *cast = index.getDefiningOp();
  if (!isa_and_nonnull<arith::IndexCastOp, arith::IndexCastUIOp>(cast))
    return failure();
  auto element = dyn_cast<BlockArgument>(cast->getOperand(0));
  if (!element || element.getOwner() != op.getBlock())
    return failure();
  OpOperand *operand = op.getMatchingOpOperand(element);
  if (!op.isDpsInput(operand) ||
      !isa<RankedTensorType>(operand->get().getType()))
    return failure();
  requirements.indices(operand->get(), tensor, dim);
  return success();
}

LogicalResult requireIndices(linalg::LinalgOp op) {
  WalkResult result = op->walk([&](tensor::ExtractOp extract) {
    Operation *owner = extract.getTensor().getParentRegion()->getParentOp();
    if (op->isAncestor(owner)) {
      extract.emitError("the tensor must be from outside of the loops");
      return WalkResult::interrupt();
    }
    for (auto [dim, index] : llvm::enumerate(extract.getIndices()))
      if (failed(requireIndex(op, index, extract.getTensor(),
                              static_cast<int64_t>(dim)))) {
        extract.emitError()
            << "index " << dim
            << " must be a constant that is not negative, linalg.index, or an "
               "element of an input, so that it can be checked before a call";
        return WalkResult::interrupt();
      }
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

struct RequireIndicesPass
    : chorus::impl::RequireIndicesPassBase<RequireIndicesPass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (chorus::isStepFunction(function))
      return;
    auto visit = [](Operation *op) {
      return llvm::TypeSwitch<Operation *, LogicalResult>(op)
          .Case([](EmbeddingOp embedding) {
            Requirements(embedding).indices(embedding.getTokens(),
                                            embedding.getTable(), 0);
            return success();
          })
          .Case([](SelectRowsOp select) {
            Requirements(select).indices(select.getRows(), select.getInput(),
                                         0);
            return success();
          })
          .Case([](RotaryOp rotary) {
            Value table = rotary.getTable(), input = rotary.getInput();
            Requirements requirements(rotary);
            if (Value positions = rotary.getPositions())
              requirements.indices(positions, table, 0);
            else
              requirements.size(
                  input, cast<RankedTensorType>(input.getType()).getRank() - 2,
                  table, 0);
            return success();
          })
          .Case([](linalg::LinalgOp op) { return requireIndices(op); })
          .Default([](Operation *) { return success(); });
    };
    WalkResult result = function.walk([&](Operation *op) {
      return failed(visit(op)) ? WalkResult::interrupt()
                               : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};

} // namespace
