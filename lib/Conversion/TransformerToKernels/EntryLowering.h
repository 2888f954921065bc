//===- EntryLowering.h - Emits one entry --------------------------*- C++
//-*-===//
//
// The host program of an entry is one exported function. It keeps a frame of
// 8-byte words on its stack: addresses of all buffers, sizes, the current
// layer. A dispatch is a function body(frame, begin, end) that the runtime's
// parallel_for calls on shares of its rows, panels or heads.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYLOWERING_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYLOWERING_H

#include "EntryPlan.h"
#include "KernelBuilder.h"

#include "chorus/Conversion/TransformerToKernels/WeightPlan.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"

#include "mlir/Dialect/Linalg/IR/LinalgInterfaces.h"

namespace chorus {

/// A row tensor as a kernel sees it.
struct RowBuffer {
  Value base;       ///< Address of row 0.
  int64_t rowBytes; ///< Between rows.
};

/// 8-byte words of the frame that every entry has.
enum FrameSlot : unsigned {
  weightsSlot,
  layerSlot,
  prefetchSlot, ///< Bytes to prefetch ahead.
  enteredSlot,  ///< chorus_runtime_api's table.
  threadsSlot,  ///< That share a loop.
  spreadSlot,   ///< Partitions of attention that are units of their own.
  firstFreeSlot
};

class EntryLowering {
public:
  EntryLowering(const EntryPlan &plan, const WeightPlan &weights,
                KernelBuilder &k)
      : plan(plan), weights(weights), k(k) {}

  mlir::LogicalResult emit();

private:
  // Frame slots.
  unsigned symbolSlot(unsigned symbol) const { return firstFreeSlot + symbol; }
  unsigned placementSlot(const Placement &placement) const;
  unsigned stateSlot() const;
  Value slotAddress(unsigned slot);
  Value readSlot(unsigned slot, Type type) {
    return k.load(type, slotAddress(slot));
  }
  void writeSlot(unsigned slot, Value value) {
    k.store(value, slotAddress(slot));
  }

  // What kernels ask for. All read the frame of the current function.
  RowBuffer buffer(Value tensor);
  Value rowAddress(Value tensor, Value row);
  Value weightAddress(Value leaf);
  Value layerIndex(Value layer);
  /// Address of keys and values of the current layer's kv head `head` in page
  /// number `page` of the table at `pages`.
  Value pageAddress(transformer::AttentionOp op, Value pages, Value page,
                    Value head);
  Value rowCount(Value tensor);
  int64_t width(Value tensor);

  // Host program.
  mlir::LogicalResult emitDispatches(llvm::ArrayRef<Dispatch> list);
  mlir::LogicalResult emitLoop(const Dispatch &dispatch);
  mlir::LogicalResult emitSerial(mlir::Operation *op);
  mlir::LogicalResult emitOnBuffers(mlir::linalg::LinalgOp op);
  Value sizeOf(EntryDim dim);
  Value memref(Value tensor);
  Value memref(Value tensor, RowBuffer memory);
  /// `kernel` names the loop; the entry's name and a number are added.
  void parallelFor(KernelInfo kernel, Value count,
                   llvm::function_ref<void(Value begin, Value end)> body);
  /// The symbol that counts the rows of `tensor`, 0 if there is none.
  unsigned rowsSymbol(Value tensor);
  void emitCopy(const Dispatch &dispatch);
  void emitRows(const Dispatch &dispatch);
  struct PanelRun;
  std::vector<PanelRun> panelRuns(transformer::LinearOp op);
  void emitProduct(transformer::LinearOp op);
  void emitAttention(transformer::AttentionOp op);

  // RowKernels.cpp: one op on one row.
  void emitRow(mlir::Operation *op, Value row);
  void emitRow(transformer::EmbeddingOp op, Value row);
  void emitRow(transformer::QuantizeActivationsOp op, Value row);
  void emitRow(transformer::RMSNormOp op, Value row);
  void emitRow(transformer::RotaryOp op, Value row);
  void emitRow(transformer::RoundToCacheOp op, Value row);
  void emitRow(transformer::GLUOp op, Value row);
  void emitRow(transformer::SelectRowsOp op, Value row);
  void emitRow(transformer::LogSumExpOp op, Value row);
  void quantizeBlock(const Values &x, Value out, const ActivationBlock &layout);
  void emitAdd(mlir::Operation *op, Value row);
  void emitAppend(transformer::AttentionOp op, Value row);
  /// Calls body(channel, lanes used) for vectors of 16 channels.
  void channels(int64_t width,
                llvm::function_ref<void(Value channel, int64_t count)> body);
  void copyBytes(Value from, Value to, int64_t bytes);
  Value roundToCache(Value vector, Type cacheType);

  // AttentionKernels.cpp
  mlir::LLVM::LLVMFuncOp attentionPartition(transformer::AttentionOp op);
  mlir::LLVM::LLVMFuncOp attentionBlock(transformer::AttentionOp op,
                                        mlir::LLVM::LLVMFuncOp partition);
  Value partitionCount(transformer::AttentionOp op, Value firstRow,
                       Value tokens);
  void joinPartitions(transformer::AttentionOp op, Value firstRow, Value tokens,
                      Value head, llvm::function_ref<Value(Value)> stateOf);

  const EntryPlan &plan;
  const WeightPlan &weights;
  KernelBuilder &k;
  Value frame, arguments;
  unsigned dispatchNumber = 0;
};

/// The function product(input, weight panels, output, output row bytes,
/// residual, residual row bytes, rows, frame) for `panels`
/// neighbouring panels whose last one has `tail` columns. The input is f32 for
/// no `inputTerms`, else act_q8 of so many, of which `terms` are read.
/// ProductKernels.cpp.
mlir::LLVM::LLVMFuncOp productKernel(KernelBuilder &k, Type weightType,
                                     int64_t width, int64_t terms,
                                     int64_t inputTerms, bool residual,
                                     int64_t panels, int64_t tail);

/// "q4_1", "f16", ...
std::string nameOf(Type weightType);

/// Emits "chorus_sampling_masses" and "chorus_sampling_sums" of the step ABI.
/// SamplingKernels.cpp.
void emitSamplingFunctions(KernelBuilder &k);
/// Emits "chorus_exp" and "chorus_log" of the step ABI. SamplingKernels.cpp.
void emitScalarFunctions(KernelBuilder &k);

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_ENTRYLOWERING_H
