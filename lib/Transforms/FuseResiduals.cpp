//===- FuseResiduals.cpp - Residuals in the epilogue of a product ---------===//
//
// Saves one pass over the rows. The residual is added last in either form, so
// the bits stay the same.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Remarks.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_FUSERESIDUALSPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

struct FuseResidualsPass
    : chorus::impl::FuseResidualsPassBase<FuseResidualsPass> {
  void runOnOperation() override {
    if (chorus::isStepFunction(getOperation()))
      getOperation().walk([&](arith::AddFOp add) { fuse(add); });
  }

  /// addf(linear(x, w), r) ==> linear(x, w) plus r
  void fuse(arith::AddFOp add) {
    SmallVector<std::pair<LinearOp, StringRef>> declined;
    for (auto [product, residual] : {std::pair(add.getLhs(), add.getRhs()),
                                     std::pair(add.getRhs(), add.getLhs())}) {
      auto linear = product.getDefiningOp<LinearOp>();
      if (!linear)
        continue;
      if (linear.getResidual()) {
        declined.push_back({linear, "it has one already"});
        continue;
      }
      if (!linear->hasOneUse()) {
        declined.push_back({linear, "the product has other uses"});
        continue;
      }
      if (linear->getBlock() != add->getBlock()) {
        declined.push_back({linear, "the addition is in another block"});
        continue;
      }
      // At the addition both the product's operands and the residual exist.
      OpBuilder builder(add);
      Value fused = LinearOp::create(
          builder, builder.getFusedLoc({linear.getLoc(), add.getLoc()}),
          add.getType(), linear.getInput(), linear.getWeights(), residual,
          linear.getTermsAttr());
      add.replaceAllUsesWith(fused);
      add.erase();
      linear.erase();
      return;
    }
    for (auto [linear, reason] : declined)
      remark::missed(linear.getLoc(),
                     remark::RemarkOpts::name("fuse-residuals")
                         .category(getArgument())
                         .function(getOperation().getSymName()))
          << ("residual not added in the product: " + reason).str();
  }
};

} // namespace
