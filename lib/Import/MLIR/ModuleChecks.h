//===- ModuleChecks.h - What MLIR's own verifier lets pass ------*- C++ -*-===//

#ifndef CHORUS_LIB_IMPORT_MLIR_MODULECHECKS_H
#define CHORUS_LIB_IMPORT_MLIR_MODULECHECKS_H

#include "chorus_rt/Status.h"

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace chorus {

/// `shown:LINE:COLUMN` of a location in the text named `file`, `shown` where it
/// has none there.
std::string placeOf(mlir::Location location, llvm::StringRef file,
                    llvm::StringRef shown);

/// The text that a module was parsed from: its name in locations, and escaped.
struct TextPlace {
  std::string file, shown;
  std::string of(mlir::Location location) const {
    return placeOf(location, file, shown);
  }
};

/// Checks a module that was parsed but not verified. Refuses M02 (a tensor of
/// more than 2^48 bytes or whose size wraps), M03 (a resource without data or
/// with another size than its type), M05 (functions that call themselves,
/// printing the cycle), `unsupported` (ops that exist but not in the graph
/// form); exit 4: M08 (too many ops).
rt::Status checkModule(mlir::ModuleOp module, const TextPlace &where);

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_MLIR_MODULECHECKS_H
