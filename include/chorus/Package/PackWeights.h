//===- PackWeights.h - Source tensors to the weights segment ----*- C++ -*-===//

#ifndef CHORUS_PACKAGE_PACKWEIGHTS_H
#define CHORUS_PACKAGE_PACKWEIGHTS_H

#include "chorus/Conversion/TransformerToKernels/WeightPlan.h"
#include "chorus/Import/ParameterStore.h"

#include <functional>

namespace chorus {

/// Streams the planned weights in order to `sink(data, bytes)`, each in its
/// layout and at its offset. Source pages are given back once read, so that
/// memory holds about one panel. `progress(done, total)` in bytes.
rt::Status
packWeights(const WeightPlan &plan, ParameterStore &store,
            mlir::MLIRContext &context,
            llvm::function_ref<rt::Status(const void *, uint64_t)> sink,
            llvm::function_ref<void(uint64_t, uint64_t)> progress);

} // namespace chorus

#endif // CHORUS_PACKAGE_PACKWEIGHTS_H
