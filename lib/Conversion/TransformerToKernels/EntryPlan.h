//===- EntryPlan.h - Dispatches, shapes and memory of an entry --*- C++ -*-===//
//
// What must be known before code is emitted for a function: which ops run in
// one dispatch, which dimensions are equal, and where every tensor lies.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYPLAN_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYPLAN_H

#include "chorus/Conversion/TransformerToKernels/EntryInfo.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/EquivalenceClasses.h"
#include "llvm/ADT/MapVector.h"

#include <memory>

namespace mlir::linalg {
class LinalgOp;
} // namespace mlir::linalg

namespace chorus {

/// One step of an entry's host program.
struct Dispatch {
  enum class Kind {
    Rows,      ///< `ops`, one after the other, for each row.
    Product,   ///< One linear.
    Attention, ///< One attention; its append is the last op of the Rows before.
    Loop,      ///< An scf.for with `body`.
    Serial,    ///< One op on whole tensors, in the host program itself.
    Copy,      ///< Rows of `from` to `to`.
  };
  Kind kind;
  llvm::SmallVector<mlir::Operation *> ops;
  std::vector<Dispatch> body;
  mlir::Value from, to; ///< Copy; `to` is null for a copy to output `toOutput`.
  unsigned toOutput = 0;
  int64_t point = 0, endPoint = 0; ///< Place in the order of execution.
};

/// Where a tensor lies.
struct Placement {
  enum class Kind { Arena, Input, Output };
  Kind kind;
  unsigned index;       ///< Arena slot, or number of the input or output.
  int64_t offset = 0;   ///< Bytes of the first element in a row.
  int64_t rowBytes = 0; ///< Between rows.
};

class EntryPlan {
public:
  explicit EntryPlan(mlir::func::FuncOp function) : function(function) {}

  /// Fails with a diagnostic on an op that no kernel handles.
  mlir::LogicalResult build();

  mlir::func::FuncOp function;
  std::vector<Dispatch> dispatches;
  EntryInfo info; ///< Types, symbols and arena.
  /// Arena slot of the states of attention's partitions.
  unsigned partitionStates = 0;

  const llvm::SmallVector<EntryDim> &dims(mlir::Value value) const;
  Placement placement(mlir::Value value) const;
  /// Symbols whose product is the number of rows, and the constant factor.
  std::pair<int64_t, llvm::SmallVector<unsigned>> rows(mlir::Value value) const;

private:
  using Dims = llvm::SmallVector<EntryDim>;
  mlir::LogicalResult collect(mlir::Block &block, std::vector<Dispatch> &into);
  mlir::LogicalResult inferDims(mlir::Operation *op);
  mlir::LogicalResult unify(mlir::Operation *op, EntryDim a, EntryDim b);
  mlir::LogicalResult
  verifyInside(mlir::linalg::LinalgOp op,
               llvm::ArrayRef<std::optional<EntryDim>> loops) const;
  std::optional<EntryDim> sizeOf(mlir::Value index) const;
  mlir::LogicalResult boundInputs();
  EntryDim resolve(EntryDim dim) const;
  mlir::LogicalResult place();
  void number(std::vector<Dispatch> &list, int64_t &point);
  mlir::Value storageOf(mlir::Value value) const;
  void coalesceLoops(std::vector<Dispatch> &list);
  int64_t lastUseInside(mlir::Value value, mlir::Operation *loop) const;
  void assignArena();

  llvm::DenseMap<mlir::Value, Dims> dimsOf;
  std::vector<EntryDim> bindings; ///< Symbol to the dimension that it equals.
  llvm::DenseMap<mlir::Value, std::pair<mlir::Value, int64_t>>
      slices; ///< Slice to source, offset.
  llvm::DenseMap<mlir::Value, mlir::Value>
      storage; ///< Union-find parents; casts too.
  llvm::DenseMap<mlir::Value, Placement> placements; ///< By storage root.
  llvm::DenseMap<mlir::Operation *, std::pair<int64_t, int64_t>> points;
  llvm::MapVector<mlir::Value, std::pair<int64_t, int64_t>>
      live; ///< Root to interval.
  /// transformer.require_indices and transformer.require_size.
  llvm::SmallVector<mlir::Operation *> requirements;
};

/// Bytes of one row of a row tensor (its last dimension); 0 where that is
/// dynamic.
int64_t rowBytesOf(mlir::RankedTensorType type);

/// A block of int8 activations: the 32 values of each term, then for the first
/// term and for each more that a reader takes: the scale (f32), the sum of the
/// values (i32) and scale times sum (f32); padded. A row is block after block,
/// so that a product reads it as one stream.
struct ActivationBlock {
  int64_t terms;
  int64_t term(int64_t number) const { return 32 * number; }
  int64_t scale(int64_t read) const { return 32 * terms + 12 * (read - 1); }
  int64_t sum(int64_t read) const { return scale(read) + 4; }
  int64_t scaledSum(int64_t read) const { return scale(read) + 8; }
  int64_t bytes() const { return llvm::alignTo(44 * terms, 16); }
};

/// Rows of attention, each of which is one query head of one token, that a
/// function works on together, and where it keeps their state: maxima and
/// totals of the online softmax, whole vectors of which are read and written
/// past the last row, then each row's sum of values.
struct AttentionShape {
  int64_t headDim, group; ///< Query heads that share a kv head.

  explicit AttentionShape(transformer::AttentionOp op);

  /// Rows whose queries and sums stay in cache.
  static constexpr int64_t blockRows = 48;
  int64_t maxTokens() const { return std::max<int64_t>(1, blockRows / group); }
  int64_t maxRows() const { return maxTokens() * group; }
  int64_t paddedDim() const { return llvm::alignTo(headDim, 16); }
  int64_t totalsOffset() const { return 4 * llvm::alignTo(maxRows() + 16, 16); }
  int64_t sumsOffset() const { return 2 * totalsOffset(); }
  int64_t stateBytes(int64_t rows) const {
    return sumsOffset() + 4 * rows * paddedDim();
  }
};

/// Partitions times tokens that one dispatch may spread over threads: states of
/// so many are kept in the arena.
constexpr int64_t maxSpreadPartitions = 128;

/// Whether `value` lies in the weights: the result of a parameter or a table.
bool isWeightLeaf(mlir::Value value);

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYPLAN_H
