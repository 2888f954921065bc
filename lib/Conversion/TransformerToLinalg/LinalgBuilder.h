//===- LinalgBuilder.h - Writes definitions in linalg -----------*- C++ -*-===//
//
// A thin layer over OpBuilder in which a definition reads like the formula in
// the op's description.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_LINALGBUILDER_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_LINALGBUILDER_H

#include "mlir/Dialect/Utils/StructuredOpsUtils.h"
#include "mlir/IR/AffineExpr.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinTypes.h"

namespace chorus {

using mlir::AffineExpr;
using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using AffineExprs = llvm::SmallVector<AffineExpr>;
using Sizes = llvm::SmallVector<mlir::OpFoldResult>;

class LinalgBuilder {
public:
  LinalgBuilder(mlir::OpBuilder &builder, mlir::Location loc);

  mlir::OpBuilder &builder;
  mlir::Location loc;
  Type i8, i16, i32, f16, f32;

  // Tensors.
  static mlir::RankedTensorType type(Value tensor);
  static int64_t rank(Value tensor) { return type(tensor).getRank(); }
  static int64_t width(Value tensor) { return type(tensor).getShape().back(); }
  Sizes sizes(Value tensor);
  mlir::OpFoldResult size(int64_t value) { return builder.getIndexAttr(value); }
  Value empty(const Sizes &sizes, Type element);
  Value filled(const Sizes &sizes, Value scalar);

  // Loops. `dims(n)` are the first n of them.
  AffineExpr dim(unsigned number) { return builder.getAffineDimExpr(number); }
  AffineExprs dims(unsigned count);
  using Body = llvm::function_ref<Value(ValueRange elements)>;
  /// The last `reductions` loops are reductions. `elements` of the body are
  /// those of the inputs, then that of `init`. Each operand is read, and the
  /// result written, at its indices.
  Value generic(unsigned loops, unsigned reductions,
                llvm::ArrayRef<std::pair<Value, AffineExprs>> inputs,
                Value init, const AffineExprs &initIndices, Body body);
  /// One element of the result for each element of the first input, all in the
  /// same place.
  Value elementwise(llvm::ArrayRef<Value> inputs, Type element, Body body);

  // In a body.
  Value loopIndex(unsigned dim);
  Value read(Value tensor, ValueRange indices);
  Value number(float value);
  Value number32(int32_t value);
  Value index(int64_t value);
  Value add(Value a, Value b); ///< Of one type, as are all below.
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b); ///< True one, or of indices.
  Value rem(Value a, int64_t b);
  Value div(Value a, int64_t b);
  Value fma(Value a, Value b, Value c);
  Value negate(Value a);
  Value exp(Value a);
  Value maximum(Value a, Value b); ///< NaN if one is.
  Value minimum(Value a, Value b);
  Value less(Value a, Value b); ///< Signed; false on NaN.
  Value select(Value condition, Value yes, Value no);
  Value toIndex(Value integer);
  Value toInteger(Value index); ///< To i32.
  Value toFloat(Value integer);
  Value widen(Value value);    ///< f16 or bf16 to f32; f32 stays.
  Value extend(Value integer); ///< Signed, to i32.
  Value extendUnsigned(Value integer, Type type);
  Value bitcast(Value value, Type type);
};

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOLINALG_LINALGBUILDER_H
