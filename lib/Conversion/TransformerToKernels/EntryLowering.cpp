//===- EntryLowering.cpp - Emits the host program of an entry -------------===//

#include "EntryLowering.h"

#include "chorus_rt/step_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <cstddef>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

//===----------------------------------------------------------------------===//
// Frame
//===----------------------------------------------------------------------===//

unsigned EntryLowering::placementSlot(const Placement &placement) const {
  unsigned slot = firstFreeSlot + plan.info.symbols.size();
  if (placement.kind == Placement::Kind::Arena)
    return slot + placement.index;
  slot += plan.info.arena.size();
  if (placement.kind == Placement::Kind::Input)
    return slot + placement.index;
  return slot + plan.info.inputs.size() + placement.index;
}

unsigned EntryLowering::stateSlot() const {
  return placementSlot({Placement::Kind::Output, 0}) + plan.info.outputs.size();
}

Value EntryLowering::slotAddress(unsigned slot) {
  return k.offset(frame, 8 * slot);
}

RowBuffer EntryLowering::buffer(Value tensor) {
  if (isWeightLeaf(tensor))
    return {weightAddress(tensor),
            rowBytesOf(cast<RankedTensorType>(tensor.getType()))};
  Placement placement = plan.placement(tensor);
  Value base = readSlot(placementSlot(placement), k.ptr);
  return {k.offset(base, placement.offset), placement.rowBytes};
}

Value EntryLowering::rowAddress(Value tensor, Value row) {
  RowBuffer rows = buffer(tensor);
  return k.offset(rows.base, k.mul(row, rows.rowBytes));
}

/// The index as i64: the loop's own, a constant, or their sum.
Value EntryLowering::layerIndex(Value layer) {
  if (auto constant = layer.getDefiningOp<arith::ConstantIndexOp>())
    return k.constant(constant.value());
  if (auto sum = layer.getDefiningOp<arith::AddIOp>())
    return k.add(layerIndex(sum.getLhs()), layerIndex(sum.getRhs()));
  return readSlot(layerSlot, k.i64);
}

Value EntryLowering::weightAddress(Value leaf) {
  WeightAddress address = weights.lookup(leaf.getDefiningOp());
  Value base = k.offset(readSlot(weightsSlot, k.ptr), address.offset);
  if (!address.layerStride)
    return base;
  auto parameter = leaf.getDefiningOp<ParameterOp>();
  return k.offset(base,
                  k.mul(layerIndex(parameter.getLayer()), address.layerStride));
}

Value EntryLowering::pageAddress(AttentionOp op, Value pages, Value page,
                                 Value head) {
  const EntryState &state = plan.info.states[0];
  Value id =
      k.extendUnsigned(k.load(k.i32, k.offset(pages, k.mul(page, 4))), k.i64);
  Value inPage = k.add(k.mul(layerIndex(op.getLayer()), state.kvHeads), head);
  Value bytes =
      k.add(k.mul(id, state.pageBytes()), k.mul(inPage, state.headBytes()));
  return k.offset(readSlot(stateSlot(), k.ptr), bytes);
}

Value EntryLowering::rowCount(Value tensor) {
  auto [factor, symbols] = plan.rows(tensor);
  Value count = k.constant(factor);
  for (unsigned symbol : symbols)
    count = k.mul(count, readSlot(symbolSlot(symbol), k.i64));
  return count;
}

int64_t EntryLowering::width(Value tensor) {
  return cast<RankedTensorType>(tensor.getType()).getShape().back();
}

//===----------------------------------------------------------------------===//
// Dispatches
//===----------------------------------------------------------------------===//

unsigned EntryLowering::rowsSymbol(Value tensor) {
  auto [factor, symbols] = plan.rows(tensor);
  return symbols.empty() ? 0 : symbols.front();
}

void EntryLowering::parallelFor(KernelInfo kernel, Value count,
                                function_ref<void(Value, Value)> body) {
  kernel.name =
      (plan.info.name + "." + Twine(dispatchNumber++) + "." + kernel.name)
          .str();
  auto number = static_cast<int64_t>(k.kernels.size());
  k.kernels.push_back(kernel);
  k.markEntered(readSlot(enteredSlot, k.ptr), number);
  Value hostFrame = frame;
  LLVM::LLVMFuncOp function = k.begin(kernel.name, {k.ptr, k.i64, k.i64});
  frame = function.getArgument(0);
  body(function.getArgument(1), function.getArgument(2));
  k.end();
  frame = hostFrame;

  Value api =
      k.load(k.ptr, k.offset(arguments, offsetof(chorus_entry_args, api)));
  Value self = k.load(k.ptr, k.offset(api, offsetof(chorus_runtime_api, self)));
  Value callee =
      k.load(k.ptr, k.offset(api, offsetof(chorus_runtime_api, parallel_for)));
  Value address = LLVM::AddressOfOp::create(k.builder, k.loc, function);
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(k.builder.getContext()),
      {k.ptr, k.ptr, k.ptr, k.i64, k.i64});
  LLVM::CallOp::create(
      k.builder, k.loc, type,
      ValueRange{callee, self, address, frame, count, k.constant(number)});
}

void EntryLowering::emitRows(const Dispatch &dispatch) {
  Operation *first = dispatch.ops.front();
  Value shape =
      isa<LogSumExpOp>(first) ? first->getOperand(0) : first->getResult(0);
  KernelInfo kernel;
  kernel.rowsSymbol = rowsSymbol(shape);
  for (Operation *op : dispatch.ops)
    kernel.name +=
        (kernel.name.empty() ? "" : ".") +
        // Of an attention the rows append to the cache.
        (isa<AttentionOp>(op) ? "append" : op->getName().stripDialect().str());
  parallelFor(kernel, rowCount(shape), [&](Value begin, Value end) {
    k.loop(begin, end, 1, [&](Value row) {
      for (Operation *op : dispatch.ops)
        emitRow(op, row);
    });
  });
}

void EntryLowering::emitCopy(const Dispatch &dispatch) {
  int64_t bytes = rowBytesOf(cast<RankedTensorType>(dispatch.from.getType()));
  auto target = [&]() -> RowBuffer {
    if (dispatch.to)
      return buffer(dispatch.to);
    return {
        readSlot(placementSlot({Placement::Kind::Output, dispatch.toOutput}),
                 k.ptr),
        bytes};
  };
  if (bytes == 0) { // No rows of a known size.
    linalg::CopyOp::create(k.builder, k.loc, memref(dispatch.from),
                           memref(dispatch.from, target()));
    return;
  }
  Value count = k.constant(1);
  if (ArrayRef<EntryDim> dims = plan.dims(dispatch.from); !dims.empty())
    for (EntryDim dim : dims.drop_back())
      count = k.mul(count, sizeOf(dim));
  KernelInfo kernel;
  kernel.name = "copy";
  kernel.rowsSymbol = rowsSymbol(dispatch.from);
  parallelFor(kernel, count, [&](Value begin, Value end) {
    k.loop(begin, end, 1, [&](Value row) {
      RowBuffer to = target();
      copyBytes(rowAddress(dispatch.from, row),
                k.offset(to.base, k.mul(row, to.rowBytes)), bytes);
    });
  });
}

/// Rows that a thread gets for its own at least: each block of rows unpacks the
/// weights of a product again.
static constexpr int64_t rowsOfThread = 128;

/// Weights of a product whose panels follow each other and read the same terms.
struct EntryLowering::PanelRun {
  Value start; ///< The first weight.
  int64_t first, outputs, terms;
  int64_t groups = 0, singles = 0; ///< Units: groups of panels, then panels.
  LLVM::LLVMFuncOp group = {}, single = {};
  LLVM::LLVMFuncOp last = {}; ///< For a last panel of fewer columns.
};

std::vector<EntryLowering::PanelRun> EntryLowering::panelRuns(LinearOp op) {
  std::vector<PanelRun> runs;
  int64_t column = 0;
  uint64_t end = 0, stride = 0;
  for (auto [number, weight] : llvm::enumerate(op.getWeights())) {
    auto type = cast<RankedTensorType>(weight.getType());
    WeightAddress address = weights.lookup(weight.getDefiningOp());
    int64_t outputs = type.getDimSize(0), terms = op.getTermsOf(number);
    if (!runs.empty() && address.offset == end &&
        address.layerStride == stride && runs.back().terms == terms &&
        runs.back().outputs % panelRows == 0)
      runs.back().outputs += outputs;
    else
      runs.push_back({weight, column, outputs, terms});
    column += outputs;
    end = address.offset + plannedBytes(type, WeightLayout::Panels);
    stride = address.layerStride;
  }
  return runs;
}

void EntryLowering::emitProduct(LinearOp op) {
  Type weightType =
      cast<RankedTensorType>(op.getWeights()[0].getType()).getElementType();
  int64_t inputWidth = width(op.getInput()), terms = op.getInputTerms();
  int64_t group = terms ? k.target.intPanels : k.target.floatPanels;
  uint64_t bytes = panelBytes(weightType, inputWidth);

  // Whole groups first, then the panels that are left, one by one.
  std::vector<PanelRun> runs = panelRuns(op);
  int64_t units = 0, panels = 0;
  for (PanelRun &run : runs) {
    auto kernel = [&](int64_t count, int64_t columns) {
      return productKernel(k, weightType, inputWidth, run.terms, terms,
                           static_cast<bool>(op.getResidual()), count, columns);
    };
    int64_t whole = run.outputs / panelRows, tail = run.outputs % panelRows;
    run.groups = whole / group;
    run.singles = whole % group + (tail ? 1 : 0);
    if (run.groups)
      run.group = kernel(group, panelRows);
    if (whole % group)
      run.single = kernel(1, panelRows);
    if (tail)
      run.last = kernel(1, tail);
    units += run.groups + run.singles;
    panels += whole + (tail ? 1 : 0);
  }

  KernelInfo info;
  llvm::raw_string_ostream(info.name)
      << "linear." << nameOf(weightType) << '.' << inputWidth << 'x'
      << width(op.getResult());
  (terms ? info.int8Operations : info.f32Operations) =
      2 * inputWidth * width(op.getResult());
  info.weightBytes = panels * bytes;
  info.rowsSymbol = rowsSymbol(op.getResult());
  // Where there are rows enough, each thread works on rows of its own, which
  // then stay in its cache from op to op. No rows are no block.
  auto blocksFor = [&](Value rows) {
    Value whole = k.div(rows, k.constant(rowsOfThread));
    Value blocks = k.min(whole, readSlot(threadsSlot, k.i64));
    return k.min(k.max(blocks, k.constant(1)), rows);
  };
  Value count = k.mul(blocksFor(rowCount(op.getResult())), units);
  parallelFor(info, count, [&](Value begin, Value end) {
    SmallVector<Value> starts;
    for (const PanelRun &run : runs)
      starts.push_back(weightAddress(run.start));
    Value allRows = rowCount(op.getResult()), blocks = blocksFor(allRows);
    /// Unit `unit` of run `number` for one block of rows.
    auto runUnit = [&](size_t number, Value block, Value unit) {
      auto start = [&](Value number) {
        return k.div(k.mul(number, allRows), blocks);
      };
      Value first = start(block), rows = k.sub(start(k.add(block, 1)), first);
      auto from = [&](Value tensor) {
        return RowBuffer{rowAddress(tensor, first), buffer(tensor).rowBytes};
      };
      RowBuffer input = from(op.getInput()), output = from(op.getResult());
      RowBuffer residual =
          op.getResidual() ? from(op.getResidual()) : RowBuffer{input.base, 0};
      const PanelRun &run = runs[number];
      auto call = [&](LLVM::LLVMFuncOp function, Value panel) {
        Value column = k.mul(k.add(k.mul(panel, panelRows), run.first), 4);
        k.call(function,
               {input.base, k.offset(starts[number], k.mul(panel, bytes)),
                k.offset(output.base, column), k.constant(output.rowBytes),
                k.offset(residual.base, column), k.constant(residual.rowBytes),
                rows, frame});
      };
      auto callSingle = [&] {
        Value panel = k.add(unit, run.groups * group - run.groups);
        if (!run.last)
          return call(run.single, panel);
        if (!run.single)
          return call(run.last, panel);
        k.when(
            k.equal(unit, k.constant(run.groups + run.singles - 1)),
            [&] { call(run.last, panel); }, [&] { call(run.single, panel); });
      };
      if (!run.groups)
        return callSingle();
      if (!run.singles)
        return call(run.group, k.mul(unit, group));
      k.when(
          k.less(unit, k.constant(run.groups)),
          [&] { call(run.group, k.mul(unit, group)); }, callSingle);
    };
    k.loop(begin, end, 1, [&](Value unit) {
      Value block = k.div(unit, units);
      std::function<void(size_t, Value)> find = [&](size_t number, Value unit) {
        if (number + 1 == runs.size())
          return runUnit(number, block, unit);
        int64_t mine = runs[number].groups + runs[number].singles;
        k.when(
            k.less(unit, k.constant(mine)),
            [&] { runUnit(number, block, unit); },
            [&] { find(number + 1, k.sub(unit, k.constant(mine))); });
      };
      find(0, k.rem(unit, units));
    });
  });
}

LogicalResult EntryLowering::emitLoop(const Dispatch &dispatch) {
  auto loop = cast<scf::ForOp>(dispatch.ops[0]);
  auto bound = [&](Value value) -> std::optional<int64_t> {
    return getConstantIntValue(value);
  };
  std::optional<int64_t> lower = bound(loop.getLowerBound()),
                         upper = bound(loop.getUpperBound()),
                         step = bound(loop.getStep());
  if (!lower || !upper || !step)
    return loop.emitError("a loop over layers needs constant bounds");
  LogicalResult result = success();
  k.loop(k.constant(*lower), k.constant(*upper), *step, [&](Value layer) {
    writeSlot(layerSlot, layer);
    result = emitDispatches(dispatch.body);
  });
  return result;
}

LogicalResult EntryLowering::emitDispatches(ArrayRef<Dispatch> list) {
  for (const Dispatch &dispatch : list) {
    switch (dispatch.kind) {
    case Dispatch::Kind::Rows:
      emitRows(dispatch);
      break;
    case Dispatch::Kind::Product:
      emitProduct(cast<LinearOp>(dispatch.ops[0]));
      break;
    case Dispatch::Kind::Attention:
      emitAttention(cast<AttentionOp>(dispatch.ops[0]));
      break;
    case Dispatch::Kind::Copy:
      emitCopy(dispatch);
      break;
    case Dispatch::Kind::Loop:
      if (failed(emitLoop(dispatch)))
        return failure();
      break;
    case Dispatch::Kind::Serial:
      if (failed(emitSerial(dispatch.ops[0])))
        return failure();
      break;
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Ops on whole tensors: linalg on views of the buffers
//===----------------------------------------------------------------------===//

Value EntryLowering::sizeOf(EntryDim dim) {
  return dim.isFixed() ? k.constant(dim.fixed)
                       : readSlot(symbolSlot(dim.symbol), k.i64);
}

Value EntryLowering::memref(Value tensor) {
  return memref(tensor, buffer(tensor));
}

/// A view of memory as `tensor`: a descriptor made by hand, which the
/// conversion to LLVM takes as it is.
Value EntryLowering::memref(Value tensor, RowBuffer memory) {
  auto type = cast<RankedTensorType>(tensor.getType());
  int64_t rank = type.getRank();
  auto array = LLVM::LLVMArrayType::get(k.i64, rank);
  SmallVector<Type> fields = {k.ptr, k.ptr, k.i64};
  if (rank)
    fields.append({array, array});
  auto descriptorType =
      LLVM::LLVMStructType::getLiteral(k.builder.getContext(), fields);
  Value descriptor = LLVM::PoisonOp::create(k.builder, k.loc, descriptorType);
  auto insert = [&](Value value, ArrayRef<int64_t> at) {
    descriptor =
        LLVM::InsertValueOp::create(k.builder, k.loc, descriptor, value, at);
  };
  insert(memory.base, {0});
  insert(memory.base, {1});
  insert(k.constant(0), {2});
  // The rows of a slice are further apart than they are long.
  bool isSlice = rank && memory.rowBytes != rowBytesOf(type);
  Value stride = k.constant(1);
  for (int64_t i = rank - 1; i >= 0; --i) {
    Value size = sizeOf(plan.dims(tensor)[i]);
    insert(size, {3, i});
    insert(stride, {4, i});
    if (i == rank - 1 && isSlice)
      stride =
          k.constant(memory.rowBytes / (type.getElementTypeBitWidth() / 8));
    else if (i)
      stride = k.mul(stride, size);
  }
  MemRefLayoutAttrInterface layout;
  if (isSlice) {
    SmallVector<int64_t> strides(rank, ShapedType::kDynamic);
    strides.back() = 1;
    layout = StridedLayoutAttr::get(k.builder.getContext(), 0, strides);
  }
  auto memrefType =
      MemRefType::get(type.getShape(), type.getElementType(), layout);
  return UnrealizedConversionCastOp::create(k.builder, k.loc, memrefType,
                                            descriptor)
      .getResult(0);
}

/// Each op is a function of its own, for hundreds of loop nests in one take
/// minutes to compile.
LogicalResult EntryLowering::emitSerial(Operation *op) {
  auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
  if (!linalgOp)
    return op->emitOpError("is neither a linalg op nor has a kernel");
  std::string symbol = (plan.info.name + "." + Twine(dispatchNumber++) + "." +
                        op->getName().stripDialect())
                           .str();
  Value hostFrame = frame;
  LLVM::LLVMFuncOp function = k.begin(symbol, {k.ptr});
  function.setNoInline(true);
  frame = function.getArgument(0);
  LogicalResult result = emitOnBuffers(linalgOp);
  k.end();
  frame = hostFrame;
  k.call(function, frame);
  return result;
}

LogicalResult EntryLowering::emitOnBuffers(linalg::LinalgOp linalgOp) {
  Operation *op = linalgOp;
  auto scalar = [&](Value value) -> Value {
    Operation *definition = value.getDefiningOp();
    if (!definition || !definition->hasTrait<OpTrait::ConstantLike>())
      return nullptr;
    return k.builder.clone(*definition)->getResult(0);
  };
  SmallVector<Value> operands;
  for (OpOperand &operand : op->getOpOperands()) {
    Value value = operand.get();
    if (!isa<RankedTensorType>(value.getType())) {
      operands.push_back(scalar(value));
      if (!operands.back())
        return op->emitError("scalar operands must be constants");
      continue;
    }
    if (linalgOp.isDpsInput(&operand)) {
      operands.push_back(memref(value));
      continue;
    }
    Value result = linalgOp.getTiedOpResult(&operand);
    Value target = memref(result);
    Placement at = plan.placement(result);
    bool inPlace = false;
    if (!value.getDefiningOp<tensor::EmptyOp>()) {
      if (!isWeightLeaf(value)) {
        Placement from = plan.placement(value);
        inPlace = from.kind == at.kind && from.index == at.index &&
                  from.offset == at.offset;
      }
      // What the op does not write stays as it was.
      bool isPartial =
          !linalgOp.getMatchingIndexingMap(&operand).isPermutation();
      if (!inPlace &&
          (isPartial || linalgOp.payloadUsesValueFromOperand(&operand)))
        linalg::CopyOp::create(k.builder, k.loc, memref(value), target);
    }
    operands.push_back(target);
  }
  Operation *onBuffers = mlir::clone(k.builder, op, TypeRange(), operands);

  // The body may look into other tensors and use constants from outside.
  LogicalResult result = success();
  OpBuilder::InsertionGuard guard(k.builder);
  k.builder.setInsertionPoint(onBuffers);
  onBuffers->walk([&](Operation *inner) {
    if (inner == onBuffers)
      return;
    auto extract = dyn_cast<tensor::ExtractOp>(inner);
    for (OpOperand &operand : inner->getOpOperands()) {
      Value value = operand.get();
      if (onBuffers->isAncestor(value.getParentRegion()->getParentOp()) ||
          (extract && value == extract.getTensor()))
        continue;
      Value outside = scalar(value);
      if (auto dim = value.getDefiningOp<tensor::DimOp>(); !outside && dim) {
        std::optional<int64_t> place = dim.getConstantIndex();
        if (place)
          outside = arith::IndexCastOp::create(
              k.builder, k.loc, k.builder.getIndexType(),
              sizeOf(plan.dims(dim.getSource())[*place]));
      }
      if (!outside) {
        result =
            inner->emitError("uses a value from outside that is no constant");
        return;
      }
      operand.set(outside);
    }
    if (!extract)
      return;
    Value source = memref(extract.getTensor());
    OpBuilder::InsertionGuard innerGuard(k.builder);
    k.builder.setInsertionPoint(extract);
    extract.replaceAllUsesWith(
        memref::LoadOp::create(k.builder, k.loc, source, extract.getIndices())
            .getResult());
    extract.erase();
  });
  return result;
}

//===----------------------------------------------------------------------===//
// The exported function
//===----------------------------------------------------------------------===//

LogicalResult EntryLowering::emit() {
  LLVM::LLVMFuncOp function =
      k.begin(plan.info.function, {k.ptr}, /*exported=*/true);
  arguments = function.getArgument(0);
  frame = k.scratch(8 * (stateSlot() + 3));
  auto argument = [&](size_t field) {
    return k.load(k.ptr, k.offset(arguments, field));
  };

  writeSlot(weightsSlot, argument(offsetof(chorus_entry_args, weights)));
  Value api = argument(offsetof(chorus_entry_args, api));
  writeSlot(prefetchSlot,
            k.load(k.i64, k.offset(api, offsetof(chorus_runtime_api,
                                                 prefetch_bytes))));
  writeSlot(
      enteredSlot,
      k.load(k.ptr, k.offset(api, offsetof(chorus_runtime_api, entered))));
  writeSlot(
      threadsSlot,
      k.max(k.load(k.i64, k.offset(api, offsetof(chorus_runtime_api, threads))),
            k.constant(1)));
  Value symbols = argument(offsetof(chorus_entry_args, symbols));
  for (unsigned i = 0; i < plan.info.symbols.size(); ++i)
    writeSlot(symbolSlot(i), k.load(k.i64, k.offset(symbols, 8 * i)));

  Value arena = argument(offsetof(chorus_entry_args, arena));
  for (auto [index, slot] : llvm::enumerate(plan.info.arena)) {
    writeSlot(
        placementSlot({Placement::Kind::Arena, static_cast<unsigned>(index)}),
        arena);
    Value bytes = k.constant(slot.bytes);
    for (unsigned symbol : slot.symbols)
      bytes = k.mul(bytes, readSlot(symbolSlot(symbol), k.i64));
    arena = k.offset(arena, k.bitAnd(k.add(bytes, CHORUS_BUFFER_ALIGNMENT - 1),
                                     k.constant(-CHORUS_BUFFER_ALIGNMENT)));
  }
  Value inputs = argument(offsetof(chorus_entry_args, inputs));
  for (unsigned i = 0; i < plan.info.inputs.size(); ++i)
    writeSlot(placementSlot({Placement::Kind::Input, i}),
              k.load(k.ptr, k.offset(inputs, 8 * i)));
  Value outputs = argument(offsetof(chorus_entry_args, outputs));
  for (unsigned i = 0; i < plan.info.outputs.size(); ++i)
    writeSlot(placementSlot({Placement::Kind::Output, i}),
              k.load(k.ptr, k.offset(outputs, 8 * i)));
  if (!plan.info.states.empty()) {
    Value state = argument(offsetof(chorus_entry_args, states));
    writeSlot(
        stateSlot(),
        k.load(k.ptr, k.offset(state, offsetof(chorus_paged_state, pool))));
    writeSlot(stateSlot() + 1,
              k.load(k.ptr,
                     k.offset(state, offsetof(chorus_paged_state, row_pages))));
    Value sharing = k.load(
        k.i64, k.offset(state, offsetof(chorus_paged_state, sharing_rows)));
    writeSlot(stateSlot() + 2,
              k.select(k.equal(sharing, k.constant(0)),
                       k.constant(k.target.sharingRows), sharing));
  }
  if (failed(emitDispatches(plan.dispatches)))
    return failure();
  k.end();
  return success();
}

} // namespace chorus
