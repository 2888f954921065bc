//===- WeightPlan.h - Where each parameter lies in the weights --*- C++ -*-===//
//
// The weights segment as compiled code sees it: every parameter's offset and
// layout. Code is emitted against the plan, the package writer fills it.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_CONVERSION_TRANSFORMERTOKERNELS_WEIGHTPLAN_H
#define CHORUS_CONVERSION_TRANSFORMERTOKERNELS_WEIGHTPLAN_H

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"

#include <cstdint>
#include <string>
#include <vector>

namespace chorus {

/// Rows of a weight that stand side by side in the lanes of a vector.
constexpr int64_t panelRows = 16;

enum class WeightLayout {
  Raw,         ///< The source's bytes.
  Panels,      ///< 16 rows side by side, see docs/Artifact.md.
  RotaryTable, ///< [position][pair][cos, sin] f32.
};

/// One parameter of the weights segment.
struct PlannedWeight {
  WeightLayout layout = WeightLayout::Raw;
  std::string file;   ///< Source file, as the module names it.
  std::string tensor; ///< Source tensor; rotary: frequency factors or "".
  mlir::RankedTensorType type;
  double theta = 0; ///< Rotary only.
  /// Bytes from the segment's start: a multiple of 64, or the end of the weight
  /// before where a product joins the two.
  uint64_t offset = 0;
  uint64_t sizeBytes = 0;
  bool isFactor = false; ///< Some product reads it.
};

/// Where compiled code finds the tensor that a leaf op yields.
struct WeightAddress {
  uint64_t offset = 0; ///< Of the tensor, or of layer 0's.
  uint64_t layerStride =
      0; ///< Between layers, for a parameter with a layer index.
};

class WeightPlan {
public:
  /// Plans every parameter and rotary table that `module` uses, in the order in
  /// which the code reads them. Fails with a diagnostic on a use that has no
  /// layout.
  mlir::LogicalResult build(mlir::ModuleOp module);

  WeightAddress lookup(mlir::Operation *leaf) const {
    return addresses.at(leaf);
  }
  const std::vector<PlannedWeight> &weights() const { return planned; }
  uint64_t sizeBytes() const { return totalBytes; }
  /// Bytes of the weights that products read.
  uint64_t factorBytes() const { return totalFactorBytes; }

private:
  struct Usage;
  static mlir::LogicalResult findUsage(mlir::Operation *leaf, Usage &usage);
  uint64_t place(mlir::Operation *leaf, const Usage &usage,
                 PlannedWeight weight);

  std::vector<PlannedWeight> planned;
  llvm::StringMap<size_t>
      placed; ///< Key of a weight to its place in `planned`.
  llvm::DenseMap<mlir::Operation *, WeightAddress> addresses;
  uint64_t totalBytes = 0, totalFactorBytes = 0;
  mlir::Operation *lastPlaced = nullptr; ///< Whose weight lies at the end.
};

/// Whether a parameter that is used there must lie in panels: as the weight of
/// a product or the table of an embedding. Everything else reads the source's
/// bytes.
bool readsPanels(mlir::OpOperand &use);

/// Bytes of one panel of 16 rows of `k` values.
uint64_t panelBytes(mlir::Type elementType, int64_t k);
/// Bytes of one block of 32 of 16 rows, for block formats.
int64_t panelBlockBytes(mlir::Type elementType);
/// Bytes of `type` in `layout`.
uint64_t plannedBytes(mlir::RankedTensorType type, WeightLayout layout);

} // namespace chorus

#endif // CHORUS_CONVERSION_TRANSFORMERTOKERNELS_WEIGHTPLAN_H
