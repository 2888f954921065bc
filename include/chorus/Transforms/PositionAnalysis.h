//===- PositionAnalysis.h - How values depend on positions ------*- C++ -*-===//
//
// The part of the derivation of the step program that decides: what it classes
// as anything but mixing with the future or unknown is causal by construction,
// and can be rewritten op by op.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_TRANSFORMS_POSITIONANALYSIS_H
#define CHORUS_TRANSFORMS_POSITIONANALYSIS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace mlir::tensor {
class ExtractSliceOp;
} // namespace mlir::tensor

namespace chorus {

/// How a value depends on the positions of tokens, given its operands.
enum class PositionClass {
  Uniform,       ///< The same for all tokens: parameters, constants.
  Extent,        ///< The number of sequences or of positions.
  PositionTable, ///< Indexed by position: rotary tables.
  TokenWise,     ///< [batch, seq, ..], each row from the same row of operands.
  MixesPast,     ///< [batch, seq, ..], each row also from earlier rows.
  MixesFuture,   ///< Each row also from later rows: no step program exists.
  Unknown,       ///< Nothing of the above could be shown.
};

llvm::StringRef stringifyPositionClass(PositionClass positionClass);

/// Whether `slice` takes columns with static bounds of whole rows of a tensor
/// whose first `numDynamicDims` dimensions are dynamic.
bool isColumnSlice(mlir::tensor::ExtractSliceOp slice, int64_t numDynamicDims);

/// Classes the values of a stateless language model of one block.
class PositionAnalysis {
public:
  explicit PositionAnalysis(mlir::func::FuncOp function);

  PositionClass getClass(mlir::Value value) const {
    return classes.lookup_or(value, PositionClass::Unknown);
  }

  /// Whether `value` has one row for each token.
  bool isRow(mlir::Value value) const;

  /// The ops on which the results depend or that have effects, in program
  /// order, without the terminator.
  llvm::ArrayRef<mlir::Operation *> getLiveOps() const { return liveOps; }

  /// Reports the first op in program order that mixes with the future or in an
  /// unknown way.
  llvm::LogicalResult verifyCausal() const;

private:
  PositionClass classify(mlir::Operation *op);
  PositionClass classifyRowWise(mlir::Operation *op);
  PositionClass refuse(mlir::Operation *op, PositionClass positionClass,
                       const llvm::Twine &reason);

  llvm::SmallVector<mlir::Operation *> liveOps;
  llvm::DenseMap<mlir::Value, PositionClass> classes;
  mlir::Operation *refused = nullptr;
  std::string refusal;
};

} // namespace chorus

#endif // CHORUS_TRANSFORMS_POSITIONANALYSIS_H
