//===- WeightPlan.cpp - Where each parameter lies in the weights ----------===//

#include "chorus/Conversion/TransformerToKernels/WeightPlan.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

int64_t panelBlockBytes(Type elementType) {
  // Callers have seen that it is one.
  BlockFormat format = *getBlockFormat(elementType); // NOLINT(*optional-access)
  return panelRows *
         (2 + (format.hasMinimum ? 2 : 0) + blockSize * format.bits / 8);
}

uint64_t panelBytes(Type elementType, int64_t k) {
  if (getBlockFormat(elementType))
    return k / blockSize * panelBlockBytes(elementType);
  return panelRows * k * (elementType.getIntOrFloatBitWidth() / 8);
}

uint64_t plannedBytes(RankedTensorType type, WeightLayout layout) {
  if (layout == WeightLayout::Panels)
    return llvm::divideCeil(type.getDimSize(0), panelRows) *
           panelBytes(type.getElementType(), type.getDimSize(1));
  if (std::optional<BlockFormat> format = getBlockFormat(type.getElementType()))
    return type.getNumElements() / blockSize * format->sourceBytes;
  return type.getNumElements() * (type.getElementTypeBitWidth() / 8);
}

bool readsPanels(OpOperand &use) {
  if (auto linear = dyn_cast<LinearOp>(use.getOwner())) {
    OperandRange list = linear.getWeights();
    unsigned first = list.getBeginOperandIndex();
    return use.getOperandNumber() >= first &&
           use.getOperandNumber() < first + list.size();
  }
  auto embedding = dyn_cast<EmbeddingOp>(use.getOwner());
  return embedding && &use == &embedding.getTableMutable();
}

/// How the ops that read a leaf want it.
struct WeightPlan::Usage {
  WeightLayout layout = WeightLayout::Raw;
  bool isFactor = false; ///< Of a product.
  /// The weight before it in a product of several, whose last panel is full.
  Operation *joinedTo = nullptr;
};

LogicalResult WeightPlan::findUsage(Operation *leaf, Usage &usage) {
  if (isa<RotaryTableOp>(leaf)) {
    usage.layout = WeightLayout::RotaryTable;
    return success();
  }
  std::optional<WeightLayout> layout;
  for (OpOperand &use : leaf->getUses()) {
    WeightLayout wanted =
        readsPanels(use) ? WeightLayout::Panels : WeightLayout::Raw;
    if (layout && *layout != wanted)
      return leaf->emitError(
          "parameter is used both by products and as plain values");
    layout = usage.layout = wanted;
    auto linear = dyn_cast<LinearOp>(use.getOwner());
    if (!linear || wanted != WeightLayout::Panels)
      continue;
    usage.isFactor = true;
    OperandRange weights = linear.getWeights();
    unsigned number = use.getOperandNumber() - weights.getBeginOperandIndex();
    if (number == 0)
      continue;
    Value before = weights[number - 1];
    if (cast<RankedTensorType>(before.getType()).getDimSize(0) % panelRows == 0)
      usage.joinedTo = before.getDefiningOp();
  }
  return success();
}

uint64_t WeightPlan::place(Operation *leaf, const Usage &usage,
                           PlannedWeight weight) {
  weight.layout = usage.layout;
  std::string key;
  llvm::raw_string_ostream(key)
      << static_cast<int>(weight.layout) << '\0' << weight.file << '\0'
      << weight.tensor << '\0' << weight.type << weight.theta;
  auto [entry, isNew] = placed.try_emplace(key, 0);
  if (isNew) {
    // Panels of joined weights follow each other, so that one loop runs over
    // all of them.
    bool follows = usage.joinedTo && usage.joinedTo == lastPlaced;
    weight.offset = follows ? totalBytes : llvm::alignTo(totalBytes, 64);
    weight.sizeBytes = plannedBytes(weight.type, weight.layout);
    totalBytes = weight.offset + weight.sizeBytes;
    entry->second = planned.size();
    planned.push_back(std::move(weight));
  }
  lastPlaced = isNew ? leaf : nullptr;
  PlannedWeight &found = planned[entry->second];
  if (usage.isFactor && !found.isFactor) {
    found.isFactor = true;
    totalFactorBytes += found.sizeBytes;
  }
  return found.offset;
}

static PlannedWeight describe(ParameterOp op, unsigned layer) {
  PlannedWeight weight;
  weight.file = op.getFile().str();
  weight.tensor = cast<StringAttr>(op.getNames()[layer]).str();
  weight.type = cast<RankedTensorType>(op.getType());
  return weight;
}

LogicalResult WeightPlan::build(ModuleOp module) {
  // Leaves in the order in which their first users read them: a group of
  // leaves with layer indices (one loop) becomes [layer][leaf].
  SmallVector<Operation *> order;
  DenseMap<Operation *, bool> seen;
  module.walk<WalkOrder::PreOrder>([&](Operation *op) {
    for (Value operand : op->getOperands()) {
      Operation *leaf = operand.getDefiningOp();
      // Factors are read at compile time only.
      if (leaf && isa<ParameterOp, RotaryTableOp>(leaf) &&
          !isa<RotaryTableOp>(op) && !std::exchange(seen[leaf], true))
        order.push_back(leaf);
    }
  });

  DenseMap<Operation *, Usage> usages;
  DenseMap<Block *, SmallVector<ParameterOp>> layered;
  for (Operation *leaf : order) {
    Usage &usage = usages[leaf];
    if (failed(findUsage(leaf, usage)))
      return failure();
    if (auto table = dyn_cast<RotaryTableOp>(leaf)) {
      PlannedWeight weight;
      weight.type = cast<RankedTensorType>(table.getType());
      weight.theta = table.getTheta().convertToDouble();
      if (Value factors = table.getFactors()) {
        auto parameter = factors.getDefiningOp<ParameterOp>();
        weight.file = parameter.getFile().str();
        weight.tensor = cast<StringAttr>(parameter.getNames()[0]).str();
      }
      addresses[leaf] = {place(leaf, usage, std::move(weight)), 0};
      continue;
    }
    auto parameter = cast<ParameterOp>(leaf);
    if (!parameter.getLayer()) {
      addresses[leaf] = {place(leaf, usage, describe(parameter, 0)), 0};
      continue;
    }
    SmallVector<ParameterOp> &group = layered[leaf->getBlock()];
    group.push_back(parameter);
    // The last leaf of its block places them all.
    if (llvm::any_of(order, [&](Operation *other) {
          auto next = dyn_cast<ParameterOp>(other);
          return next && next.getLayer() &&
                 other->getBlock() == leaf->getBlock() &&
                 !llvm::is_contained(group, next);
        }))
      continue;
    size_t layers = parameter.getNames().size();
    for (size_t layer = 0; layer < layers; ++layer)
      for (ParameterOp member : group) {
        if (member.getNames().size() != layers)
          return member.emitError(
              "parameters of one loop need one name for each layer");
        uint64_t offset =
            place(member, usages[member], describe(member, layer));
        WeightAddress &address = addresses[member];
        if (layer == 0)
          address.offset = offset;
        else if (layer == 1)
          address.layerStride = offset - address.offset;
        if (offset != address.offset + layer * address.layerStride)
          return member.emitError(
              "one source tensor serves two layers of a loop");
      }
  }
  return success();
}

} // namespace chorus
