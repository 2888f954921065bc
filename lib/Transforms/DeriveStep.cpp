//===- DeriveStep.cpp - From a stateless model to the step program --------===//
//
// One program for prefill in chunks, decode and scoring of many sequences at
// once. PositionAnalysis decides whether a model has one; the rewrite here only
// replaces [batch, seq] by T and gives mixers their state.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Transforms/LanguageModel.h"
#include "chorus/Transforms/Passes.h"
#include "chorus/Transforms/PositionAnalysis.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Remarks.h"
#include "llvm/ADT/SmallVectorExtras.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace chorus {
#define GEN_PASS_DEF_DERIVESTEPPASS
#include "chorus/Transforms/Passes.h.inc"
} // namespace chorus

namespace {

/// tensor<batch x seq x ..> ==> tensor<T x ..>
RankedTensorType flattenTokens(Type type) {
  auto tensor = cast<RankedTensorType>(type);
  return RankedTensorType::get(tensor.getShape().drop_front(),
                               tensor.getElementType());
}

/// The cache that all attentions of `ops` share; null after an error.
StateType inferState(func::FuncOp main, ArrayRef<Operation *> ops,
                     Type elementType) {
  AttentionOp first;
  int64_t layers = 0;
  for (Operation *op : ops) {
    auto attention = dyn_cast<AttentionOp>(op);
    if (!attention)
      continue;
    ++layers;
    if (!first)
      first = attention;
    if (attention.getNumKvHeads() != first.getNumKvHeads() ||
        attention.getHeadDim() != first.getHeadDim()) {
      InFlightDiagnostic error =
          attention.emitOpError()
          << "has " << attention.getNumKvHeads() << " kv_heads of "
          << attention.getHeadDim() << ", expected " << first.getNumKvHeads()
          << " of " << first.getHeadDim() << " in all layers of one cache";
      error.attachNote(first.getLoc()) << "the first attention is here";
      return {};
    }
  }
  if (!first) {
    main.emitOpError("is a language model without attention, so it has no "
                     "state to derive a step program for");
    return {};
  }
  return StateType::get(main.getContext(), elementType, layers,
                        first.getNumKvHeads(), first.getHeadDim());
}

/// Builds @step op by op.
class StepBuilder {
public:
  StepBuilder(func::FuncOp main, const PositionAnalysis &analysis)
      : main(main), analysis(analysis), builder(main) {}

  func::FuncOp build(StateType state);

private:
  void rewrite(Operation *op);

  func::FuncOp main;
  const PositionAnalysis &analysis;
  OpBuilder builder;
  IRMapping mapping;
  Value positions, cache;
  int64_t layer = 0;
};

} // namespace

void StepBuilder::rewrite(Operation *op) {
  Location loc = op->getLoc();
  auto lookup = [&](Value value) { return mapping.lookup(value); };
  llvm::TypeSwitch<Operation *>(op)
      .Case([&](tensor::DimOp) {}) // The slices that read it count T instead.
      .Case([&](RotaryOp rotary) {
        Value input = lookup(rotary.getInput());
        auto result = RotaryOp::create(
            builder, loc, input.getType(), rotary.getPairing(), input,
            lookup(rotary.getTable()), rotary.getHeadDim(), positions);
        mapping.map(rotary.getResult(), result.getResult());
      })
      .Case([&](AttentionOp attention) {
        Value index = arith::ConstantIndexOp::create(builder, loc, layer++);
        Value query = lookup(attention.getQuery());
        auto result = AttentionOp::create(
            builder, loc, query.getType(), attention.getMask(), query,
            lookup(attention.getKey()), lookup(attention.getValue()), cache,
            index, positions, attention.getNumHeads(),
            attention.getNumKvHeads(), attention.getScale());
        mapping.map(attention.getResult(), result.getResult());
      })
      .Case([&](tensor::ExtractSliceOp slice) {
        if (!analysis.isRow(slice)) {
          builder.clone(*op, mapping);
          return;
        }
        Value source = lookup(slice.getSource());
        SmallVector<OpFoldResult> sizes =
            tensor::getMixedSizes(builder, loc, source);
        llvm::copy(ArrayRef(slice.getMixedSizes()).drop_front(2),
                   sizes.begin() + 1);
        auto dropFirst = [](SmallVector<OpFoldResult> values) {
          values.erase(values.begin());
          return values;
        };
        Value result = tensor::ExtractSliceOp::create(
            builder, loc, flattenTokens(slice.getType()), source,
            dropFirst(slice.getMixedOffsets()), sizes,
            dropFirst(slice.getMixedStrides()));
        mapping.map(slice.getResult(), result);
      })
      .Default([&](Operation *) {
        Operation *clone = builder.clone(*op, mapping);
        for (auto [from, to] : llvm::zip(op->getResults(), clone->getResults()))
          if (analysis.isRow(from))
            to.setType(flattenTokens(from.getType()));
      });
}

func::FuncOp StepBuilder::build(StateType state) {
  MLIRContext *context = main.getContext();
  auto oneEach =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getI32Type());
  auto sumType =
      RankedTensorType::get({ShapedType::kDynamic}, builder.getF32Type());
  SmallVector<Type> resultTypes =
      llvm::map_to_vector(main.getResultTypes(), [](Type type) -> Type {
        return flattenTokens(type);
      });
  resultTypes.insert(resultTypes.begin() + 1, sumType);
  auto step = func::FuncOp::create(
      builder, main.getLoc(), "step",
      FunctionType::get(context, {oneEach, oneEach, oneEach, state},
                        resultTypes));
  step->setDiscardableAttrs(main->getDiscardableAttrDictionary());
  step->setAttr(stepAttrName, builder.getUnitAttr());
  for (auto [index, name] : llvm::enumerate(
           ArrayRef<StringRef>{"tokens", "positions", "output_rows", "cache"}))
    step.setArgAttr(index, nameAttrName, builder.getStringAttr(name));
  for (auto [index, name] : llvm::enumerate(
           ArrayRef(stepResultNames).take_front(resultTypes.size())))
    step.setResultAttr(index, nameAttrName, builder.getStringAttr(name));

  Block *body = step.addEntryBlock();
  builder.setInsertionPointToStart(body);
  mapping.map(main.getArgument(0), body->getArgument(0));
  positions = body->getArgument(1);
  cache = body->getArgument(3);

  for (Operation *op : analysis.getLiveOps())
    rewrite(op);
  Operation *end = main.front().getTerminator();
  SmallVector<Value> outputs =
      llvm::map_to_vector(end->getOperands(), [&](Value value) -> Value {
        return SelectRowsOp::create(builder, end->getLoc(),
                                    mapping.lookup(value),
                                    body->getArgument(2));
      });
  Value sums =
      LogSumExpOp::create(builder, end->getLoc(), sumType, outputs.front());
  outputs.insert(outputs.begin() + 1, sums);
  func::ReturnOp::create(builder, end->getLoc(), outputs);
  return step;
}

namespace {

struct DeriveStepPass : chorus::impl::DeriveStepPassBase<DeriveStepPass> {
  using DeriveStepPassBase::DeriveStepPassBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto main = module.lookupSymbol<func::FuncOp>("main");
    if (!main)
      return;
    if (!isLanguageModel(main)) {
      if (hasLanguageModelTypes(main))
        main.emitRemark("has the types of a language model, but its argument "
                        "and result are not named \"tokens\" and \"logits\"; "
                        "compiled as a plain entry");
      return;
    }
    if (failed(derive(module, main)))
      signalPassFailure();
  }

  LogicalResult derive(ModuleOp module, func::FuncOp main) {
    if (!main.getBody().hasOneBlock())
      return main.emitOpError(
          "is a language model without a body of one block, expected "
          "straight-line code");
    if (Operation *other = module.lookupSymbol("step"))
      return other->emitOpError("has the name of the step program, which is "
                                "derived from @main; rename it");
    if (auto uses = SymbolTable::getSymbolUses(main, module);
        uses && !uses->empty())
      return uses->begin()->getUser()->emitOpError(
          "uses @main, which becomes the step program and cannot be called");

    PositionAnalysis analysis(main);
    for (Operation *op : analysis.getLiveOps())
      for (Value result : op->getResults())
        remark::analysis(op->getLoc(),
                         remark::RemarkOpts::name("position-class")
                             .category(getArgument())
                             .function(main.getSymName()))
            << stringifyPositionClass(analysis.getClass(result));
    if (failed(analysis.verifyCausal()))
      return failure();

    Type elementType = cacheType == CacheType::F16
                           ? Type(Float16Type::get(&getContext()))
                           : Type(Float32Type::get(&getContext()));
    StateType state = inferState(main, analysis.getLiveOps(), elementType);
    if (!state)
      return failure();
    StepBuilder(main, analysis).build(state);
    main.erase();
    return success();
  }
};

} // namespace
