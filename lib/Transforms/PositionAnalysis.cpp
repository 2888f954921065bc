//===- PositionAnalysis.cpp - How values depend on positions --------------===//

#include "chorus/Transforms/PositionAnalysis.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus;
using namespace chorus::transformer;

namespace {

/// Leading dimensions [batch, seq] of a row tensor.
constexpr int64_t numTokenDims = 2;

std::optional<int64_t> getConstant(Value value) {
  APInt constant;
  if (matchPattern(value, m_ConstantInt(&constant)))
    return constant.getSExtValue();
  return std::nullopt;
}

} // namespace

bool chorus::isColumnSlice(tensor::ExtractSliceOp slice,
                           int64_t numDynamicDims) {
  if (slice.getSourceType().getRank() != slice.getType().getRank())
    return false;
  if (!llvm::all_of(slice.getStaticStrides(), [](int64_t s) { return s == 1; }))
    return false;
  auto offsets = slice.getStaticOffsets();
  int64_t last = slice.getType().getRank() - 1;
  for (int64_t dim = 0; dim < last; ++dim) {
    if (offsets[dim] != 0)
      return false;
    OpFoldResult size = slice.getMixedSizes()[dim];
    if (dim >= numDynamicDims) {
      if (slice.getStaticSizes()[dim] != slice.getSourceType().getDimSize(dim))
        return false;
      continue;
    }
    auto extent = dyn_cast<Value>(size)
                      ? cast<Value>(size).getDefiningOp<tensor::DimOp>()
                      : nullptr;
    if (!extent || extent.getConstantIndex() != dim)
      return false;
  }
  return !ShapedType::isDynamic(offsets[last]) &&
         !slice.getType().isDynamicDim(last);
}

StringRef chorus::stringifyPositionClass(PositionClass positionClass) {
  switch (positionClass) {
  case PositionClass::Uniform:
    return "uniform";
  case PositionClass::Extent:
    return "extent";
  case PositionClass::PositionTable:
    return "position table";
  case PositionClass::TokenWise:
    return "token-wise";
  case PositionClass::MixesPast:
    return "mixes with the past";
  case PositionClass::MixesFuture:
    return "mixes with the future";
  case PositionClass::Unknown:
    return "unknown";
  }
  llvm_unreachable("a class without a name");
}

PositionAnalysis::PositionAnalysis(func::FuncOp function) {
  Block &body = function.front();
  llvm::DenseSet<Operation *> live;
  auto markOperands = [&](Operation *op) {
    op->walk([&](Operation *nested) {
      for (Value operand : nested->getOperands())
        if (Operation *definition = operand.getDefiningOp())
          live.insert(definition);
    });
  };
  markOperands(body.getTerminator());
  for (Operation &op : llvm::reverse(body.without_terminator())) {
    if (!live.contains(&op) && isMemoryEffectFree(&op))
      continue;
    markOperands(&op);
    liveOps.push_back(&op);
  }
  std::reverse(liveOps.begin(), liveOps.end());

  for (Value argument : function.getArguments())
    classes[argument] = PositionClass::TokenWise;
  for (Operation *op : liveOps) {
    PositionClass positionClass = classify(op);
    for (Value result : op->getResults())
      classes[result] = positionClass;
  }
}

bool PositionAnalysis::isRow(Value value) const {
  PositionClass positionClass = getClass(value);
  return positionClass == PositionClass::TokenWise ||
         positionClass == PositionClass::MixesPast;
}

PositionClass PositionAnalysis::refuse(Operation *op,
                                       PositionClass positionClass,
                                       const Twine &reason) {
  if (!refused) {
    refused = op;
    refusal = reason.str();
  }
  return positionClass;
}

LogicalResult PositionAnalysis::verifyCausal() const {
  if (!refused)
    return success();
  return refused->emitOpError() << refusal;
}

/// Ops that compute each row of the result from the same row of every operand
/// that has rows, and from uniform operands.
PositionClass PositionAnalysis::classifyRowWise(Operation *op) {
  bool rows = false, tables = false;
  for (auto [index, operand] : llvm::enumerate(op->getOperands())) {
    PositionClass positionClass = getClass(operand);
    rows |= isRow(operand);
    tables |= positionClass == PositionClass::PositionTable;
    if (!isRow(operand) && positionClass != PositionClass::Uniform &&
        positionClass != PositionClass::PositionTable)
      return refuse(op, PositionClass::Unknown,
                    "operand #" + Twine(index) + " depends on positions: " +
                        stringifyPositionClass(positionClass) +
                        ", expected rows of tokens or a parameter");
  }
  if (rows && tables)
    return refuse(op, PositionClass::Unknown,
                  "combines rows of tokens with a position table, which only "
                  "'transformer.rotary' may");
  return rows     ? PositionClass::TokenWise
         : tables ? PositionClass::PositionTable
                  : PositionClass::Uniform;
}

PositionClass PositionAnalysis::classify(Operation *op) {
  return llvm::TypeSwitch<Operation *, PositionClass>(op)
      .Case([&](ParameterOp parameter) {
        if (parameter.getLayer())
          return refuse(op, PositionClass::Unknown,
                        "picks a layer by an index, expected a stateless model "
                        "with unrolled layers");
        return PositionClass::Uniform;
      })
      .Case([&](RotaryTableOp) { return PositionClass::PositionTable; })
      .Case([&](RotaryOp rotary) {
        if (rotary.getPositions())
          return refuse(op, PositionClass::Unknown,
                        "has positions, expected a stateless model");
        // A rotary op counts positions along the last dimension but one.
        bool countsTokens =
            isRow(rotary.getInput()) &&
            cast<RankedTensorType>(rotary.getInput().getType()).getRank() ==
                numTokenDims + 1;
        PositionClass table = getClass(rotary.getTable());
        if (!countsTokens || (table != PositionClass::PositionTable &&
                              table != PositionClass::Uniform))
          return refuse(op, PositionClass::Unknown,
                        "expected rows [batch, seq, channels] of tokens and a "
                        "position table");
        return PositionClass::TokenWise;
      })
      .Case([&](AttentionOp attention) {
        if (attention.getCache())
          return refuse(op, PositionClass::Unknown,
                        "reads a cache, expected a stateless model");
        if (!isRow(attention.getQuery()) || !isRow(attention.getKey()) ||
            !isRow(attention.getValue()))
          return refuse(op, PositionClass::Unknown,
                        "expected rows of tokens as query, key and value");
        if (attention.getMask() != AttentionMask::causal)
          return refuse(op, PositionClass::MixesFuture,
                        "mixes with the future (mask " +
                            stringifyAttentionMask(attention.getMask()) +
                            "), so no step program can be derived; a language "
                            "model needs a causal mask");
        return PositionClass::MixesPast;
      })
      .Case([&](tensor::DimOp dim) {
        std::optional<int64_t> index = getConstant(dim.getIndex());
        if (!isRow(dim.getSource()) || !index || *index >= numTokenDims)
          return refuse(op, PositionClass::Unknown,
                        "expected dimension 0 or 1 of rows of tokens");
        return PositionClass::Extent;
      })
      .Case([&](tensor::ExtractSliceOp slice) {
        bool rows = isRow(slice.getSource());
        if (!rows && getClass(slice.getSource()) != PositionClass::Uniform)
          return refuse(op, PositionClass::Unknown,
                        "slices neither rows of tokens nor a parameter");
        if (rows && !isColumnSlice(slice, numTokenDims))
          return refuse(op, PositionClass::Unknown,
                        "slices [batch, seq], expected a slice with static "
                        "bounds of the last dimension only");
        if (!rows && op->getNumOperands() != 1)
          return refuse(op, PositionClass::Unknown,
                        "slices a parameter, expected static bounds");
        return rows ? PositionClass::TokenWise : PositionClass::Uniform;
      })
      .Case<EmbeddingOp, RMSNormOp, QuantizeActivationsOp, LinearOp, GLUOp,
            RoundToCacheOp, LogSumExpOp>(
          [&](auto) { return classifyRowWise(op); })
      .Default([&](Operation *) {
        if (op->hasTrait<OpTrait::ConstantLike>())
          return PositionClass::Uniform;
        if (OpTrait::hasElementwiseMappableTraits(op))
          return classifyRowWise(op);
        return refuse(op, PositionClass::Unknown,
                      "depends on positions in an unknown way, so no step "
                      "program can be derived");
      });
}
