//===- TransformerOps.cpp - Verifiers and folds ---------------------------===//
//
// What types cannot say is said here, so that passes never check it again.
//
//===----------------------------------------------------------------------===//

#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/IR/Builders.h"

#include <cmath>

using namespace mlir;
using namespace chorus::transformer;

#include "chorus/Dialect/Transformer/TransformerEnums.cpp.inc"
#define GET_OP_CLASSES
#include "chorus/Dialect/Transformer/TransformerOps.cpp.inc"

namespace {

ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

std::string describe(ArrayRef<int64_t> shape) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  stream << "[";
  llvm::interleaveComma(shape, stream, [&](int64_t dim) {
    if (ShapedType::isDynamic(dim))
      stream << "?";
    else
      stream << dim;
  });
  stream << "]";
  return text;
}

LogicalResult verifyRanked(Operation *op) {
  auto ranked = [](Value value) {
    return !isa<TensorType>(value.getType()) ||
           isa<RankedTensorType>(value.getType());
  };
  if (!llvm::all_of(op->getOperands(), ranked) ||
      !llvm::all_of(op->getResults(), ranked))
    return op->emitOpError("needs ranked tensors");
  return success();
}

LogicalResult verifyRank(Operation *op, StringRef name, Value value,
                         int64_t rank) {
  if (static_cast<int64_t>(shapeOf(value).size()) != rank)
    return op->emitOpError()
           << name << " has shape " << describe(shapeOf(value)) << ", expected "
           << rank << " dimensions";
  return success();
}

LogicalResult verifyLastDim(Operation *op, StringRef name, Value value,
                            int64_t expected, StringRef why) {
  ArrayRef<int64_t> shape = shapeOf(value);
  if (shape.empty() || shape.back() != expected)
    return op->emitOpError() << name << " has shape " << describe(shape)
                             << ", expected a last dimension of " << expected
                             << " (" << why << ")";
  return success();
}

/// The last dimension of a token-wise tensor must be static: it is a row.
LogicalResult verifyRowTensor(Operation *op, StringRef name, Value value) {
  ArrayRef<int64_t> shape = shapeOf(value);
  if (shape.empty() || ShapedType::isDynamic(shape.back()) || shape.back() <= 0)
    return op->emitOpError() << name << " has shape " << describe(shape)
                             << ", expected a static positive last dimension";
  return success();
}

LogicalResult verifyWeight(Operation *op, StringRef name, Value weight) {
  auto type = cast<RankedTensorType>(weight.getType());
  if (type.getRank() != 2 || !type.hasStaticShape())
    return op->emitOpError()
           << name << " has shape " << describe(type.getShape())
           << ", expected two static dimensions";
  if (getBlockFormat(type.getElementType()) && type.getDimSize(1) % blockSize)
    return op->emitOpError()
           << name << " has rows of " << type.getDimSize(1)
           << " values, expected a multiple of the block of " << blockSize;
  return success();
}

} // namespace

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

LogicalResult ParameterOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getResult().getType());
  if (!type || !type.hasStaticShape())
    return emitOpError("needs a static shape");
  int64_t bytes = 8;
  for (int64_t dim : type.getShape())
    if (dim <= 0 || llvm::MulOverflow(bytes, dim, bytes))
      return emitOpError() << "shape " << describe(type.getShape())
                           << " is not positive or its size wraps";
  if (getBlockFormat(type.getElementType()) &&
      (type.getRank() == 0 || type.getShape().back() % blockSize))
    return emitOpError() << "rows must be a multiple of the block of "
                         << blockSize;
  if (getNames().empty())
    return emitOpError("needs a tensor name");
  if (!getLayer() && getNames().size() != 1)
    return emitOpError() << "has " << getNames().size()
                         << " names but no layer index, expected one";
  return success();
}

LogicalResult RotaryTableOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRank(*this, "result", getResult(), 3)))
    return failure();
  ArrayRef<int64_t> shape = shapeOf(getResult());
  if (!cast<RankedTensorType>(getResult().getType()).hasStaticShape() ||
      shape[2] != 2)
    return emitOpError() << "result has shape " << describe(shape)
                         << ", expected static [context, pairs, 2]";
  double theta = getTheta().convertToDouble();
  if (!(theta > 0) || !std::isfinite(theta))
    return emitOpError("theta must be positive and finite");
  if (Value factors = getFactors()) {
    if (shapeOf(factors) != ArrayRef<int64_t>{shape[1]})
      return emitOpError() << "factors have shape "
                           << describe(shapeOf(factors)) << ", expected ["
                           << shape[1] << "] (the pairs of result)";
    if (!factors.getDefiningOp<ParameterOp>())
      return emitOpError(
          "factors must be a parameter: they are read at compile time");
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

LogicalResult EmbeddingOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyWeight(*this, "table", getTable())))
    return failure();
  if (failed(verifyLastDim(*this, "result", getResult(), shapeOf(getTable())[1],
                           "the last dimension of table")))
    return failure();
  if (shapeOf(getResult()).drop_back() != shapeOf(getTokens()))
    return emitOpError() << "result has shape "
                         << describe(shapeOf(getResult()))
                         << ", expected the shape of tokens "
                         << describe(shapeOf(getTokens())) << " and d_model";
  return success();
}

LogicalResult QuantizeActivationsOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "input", getInput())))
    return failure();
  if (shapeOf(getInput()) != shapeOf(getResult()))
    return emitOpError() << "result has shape "
                         << describe(shapeOf(getResult())) << ", expected "
                         << describe(shapeOf(getInput()))
                         << " (the shape of input)";
  if (shapeOf(getInput()).back() % blockSize)
    return emitOpError() << "input has rows of " << shapeOf(getInput()).back()
                         << " values, expected a multiple of the block of "
                         << blockSize;
  return success();
}

int64_t LinearOp::getInputTerms() {
  auto type = cast<RankedTensorType>(getInput().getType());
  auto rounded = dyn_cast<ActQ8Type>(type.getElementType());
  return rounded ? rounded.getTerms() : 0;
}

int64_t LinearOp::getTermsOf(unsigned number) {
  std::optional<ArrayRef<int64_t>> terms = getTerms();
  return terms ? (*terms)[number] : getInputTerms();
}

LogicalResult LinearOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "input", getInput())))
    return failure();
  if (getWeights().empty())
    return emitOpError("needs at least one weight");
  Type weightType =
      cast<RankedTensorType>(getWeights()[0].getType()).getElementType();
  int64_t outputs = 0;
  for (Value weight : getWeights()) {
    if (failed(verifyWeight(*this, "weight", weight)))
      return failure();
    auto type = cast<RankedTensorType>(weight.getType());
    if (type.getElementType() != weightType)
      return emitOpError("weights of one product must have one element type");
    if (type.getDimSize(1) != shapeOf(getInput()).back())
      return emitOpError() << "weight has rows of " << type.getDimSize(1)
                           << " values, expected " << shapeOf(getInput()).back()
                           << " (the last dimension of input)";
    outputs += type.getDimSize(0);
  }
  Type inputType =
      cast<RankedTensorType>(getInput().getType()).getElementType();
  if (isa<ActQ8Type>(inputType) && !getBlockFormat(weightType))
    return emitOpError() << "act_q8 input needs weights in blocks, found "
                         << weightType;
  if (std::optional<ArrayRef<int64_t>> terms = getTerms()) {
    if (terms->size() != getWeights().size())
      return emitOpError() << "terms has " << terms->size()
                           << " entries, expected " << getWeights().size()
                           << " (one a weight)";
    for (int64_t read : *terms)
      if (read < 1 || read > getInputTerms())
        return emitOpError() << "a weight reads " << read
                             << " terms, the input has " << getInputTerms();
  }
  if (failed(verifyLastDim(*this, "result", getResult(), outputs,
                           "the rows of the weights")))
    return failure();
  if (shapeOf(getResult()).drop_back() != shapeOf(getInput()).drop_back())
    return emitOpError() << "result has shape "
                         << describe(shapeOf(getResult()))
                         << ", expected the leading dimensions of input "
                         << describe(shapeOf(getInput()));
  if (getResidual() && getResidual().getType() != getResult().getType())
    return emitOpError() << "residual has type " << getResidual().getType()
                         << ", expected " << getResult().getType();
  return success();
}

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

LogicalResult RMSNormOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "input", getInput())))
    return failure();
  int64_t width = shapeOf(getInput()).back();
  if (shapeOf(getWeight()) != ArrayRef<int64_t>{width})
    return emitOpError() << "weight has shape "
                         << describe(shapeOf(getWeight())) << ", expected ["
                         << width << "] (the last dimension of input)";
  double epsilon = getEpsilon().convertToDouble();
  if (!(epsilon > 0) || !std::isfinite(epsilon))
    return emitOpError("epsilon must be positive and finite");
  return success();
}

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

LogicalResult RotaryOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "input", getInput())) ||
      failed(verifyRank(*this, "table", getTable(), 3)))
    return failure();
  auto headDim = static_cast<int64_t>(getHeadDim());
  int64_t width = shapeOf(getInput()).back();
  if (headDim <= 0 || width % headDim)
    return emitOpError() << "input has rows of " << width
                         << " channels, expected a multiple of head_dim "
                         << headDim;
  int64_t pairs = shapeOf(getTable())[1];
  if (ShapedType::isDynamic(pairs) || shapeOf(getTable())[2] != 2 ||
      2 * pairs > headDim)
    return emitOpError() << "table has shape " << describe(shapeOf(getTable()))
                         << ", expected [context, pairs, 2] with 2 * pairs <= "
                         << headDim;
  size_t rank = shapeOf(getInput()).size();
  if (getPositions() ? rank != 2 : rank < 2)
    return emitOpError() << "input has shape " << describe(shapeOf(getInput()))
                         << (getPositions() ? ", expected [T, channels]"
                                            : ", expected [.., seq, channels]");
  if (getPositions() &&
      shapeOf(getPositions()) != shapeOf(getInput()).drop_back())
    return emitOpError() << "positions have shape "
                         << describe(shapeOf(getPositions()))
                         << ", expected one for each row of input";
  return success();
}

LogicalResult RoundToCacheOp::verify() {
  if (!getCacheType().isF16() && !getCacheType().isF32())
    return emitOpError() << "cache type is " << getCacheType()
                         << ", expected f16 or f32";
  return success();
}

OpFoldResult RoundToCacheOp::fold(FoldAdaptor) {
  return getCacheType().isF32() ? getInput() : OpFoldResult();
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "query", getQuery())) ||
      failed(verifyRowTensor(*this, "key", getKey())))
    return failure();
  auto heads = static_cast<int64_t>(getNumHeads());
  auto kvHeads = static_cast<int64_t>(getNumKvHeads());
  if (heads <= 0 || kvHeads <= 0 || heads % kvHeads)
    return emitOpError() << "has " << heads << " heads and " << kvHeads
                         << " kv_heads, expected a positive multiple";
  if (shapeOf(getQuery()).back() % heads)
    return emitOpError() << "query has rows of " << shapeOf(getQuery()).back()
                         << " channels, expected a multiple of " << heads
                         << " heads";
  if (failed(verifyLastDim(*this, "key", getKey(), kvHeads * getHeadDim(),
                           "kv_heads * head_dim")))
    return failure();
  if (!std::isfinite(getScale().convertToDouble()))
    return emitOpError("scale must be finite");
  if (!getCache()) {
    if (failed(verifyRank(*this, "query", getQuery(), 3)))
      return failure();
  } else {
    if (failed(verifyRank(*this, "query", getQuery(), 2)))
      return failure();
    StateType cache = getCache().getType();
    if (cache.getKvHeads() != kvHeads || cache.getHeadDim() != getHeadDim())
      return emitOpError() << "cache holds " << cache.getKvHeads()
                           << " heads of " << cache.getHeadDim()
                           << ", expected " << kvHeads << " of "
                           << getHeadDim();
    if (getMask() != AttentionMask::causal)
      return emitOpError("only a causal mask can read a cache");
  }
  if (shapeOf(getKey()).drop_back() != shapeOf(getQuery()).drop_back())
    return emitOpError() << "key has shape " << describe(shapeOf(getKey()))
                         << ", expected the leading dimensions of query "
                         << describe(shapeOf(getQuery()));
  return success();
}

void AttentionOp::getEffects(
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>
        &effects) {
  if (!getCache())
    return;
  OpOperand *cache = &getCacheMutable()[0];
  effects.emplace_back(MemoryEffects::Read::get(), cache);
  effects.emplace_back(MemoryEffects::Write::get(), cache);
}

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

RankedTensorType SelectRowsOp::inferType(Type input, Type rows) {
  return RankedTensorType::get({cast<RankedTensorType>(rows).getDimSize(0),
                                cast<RankedTensorType>(input).getDimSize(1)},
                               cast<RankedTensorType>(input).getElementType());
}

void SelectRowsOp::build(OpBuilder &builder, OperationState &state, Value input,
                         Value rows) {
  build(builder, state, inferType(input.getType(), rows.getType()), input,
        rows);
}

LogicalResult SelectRowsOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRank(*this, "input", getInput(), 2)) ||
      failed(verifyRank(*this, "rows", getRows(), 1)))
    return failure();
  RankedTensorType expected =
      inferType(getInput().getType(), getRows().getType());
  if (getResult().getType() != expected)
    return emitOpError() << "result has type " << getResult().getType()
                         << ", expected " << expected;
  return success();
}

LogicalResult LogSumExpOp::verify() {
  if (failed(verifyRanked(*this)) ||
      failed(verifyRowTensor(*this, "input", getInput())))
    return failure();
  if (shapeOf(getResult()) != shapeOf(getInput()).drop_back())
    return emitOpError() << "result has shape "
                         << describe(shapeOf(getResult()))
                         << ", expected the leading dimensions of input "
                         << describe(shapeOf(getInput()));
  return success();
}

//===----------------------------------------------------------------------===//
// Requirements
//===----------------------------------------------------------------------===//

LogicalResult RequireIndicesOp::verify() { return verifyRanked(*this); }
