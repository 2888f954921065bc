//===- TransformerToLinalg.h - The definition of each op --------*- C++ -*-===//

#ifndef CHORUS_CONVERSION_TRANSFORMERTOLINALG_TRANSFORMERTOLINALG_H
#define CHORUS_CONVERSION_TRANSFORMERTOLINALG_TRANSFORMERTOLINALG_H

#include "mlir/IR/Operation.h"
#include "llvm/ADT/STLFunctionalExtras.h"

namespace mlir {
class RewritePatternSet;
class TypeConverter;
} // namespace mlir

namespace chorus {

/// Splits tensors of `act_q8` into values, scales and scaled sums.
void populateTransformerToLinalgTypeConversions(mlir::TypeConverter &converter);

/// The definition of each op of the transformer dialect that computes.
void populateTransformerToLinalgPatterns(const mlir::TypeConverter &converter,
                                         mlir::RewritePatternSet &patterns);

/// Replaces, in `function`, the ops of the transformer dialect and the
/// elementwise ops and splat constants on tensors for which `keep` is false by
/// their definitions. Fails with a diagnostic on an op that has none.
mlir::LogicalResult decompose(mlir::Operation *function,
                              llvm::function_ref<bool(mlir::Operation *)> keep);

} // namespace chorus

#endif // CHORUS_CONVERSION_TRANSFORMERTOLINALG_TRANSFORMERTOLINALG_H
