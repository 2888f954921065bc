//===- EmitObject.h - Kernel form to a shared object ------------*- C++ -*-===//

#ifndef CHORUS_TARGET_CPU_EMITOBJECT_H
#define CHORUS_TARGET_CPU_EMITOBJECT_H

#include "chorus/Conversion/TransformerToKernels/CPUTarget.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace chorus {

/// Lowers a module in kernel form to the llvm dialect, in place.
mlir::LogicalResult lowerKernelsToLLVM(mlir::ModuleOp module);

/// Turns kernels in the llvm dialect into the bytes of an ELF shared object for
/// `target`, linked with lld in this process: no files, no other programs, no
/// undefined symbols. Fails with a diagnostic on the module.
mlir::FailureOr<std::string> emitSharedObject(mlir::ModuleOp module,
                                              const CPUTarget &target);

} // namespace chorus

#endif // CHORUS_TARGET_CPU_EMITOBJECT_H
