//===- LinalgBuilder.cpp - Writes definitions in linalg -------------------===//

#include "LinalgBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;

namespace chorus {

LinalgBuilder::LinalgBuilder(OpBuilder &builder, Location loc)
    : builder(builder), loc(loc), i8(builder.getI8Type()),
      i16(builder.getIntegerType(16)), i32(builder.getI32Type()),
      f16(builder.getF16Type()), f32(builder.getF32Type()) {}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

RankedTensorType LinalgBuilder::type(Value tensor) {
  return cast<RankedTensorType>(tensor.getType());
}

Sizes LinalgBuilder::sizes(Value tensor) {
  return tensor::getMixedSizes(builder, loc, tensor);
}

Value LinalgBuilder::empty(const Sizes &sizes, Type element) {
  return tensor::EmptyOp::create(builder, loc, sizes, element);
}

Value LinalgBuilder::filled(const Sizes &sizes, Value scalar) {
  Value init = empty(sizes, scalar.getType());
  return linalg::FillOp::create(builder, loc, scalar, init).getResult(0);
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

AffineExprs LinalgBuilder::dims(unsigned count) {
  AffineExprs result;
  for (unsigned i = 0; i < count; ++i)
    result.push_back(dim(i));
  return result;
}

Value LinalgBuilder::generic(unsigned loops, unsigned reductions,
                             ArrayRef<std::pair<Value, AffineExprs>> inputs,
                             Value init, const AffineExprs &initIndices,
                             Body body) {
  SmallVector<Value> operands;
  SmallVector<AffineMap> maps;
  auto mapOf = [&](const AffineExprs &indices) {
    return AffineMap::get(loops, 0, indices, builder.getContext());
  };
  for (const auto &[value, indices] : inputs) {
    operands.push_back(value);
    maps.push_back(mapOf(indices));
  }
  maps.push_back(mapOf(initIndices));
  SmallVector<utils::IteratorType> iterators(loops,
                                             utils::IteratorType::parallel);
  for (unsigned i = 0; i < reductions; ++i)
    iterators[loops - 1 - i] = utils::IteratorType::reduction;
  return linalg::GenericOp::create(
             builder, loc, init.getType(), operands, init, maps, iterators,
             [&](OpBuilder &nested, Location, ValueRange elements) {
               // Definitions write through the one builder that they know.
               OpBuilder::InsertionGuard guard(builder);
               builder.restoreInsertionPoint(nested.saveInsertionPoint());
               Value result = body(elements);
               linalg::YieldOp::create(builder, loc, result);
             })
      .getResult(0);
}

Value LinalgBuilder::elementwise(ArrayRef<Value> inputs, Type element,
                                 Body body) {
  unsigned loops = rank(inputs[0]);
  SmallVector<std::pair<Value, AffineExprs>> reads;
  for (Value input : inputs)
    reads.push_back({input, dims(loops)});
  Value init = empty(sizes(inputs[0]), element);
  return generic(loops, 0, reads, init, dims(loops), body);
}

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value LinalgBuilder::loopIndex(unsigned dim) {
  return linalg::IndexOp::create(builder, loc, dim);
}
Value LinalgBuilder::read(Value tensor, ValueRange indices) {
  return tensor::ExtractOp::create(builder, loc, tensor, indices);
}
Value LinalgBuilder::number(float value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}
Value LinalgBuilder::number32(int32_t value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getI32IntegerAttr(value));
}
Value LinalgBuilder::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

static bool isFloat(Value value) { return isa<FloatType>(value.getType()); }

Value LinalgBuilder::add(Value a, Value b) {
  if (isFloat(a))
    return arith::AddFOp::create(builder, loc, a, b);
  return arith::AddIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::sub(Value a, Value b) {
  if (isFloat(a))
    return arith::SubFOp::create(builder, loc, a, b);
  return arith::SubIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::mul(Value a, Value b) {
  if (isFloat(a))
    return arith::MulFOp::create(builder, loc, a, b);
  return arith::MulIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::div(Value a, Value b) {
  if (isFloat(a))
    return arith::DivFOp::create(builder, loc, a, b);
  return arith::DivUIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::div(Value a, int64_t b) { return div(a, index(b)); }
Value LinalgBuilder::rem(Value a, int64_t b) {
  return arith::RemUIOp::create(builder, loc, a, index(b));
}
Value LinalgBuilder::fma(Value a, Value b, Value c) {
  return math::FmaOp::create(builder, loc, a, b, c);
}
Value LinalgBuilder::negate(Value a) {
  return arith::NegFOp::create(builder, loc, a);
}
Value LinalgBuilder::exp(Value a) {
  return math::ExpOp::create(builder, loc, a);
}
Value LinalgBuilder::maximum(Value a, Value b) {
  if (isFloat(a))
    return arith::MaximumFOp::create(builder, loc, a, b);
  return arith::MaxSIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::minimum(Value a, Value b) {
  if (isFloat(a))
    return arith::MinimumFOp::create(builder, loc, a, b);
  return arith::MinSIOp::create(builder, loc, a, b);
}
Value LinalgBuilder::less(Value a, Value b) {
  if (isFloat(a))
    return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OLT, a, b);
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b);
}
Value LinalgBuilder::select(Value condition, Value yes, Value no) {
  return arith::SelectOp::create(builder, loc, condition, yes, no);
}
Value LinalgBuilder::toIndex(Value integer) {
  return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                    integer);
}
Value LinalgBuilder::toInteger(Value index) {
  return arith::IndexCastOp::create(builder, loc, i32, index);
}
Value LinalgBuilder::toFloat(Value integer) {
  return arith::SIToFPOp::create(builder, loc, f32, integer);
}
Value LinalgBuilder::widen(Value value) {
  if (value.getType() == f32)
    return value;
  return arith::ExtFOp::create(builder, loc, f32, value);
}
Value LinalgBuilder::extend(Value integer) {
  return arith::ExtSIOp::create(builder, loc, i32, integer);
}
Value LinalgBuilder::extendUnsigned(Value integer, Type type) {
  return arith::ExtUIOp::create(builder, loc, type, integer);
}
Value LinalgBuilder::bitcast(Value value, Type type) {
  return arith::BitcastOp::create(builder, loc, type, value);
}

} // namespace chorus
