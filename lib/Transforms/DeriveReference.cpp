//===- DeriveReference.cpp - A language model as a plain entry ------------===//
//
// The reference has no cache: whoever runs it computes the whole sequence for
// each token. That needs log-probabilities of all positions and one sequence.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_DERIVEREFERENCEPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// `type` with one sequence in its first dimension.
RankedTensorType withOneSequence(RankedTensorType type) {
  SmallVector<int64_t> shape(type.getShape());
  shape[0] = 1;
  return type.clone(shape);
}

struct DeriveReferencePass
    : chorus::impl::DeriveReferencePassBase<DeriveReferencePass> {
  void runOnOperation() override {
    func::FuncOp function = getOperation();
    if (!chorus::isLanguageModel(function))
      return;
    if (!function.getBody().hasOneBlock()) {
      function.emitOpError("expected one block");
      return signalPassFailure();
    }
    OpBuilder builder(function.getBody());
    BlockArgument tokens = function.getArgument(0);
    auto tokensType = cast<RankedTensorType>(tokens.getType());
    tokens.setType(withOneSequence(tokensType));
    Value cast =
        tensor::CastOp::create(builder, tokens.getLoc(), tokensType, tokens);
    tokens.replaceAllUsesExcept(cast, cast.getDefiningOp());

    auto terminator =
        mlir::cast<func::ReturnOp>(function.getBody().front().getTerminator());
    builder.setInsertionPoint(terminator);
    Location loc = terminator.getLoc();
    Value logits = terminator.getOperand(0);
    auto logitsType = mlir::cast<RankedTensorType>(logits.getType());
    auto sumsType = logitsType.clone(logitsType.getShape().drop_back());
    Value sums = LogSumExpOp::create(builder, loc, sumsType, logits);
    SmallVector<Value> results(terminator.getOperands());
    results.insert(results.begin() + 1, sums);
    SmallVector<DictionaryAttr> names;
    for (auto [value, name] : llvm::zip(results, chorus::stepResultNames)) {
      value = tensor::CastOp::create(
          builder, loc,
          withOneSequence(mlir::cast<RankedTensorType>(value.getType())),
          value);
      names.push_back(builder.getDictionaryAttr(builder.getNamedAttr(
          chorus::nameAttrName, builder.getStringAttr(name))));
    }
    terminator.getOperandsMutable().assign(results);
    function.setFunctionType(builder.getFunctionType(
        tokens.getType(), ValueRange(results).getTypes()));
    function.setAllResultAttrs(names);
  }
};

} // namespace
