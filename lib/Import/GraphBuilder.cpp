//===- GraphBuilder.cpp - The words in which families speak ---------------===//

#include "GraphBuilder.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Import/ParameterStore.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <cassert>

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace {

int64_t widthOf(Value rows) {
  return cast<RankedTensorType>(rows.getType()).getShape().back();
}

int64_t outputsOf(Value weight) {
  return cast<RankedTensorType>(weight.getType()).getDimSize(0);
}

} // namespace

GraphBuilder::GraphBuilder(MLIRContext &context, ParameterStore &parameters,
                           std::string fileName)
    : parameters(parameters), fileName(std::move(fileName)),
      module(ModuleOp::create(UnknownLoc::get(&context))),
      builder(module->getBodyRegion()) {
  Type tokensType = RankedTensorType::get(
      {ShapedType::kDynamic, ShapedType::kDynamic}, builder.getI32Type());
  // The result's type is known once the logits are.
  auto function =
      func::FuncOp::create(builder, module->getLoc(), "main",
                           builder.getFunctionType({tokensType}, {}));
  function.setArgAttr(0, "transformer.name", builder.getStringAttr("tokens"));
  Block *body = function.addEntryBlock();
  tokenArgument = body->getArgument(0);
  builder.setInsertionPointToStart(body);
}

void GraphBuilder::setLogits(Value logits) {
  auto function = cast<func::FuncOp>(builder.getBlock()->getParentOp());
  func::ReturnOp::create(builder, function.getLoc(), logits);
  function.setFunctionType(builder.getFunctionType(
      function.getFunctionType().getInputs(), {logits.getType()}));
  function.setResultAttr(0, "transformer.name",
                         builder.getStringAttr("logits"));
}

OwningOpRef<ModuleOp> GraphBuilder::takeModule() { return std::move(module); }

Location GraphBuilder::locationOf(StringRef tensor) {
  return NameLoc::get(builder.getStringAttr(tensor));
}

RankedTensorType GraphBuilder::rowsOf(int64_t width) {
  return RankedTensorType::get(
      {ShapedType::kDynamic, ShapedType::kDynamic, width},
      builder.getF32Type());
}

Value GraphBuilder::parameter(StringRef tensor) {
  auto [entry, isNew] = parameterValues.try_emplace(tensor);
  if (!isNew)
    return entry->second;
  rt::StatusOr<ParameterView> view =
      parameters.find(fileName, tensor, *builder.getContext());
  assert(view.ok() && "the family did not check that the tensor exists");
  entry->second = ParameterOp::create(
      builder, locationOf(tensor),
      RankedTensorType::get(view->shape, view->elementType),
      builder.getStringAttr(fileName), builder.getStrArrayAttr({tensor}),
      /*layer=*/Value());
  return entry->second;
}

Value GraphBuilder::rotaryTable(int64_t context, int64_t pairs, double theta,
                                StringRef factorsTensor) {
  Value factors = factorsTensor.empty() ? Value() : parameter(factorsTensor);
  auto type = RankedTensorType::get({context, pairs, 2}, builder.getF32Type());
  return RotaryTableOp::create(builder, locationOf("rotary_table"), type,
                               builder.getF64FloatAttr(theta), factors);
}

Value GraphBuilder::embedding(Value ids, StringRef tensor) {
  Value table = parameter(tensor);
  return EmbeddingOp::create(builder, locationOf(tensor),
                             rowsOf(widthOf(table)), ids, table);
}

Value GraphBuilder::rmsNorm(Value input, StringRef tensor, double epsilon) {
  Value weight = parameter(tensor);
  return RMSNormOp::create(builder, locationOf(tensor), input.getType(), input,
                           weight, builder.getF64FloatAttr(epsilon));
}

Value GraphBuilder::linear(Value input, StringRef tensor) {
  Value weight = parameter(tensor);
  return LinearOp::create(builder, locationOf(tensor),
                          rowsOf(outputsOf(weight)), input, ValueRange{weight},
                          /*residual=*/Value(),
                          /*terms=*/DenseI64ArrayAttr());
}

Value GraphBuilder::rotary(chorus::RotaryPairing pairing, Value heads,
                           Value table, int64_t headDim) {
  auto pairingOfOp = pairing == chorus::RotaryPairing::adjacent
                         ? transformer::RotaryPairing::adjacent
                         : transformer::RotaryPairing::halves;
  return RotaryOp::create(builder, heads.getLoc(), heads.getType(), pairingOfOp,
                          heads, table, static_cast<uint64_t>(headDim),
                          /*positions=*/Value());
}

Value GraphBuilder::causalAttention(Value query, Value key, Value value,
                                    int64_t heads, int64_t kvHeads,
                                    double scale) {
  return AttentionOp::create(
      builder, query.getLoc(), query.getType(), AttentionMask::causal, query,
      key, value, /*cache=*/Value(), /*layer=*/Value(), /*positions=*/Value(),
      static_cast<uint64_t>(heads), static_cast<uint64_t>(kvHeads),
      llvm::APFloat(scale));
}

Value GraphBuilder::swiglu(Value gate, Value up) {
  return GLUOp::create(builder, gate.getLoc(), gate.getType(),
                       ActivationKind::silu, gate, up);
}

Value GraphBuilder::add(Value a, Value b) {
  return arith::AddFOp::create(builder, a.getLoc(), a, b);
}
