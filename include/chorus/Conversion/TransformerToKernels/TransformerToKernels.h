//===- TransformerToKernels.h - Fused form to kernel form -------*- C++ -*-===//

#ifndef CHORUS_CONVERSION_TRANSFORMERTOKERNELS_TRANSFORMERTOKERNELS_H
#define CHORUS_CONVERSION_TRANSFORMERTOKERNELS_TRANSFORMERTOKERNELS_H

#include "chorus/Conversion/TransformerToKernels/CPUTarget.h"
#include "chorus/Conversion/TransformerToKernels/EntryInfo.h"
#include "chorus/Conversion/TransformerToKernels/WeightPlan.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

#include <vector>

namespace chorus {

/// Positions in one block of attention's online softmax: one page.
constexpr int64_t pagePositions = 32;

/// Pages of a partition of attention: each has an online softmax of its own,
/// and their results are joined in ascending order. Both numbers are part of
/// the numeric profile.
constexpr int64_t partitionPages = 32;

/// Code of one target, as functions of the llvm dialect over scf, arith, vector
/// and linalg: the kernel form.
struct KernelModule {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::vector<EntryInfo> entries; ///< Equal for every target.
  std::vector<KernelInfo> kernels;
};

/// Whether a kernel computes `op`, which is of the transformer dialect or
/// elementwise on tensors, in this form. Linalg ops need none: they are loops.
bool hasKernel(mlir::Operation *op);

/// Emits every public function of `source` (fused form, or plain functions of
/// transformer and linalg ops on tensors) for `target`. Fails with a diagnostic
/// where no kernel handles an op. With `orderFree` sums have the order that
/// suits a kernel's shape, so that bits depend on the rows beside a row.
mlir::FailureOr<KernelModule> lowerToKernels(mlir::ModuleOp source,
                                             const WeightPlan &weights,
                                             const CPUTarget &target,
                                             bool orderFree);

} // namespace chorus

#endif // CHORUS_CONVERSION_TRANSFORMERTOKERNELS_TRANSFORMERTOKERNELS_H
