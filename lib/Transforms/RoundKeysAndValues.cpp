//===- RoundKeysAndValues.cpp - Keys and values as the cache holds them ---===//
//
// Attention reads rounded keys and values even of its own chunk, so that the
// bits of a row do not depend on how its prompt was cut into chunks.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_ROUNDKEYSANDVALUESPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

struct RoundKeysAndValuesPass
    : chorus::impl::RoundKeysAndValuesPassBase<RoundKeysAndValuesPass> {
  using RoundKeysAndValuesPassBase::RoundKeysAndValuesPassBase;

  void runOnOperation() override {
    if (cacheType == chorus::CacheType::F32 ||
        !chorus::isLanguageModel(getOperation()))
      return;
    Type f16 = Float16Type::get(&getContext());
    DenseMap<Value, Value> rounded;
    getOperation().walk([&](AttentionOp attention) {
      for (OpOperand *operand :
           {&attention.getKeyMutable(), &attention.getValueMutable()}) {
        auto done = operand->get().getDefiningOp<RoundToCacheOp>();
        if (done && done.getCacheType() == f16)
          continue;
        Value &result = rounded[operand->get()];
        if (!result) {
          OpBuilder builder(&getContext());
          builder.setInsertionPointAfterValue(operand->get());
          result = RoundToCacheOp::create(builder, attention.getLoc(),
                                          operand->get().getType(),
                                          operand->get(), f16);
        }
        operand->set(result);
      }
    });
  }
};

} // namespace
