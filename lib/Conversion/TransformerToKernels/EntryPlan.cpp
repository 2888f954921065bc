//===- EntryPlan.cpp - Dispatches, shapes and memory of an entry ----------===//

#include "EntryPlan.h"

#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"
#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus_rt/step_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include "llvm/Support/MathExtras.h"

#include <limits>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

int64_t EntryState::headBytes() const {
  return CHORUS_PAGE_POSITIONS * (headDim + llvm::alignTo(headDim, 16)) *
         (elementType.getIntOrFloatBitWidth() / 8);
}

int64_t rowBytesOf(RankedTensorType type) {
  if (type.getRank() == 0)
    return type.getElementTypeBitWidth() / 8;
  int64_t width = type.getShape().back();
  if (auto rounded = dyn_cast<ActQ8Type>(type.getElementType())) {
    // An odd number of cache lines keeps the rows of a tile apart in the
    // first-level cache.
    int64_t bytes = llvm::alignTo(
        width / blockSize * ActivationBlock{rounded.getTerms()}.bytes(), 64);
    return bytes % 128 ? bytes : bytes + 64;
  }
  if (ShapedType::isDynamic(width))
    return 0;
  return width * ((type.getElementTypeBitWidth() + 7) / 8);
}

AttentionShape::AttentionShape(AttentionOp op)
    : headDim(op.getHeadDim()),
      group(static_cast<int64_t>(op.getNumHeads() / op.getNumKvHeads())) {}

static RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

bool isWeightLeaf(Value value) {
  return isa_and_nonnull<ParameterOp, RotaryTableOp>(value.getDefiningOp());
}

/// Whether an entry may take, give or keep tensors of such elements.
static bool isStorable(Type type) {
  return type.isF32() || type.isF16() || type.isBF16() || type.isF64() ||
         type.isInteger(1) || type.isInteger(8) || type.isInteger(32) ||
         type.isInteger(64);
}

static bool isRowOp(Operation *op) {
  return isa<EmbeddingOp, QuantizeActivationsOp, RMSNormOp, RotaryOp,
             RoundToCacheOp, GLUOp, SelectRowsOp, LogSumExpOp, arith::AddFOp>(
      op);
}

//===----------------------------------------------------------------------===//
// Dimensions
//===----------------------------------------------------------------------===//

EntryDim EntryPlan::resolve(EntryDim dim) const {
  while (!dim.isFixed() && !(bindings[dim.symbol] == dim))
    dim = bindings[dim.symbol];
  return dim;
}

LogicalResult EntryPlan::unify(Operation *op, EntryDim a, EntryDim b) {
  a = resolve(a);
  b = resolve(b);
  if (a == b)
    return success();
  if (a.isFixed() && b.isFixed())
    return op->emitError() << "dimensions " << a.fixed << " and " << b.fixed
                           << " must be equal";
  // The later symbol takes the earlier one's place.
  if (a.isFixed() || (!b.isFixed() && a.symbol < b.symbol))
    std::swap(a, b);
  bindings[a.symbol] = b;
  return success();
}

const SmallVector<EntryDim> &EntryPlan::dims(Value value) const {
  return dimsOf.at(value);
}

/// What a constant or a tensor.dim stands for, nothing for other values.
std::optional<EntryDim> EntryPlan::sizeOf(Value index) const {
  if (std::optional<int64_t> constant = getConstantIntValue(index))
    return EntryDim::of(*constant);
  auto dim = index.getDefiningOp<tensor::DimOp>();
  std::optional<int64_t> place = dim ? dim.getConstantIndex() : std::nullopt;
  if (!place || *place < 0 || *place >= tensorType(dim.getSource()).getRank())
    return std::nullopt;
  return dims(dim.getSource())[*place];
}

std::pair<int64_t, SmallVector<unsigned>> EntryPlan::rows(Value value) const {
  std::pair<int64_t, SmallVector<unsigned>> result{1, {}};
  ArrayRef<EntryDim> leading = dims(value);
  if (!leading.empty() && !isa_and_nonnull<LogSumExpOp>(value.getDefiningOp()))
    leading = leading.drop_back();
  for (EntryDim dim : leading) {
    if (dim.isFixed())
      result.first *= dim.fixed;
    else
      result.second.push_back(dim.symbol);
  }
  return result;
}

using Range = std::pair<int64_t, int64_t>; ///< First and last value.

/// The values of `expr` over `loops`; nothing where a loop has no fixed length.
static std::optional<Range> rangeOf(AffineExpr expr,
                                    ArrayRef<std::optional<Range>> loops) {
  if (auto constant = dyn_cast<AffineConstantExpr>(expr))
    return Range(constant.getValue(), constant.getValue());
  if (auto loop = dyn_cast<AffineDimExpr>(expr))
    return loops[loop.getPosition()];
  auto binary = dyn_cast<AffineBinaryOpExpr>(expr);
  std::optional<Range> a = binary ? rangeOf(binary.getLHS(), loops)
                                  : std::nullopt,
                       b = binary ? rangeOf(binary.getRHS(), loops)
                                  : std::nullopt;
  // Larger than any tensor's dimension that is read.
  auto isLarge = [](int64_t value) {
    return value > (int64_t(1) << 31) || value < -(int64_t(1) << 31);
  };
  if (!a || !b || isLarge(a->first) || isLarge(a->second) ||
      isLarge(b->first) || isLarge(b->second))
    return std::nullopt;
  int64_t c = b->first;
  switch (expr.getKind()) {
  case AffineExprKind::Add:
    return Range(a->first + b->first, a->second + b->second);
  case AffineExprKind::Mul:
    return Range(std::min(a->first * c, a->second * c),
                 std::max(a->first * c, a->second * c));
  case AffineExprKind::FloorDiv:
    if (c > 0)
      return Range(llvm::divideFloorSigned(a->first, c),
                   llvm::divideFloorSigned(a->second, c));
    return std::nullopt;
  case AffineExprKind::Mod:
    if (c > 0)
      return a->first >= 0 && a->second < c ? *a : Range(0, c - 1);
    return std::nullopt;
  default:
    return std::nullopt;
  }
}

/// MLIR checks that loops stay inside the operands only where all sizes are
/// static. A place that is no loop's own index needs loops of fixed length.
LogicalResult
EntryPlan::verifyInside(linalg::LinalgOp op,
                        ArrayRef<std::optional<EntryDim>> loops) const {
  SmallVector<std::optional<Range>> ranges;
  for (const std::optional<EntryDim> &loop : loops) {
    EntryDim length = loop ? resolve(*loop) : EntryDim();
    ranges.push_back(length.isFixed()
                         ? std::optional(Range(0, length.fixed - 1))
                         : std::nullopt);
  }
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<RankedTensorType>(operand.get().getType()))
      continue;
    for (auto [expr, dim] :
         llvm::zip_equal(op.getMatchingIndexingMap(&operand).getResults(),
                         dimsOf.at(operand.get()))) {
      if (isa<AffineDimExpr>(expr))
        continue;
      std::optional<Range> range = rangeOf(expr, ranges);
      EntryDim size = resolve(dim);
      if (range && range->first >= 0 && size.isFixed() &&
          range->second < size.fixed)
        continue;
      std::string place;
      llvm::raw_string_ostream(place) << expr;
      return op->emitError()
             << "operand " << operand.getOperandNumber() << " is read at "
             << place << ", which may lie outside of it";
    }
  }
  return success();
}

LogicalResult EntryPlan::inferDims(Operation *op) {
  auto same = [&](Value result, Value source) {
    Dims dims = dimsOf.at(source); // The new entry may move the old ones.
    dimsOf[result] = dims;
  };
  auto unifyAll = [&](Value a, Value b) -> LogicalResult {
    for (auto [x, y] : llvm::zip_equal(dimsOf.at(a), dimsOf.at(b)))
      if (failed(unify(op, x, y)))
        return failure();
    return success();
  };
  auto widthOf = [&](Value value) {
    return EntryDim::of(tensorType(value).getShape().back());
  };

  if (isa<ParameterOp, RotaryTableOp>(op)) {
    for (int64_t size : tensorType(op->getResult(0)).getShape())
      dimsOf[op->getResult(0)].push_back(EntryDim::of(size));
    return success();
  }
  if (auto embedding = dyn_cast<EmbeddingOp>(op)) {
    Dims dims = dimsOf.at(embedding.getTokens());
    dims.push_back(widthOf(embedding.getResult()));
    dimsOf[embedding.getResult()] = dims;
    return success();
  }
  if (auto linear = dyn_cast<LinearOp>(op)) {
    Dims dims = dimsOf.at(linear.getInput());
    dims.back() = widthOf(linear.getResult());
    dimsOf[linear.getResult()] = dims;
    return linear.getResidual()
               ? unifyAll(linear.getResult(), linear.getResidual())
               : success();
  }
  if (auto select = dyn_cast<SelectRowsOp>(op)) {
    dimsOf[select.getResult()] = {dimsOf.at(select.getRows())[0],
                                  widthOf(select.getResult())};
    return success();
  }
  if (auto sum = dyn_cast<LogSumExpOp>(op)) {
    Dims dims = dimsOf.at(sum.getInput());
    dims.pop_back();
    dimsOf[sum.getResult()] = dims;
    return success();
  }
  if (auto rotary = dyn_cast<RotaryOp>(op)) {
    same(rotary.getResult(), rotary.getInput());
    return rotary.getPositions() ? unify(op, dimsOf.at(rotary.getInput())[0],
                                         dimsOf.at(rotary.getPositions())[0])
                                 : success();
  }
  if (auto attention = dyn_cast<AttentionOp>(op)) {
    same(attention.getResult(), attention.getQuery());
    return unify(op, dimsOf.at(attention.getQuery())[0],
                 dimsOf.at(attention.getPositions())[0]);
  }
  if (isa<QuantizeActivationsOp, RMSNormOp, RoundToCacheOp>(op)) {
    same(op->getResult(0), op->getOperand(0));
    return success();
  }
  if (auto glu = dyn_cast<GLUOp>(op)) {
    same(glu.getResult(), glu.getGate());
    return unifyAll(glu.getGate(), glu.getUp());
  }
  if (isa<arith::AddFOp>(op)) {
    same(op->getResult(0), op->getOperand(0));
    return unifyAll(op->getOperand(0), op->getOperand(1));
  }
  if (auto cast = dyn_cast<tensor::CastOp>(op)) {
    same(cast.getResult(), cast.getSource());
    for (auto [dim, size] :
         llvm::zip_equal(dimsOf.at(cast.getSource()),
                         tensorType(cast.getResult()).getShape()))
      if (!ShapedType::isDynamic(size) &&
          failed(unify(op, dim, EntryDim::of(size))))
        return failure();
    return success();
  }
  if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
    Dims dims = dimsOf.at(slice.getSource());
    dims.back() = widthOf(slice.getResult());
    dimsOf[slice.getResult()] = dims;
    return success();
  }
  if (auto empty = dyn_cast<tensor::EmptyOp>(op)) {
    Dims dims;
    unsigned dynamic = 0;
    for (int64_t size : empty.getType().getShape()) {
      if (!ShapedType::isDynamic(size)) {
        dims.push_back(EntryDim::of(size));
        continue;
      }
      std::optional<EntryDim> dim = sizeOf(empty.getDynamicSizes()[dynamic++]);
      if (!dim)
        return op->emitError(
            "a dynamic size must be a tensor.dim with a constant index");
      dims.push_back(*dim);
    }
    dimsOf[empty.getResult()] = dims;
    return success();
  }
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    for (auto [result, init] :
         llvm::zip_equal(op->getResults(), linalgOp.getDpsInits()))
      same(result, init);
    // Dimensions of one loop are equal.
    SmallVector<std::optional<EntryDim>> loops(linalgOp.getNumLoops());
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<RankedTensorType>(operand.get().getType()))
        continue;
      AffineMap map = linalgOp.getMatchingIndexingMap(&operand);
      for (auto [expr, dim] :
           llvm::zip_equal(map.getResults(), dimsOf.at(operand.get()))) {
        auto position = dyn_cast<AffineDimExpr>(expr);
        if (!position)
          continue;
        std::optional<EntryDim> &loop = loops[position.getPosition()];
        if (loop && failed(unify(op, *loop, dim)))
          return failure();
        loop = dim;
      }
    }
    return verifyInside(linalgOp, loops);
  }
  return op->emitOpError("is neither a linalg op nor has a kernel");
}

//===----------------------------------------------------------------------===//
// Dispatches
//===----------------------------------------------------------------------===//

LogicalResult EntryPlan::collect(Block &block, std::vector<Dispatch> &into) {
  auto append = [&](Dispatch::Kind kind, Operation *op) -> Dispatch & {
    Dispatch dispatch;
    dispatch.kind = kind;
    if (op)
      dispatch.ops.push_back(op);
    into.push_back(std::move(dispatch));
    return into.back();
  };
  auto appendRow = [&](Operation *op, Value shape) {
    if (into.empty() || into.back().kind != Dispatch::Kind::Rows ||
        rows(into.back().ops.back()->getResult(0)) != rows(shape))
      append(Dispatch::Kind::Rows, op);
    else
      into.back().ops.push_back(op);
  };
  for (Operation &op : block) {
    if (auto loop = dyn_cast<scf::ForOp>(op)) {
      for (auto [argument, result, init] :
           llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults(),
                           loop.getInitArgs())) {
        Dims dims = dimsOf.at(init); // The new entries may move the old ones.
        dimsOf[argument] = dims;
        dimsOf[result] = dims;
      }
      std::vector<Dispatch> body;
      if (failed(collect(*loop.getBody(), body)))
        return failure();
      append(Dispatch::Kind::Loop, loop).body = std::move(body);
      continue;
    }
    if (isa<RequireIndicesOp, RequireSizeOp>(op)) {
      requirements.push_back(&op);
      continue;
    }
    bool scalar = llvm::none_of(op.getResultTypes(), [](Type type) {
      return isa<RankedTensorType>(type);
    });
    if (scalar && (op.getNumRegions() == 0))
      continue; // Terminators, constants, index arithmetic.
    bool isLeaf = isa<ParameterOp, RotaryTableOp>(op);
    if (!isLeaf && isa_and_nonnull<TransformerDialect>(op.getDialect()) &&
        !hasKernel(&op))
      return op.emitOpError("has no kernel in this form");
    if (failed(inferDims(&op)))
      return failure();
    if (isLeaf || isa<tensor::EmptyOp>(op))
      continue;
    for (Value result : op.getResults())
      if (Type element = tensorType(result).getElementType();
          !isStorable(element) && !isa<ActQ8Type>(element))
        return op.emitError()
               << "no memory is planned for elements of type " << element;
    if (isa<tensor::CastOp, tensor::ExtractSliceOp>(op) &&
        isWeightLeaf(op.getOperand(0)))
      return op.emitError("a parameter can only be read as it is");
    if (auto cast = dyn_cast<tensor::CastOp>(op)) {
      storage[cast.getResult()] = cast.getSource();
    } else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op)) {
      ArrayRef<int64_t> offsets = slice.getStaticOffsets();
      auto source = tensorType(slice.getSource());
      bool columns = llvm::all_of(offsets.drop_back(),
                                  [](int64_t at) { return at == 0; }) &&
                     !ShapedType::isDynamic(offsets.back()) &&
                     llvm::all_of(slice.getStaticStrides(),
                                  [](int64_t s) { return s == 1; }) &&
                     slice.getType().getRank() == source.getRank() &&
                     !ShapedType::isDynamic(slice.getType().getShape().back());
      for (int64_t i = 0; columns && i + 1 < source.getRank(); ++i)
        columns = slice.getType().getDimSize(i) == source.getDimSize(i);
      if (!columns)
        return op.emitError("only columns of whole rows can be sliced");
      slices[slice.getResult()] = {slice.getSource(),
                                   offsets.back() *
                                       (source.getElementTypeBitWidth() / 8)};
    } else if (isa<LinearOp>(op)) {
      append(Dispatch::Kind::Product, &op);
    } else if (isa<AttentionOp>(op)) {
      appendRow(&op, op.getResult(0));
      append(Dispatch::Kind::Attention, &op);
    } else if (isRowOp(&op)) {
      appendRow(&op, isa<LogSumExpOp>(op) ? op.getOperand(0) : op.getResult(0));
    } else {
      append(Dispatch::Kind::Serial, &op);
    }
  }
  return success();
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value EntryPlan::storageOf(Value value) const {
  while (true) {
    if (auto slice = slices.find(value); slice != slices.end())
      value = slice->second.first;
    else if (auto parent = storage.find(value); parent != storage.end())
      value = parent->second;
    else
      return value;
  }
}

void EntryPlan::number(std::vector<Dispatch> &list, int64_t &point) {
  for (Dispatch &dispatch : list) {
    dispatch.point = ++point;
    number(dispatch.body, point);
    dispatch.endPoint = dispatch.body.empty() ? point : ++point;
    for (Operation *op : dispatch.ops)
      points[op] = {dispatch.point, dispatch.endPoint};
  }
}

/// Last point at which `value` or a slice of it is read by an op inside `loop`.
int64_t EntryPlan::lastUseInside(Value value, Operation *loop) const {
  int64_t last = 0;
  for (Operation *user : value.getUsers()) {
    if (!loop->isProperAncestor(user))
      continue;
    if (isa<tensor::ExtractSliceOp, tensor::CastOp>(user))
      last = std::max(last, lastUseInside(user->getResult(0), loop));
    else if (isa<scf::YieldOp>(user))
      last = std::numeric_limits<int64_t>::max();
    else if (auto at = points.find(user); at != points.end())
      last = std::max(last, at->second.second);
  }
  return last;
}

/// Gives the values that a loop carries one place where that is safe and plans
/// copies where it is not.
void EntryPlan::coalesceLoops(std::vector<Dispatch> &list) {
  for (size_t i = 0; i < list.size(); ++i) {
    if (list[i].kind != Dispatch::Kind::Loop)
      continue;
    auto loop = cast<scf::ForOp>(list[i].ops[0]);
    std::vector<Dispatch> before;
    auto copy = [](Value from, Value to) {
      Dispatch dispatch;
      dispatch.kind = Dispatch::Kind::Copy;
      dispatch.from = from;
      dispatch.to = to;
      return dispatch;
    };
    Operation *yield = loop.getBody()->getTerminator();
    for (auto [argument, result, init, yielded] :
         llvm::zip_equal(loop.getRegionIterArgs(), loop.getResults(),
                         loop.getInitArgs(), yield->getOperands())) {
      storage[result] = argument;
      if (init.hasOneUse() && init.getDefiningOp() && !slices.count(init) &&
          !storage.count(init))
        storage[init] = argument;
      else
        before.push_back(copy(init, argument));
      auto producer = yielded.getDefiningOp()
                          ? points.find(yielded.getDefiningOp())
                          : points.end();
      bool inPlace = producer != points.end() && !slices.count(yielded) &&
                     !storage.count(yielded) &&
                     yielded.getParentBlock() == loop.getBody() &&
                     lastUseInside(argument, loop) < producer->second.first;
      if (inPlace)
        storage[yielded] = argument;
      else
        list[i].body.push_back(copy(yielded, argument));
    }
    coalesceLoops(list[i].body);
    size_t count = before.size();
    list.insert(list.begin() + i, std::make_move_iterator(before.begin()),
                std::make_move_iterator(before.end()));
    i += count;
  }
}

LogicalResult EntryPlan::place() {
  int64_t point = 0;
  number(dispatches, point);
  coalesceLoops(dispatches);

  // Results of linalg ops are made in place of an init that nothing else reads.
  function.walk([&](linalg::LinalgOp op) {
    for (auto [result, init] :
         llvm::zip_equal(op->getResults(), op.getDpsInits()))
      if (init.getDefiningOp() && !init.getDefiningOp<tensor::EmptyOp>() &&
          init.hasOneUse() && !isWeightLeaf(init) && !slices.count(init) &&
          !storage.count(init))
        storage[result] = init;
  });

  for (auto [index, argument] : llvm::enumerate(function.getArguments()))
    if (isa<RankedTensorType>(argument.getType()))
      placements[argument] = {Placement::Kind::Input,
                              static_cast<unsigned>(info.inputs.size()), 0,
                              rowBytesOf(tensorType(argument))},
      info.inputs.emplace_back();

  auto terminator =
      cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (auto [index, value] : llvm::enumerate(terminator.getOperands())) {
    Value root = storageOf(value);
    bool direct = !slices.count(value) && !placements.count(root) &&
                  root.getDefiningOp() && !isWeightLeaf(root) &&
                  !root.getDefiningOp<tensor::EmptyOp>();
    if (auto argument = dyn_cast<BlockArgument>(root))
      direct = !slices.count(value) && !placements.count(root) &&
               isa<scf::ForOp>(argument.getOwner()->getParentOp());
    if (direct) {
      placements[root] = {Placement::Kind::Output, static_cast<unsigned>(index),
                          0, rowBytesOf(tensorType(value))};
      continue;
    }
    Dispatch dispatch;
    dispatch.kind = Dispatch::Kind::Copy;
    dispatch.from = value;
    dispatch.toOutput = index;
    dispatches.push_back(std::move(dispatch));
  }

  point = 0;
  number(dispatches, point);
  assignArena();
  return success();
}

void EntryPlan::assignArena() {
  // Live intervals, by storage root.
  auto extend = [&](Value value, int64_t from, int64_t to) {
    Value root = storageOf(value);
    auto [entry, isNew] = live.insert({root, {from, to}});
    if (!isNew) {
      entry->second.first = std::min(entry->second.first, from);
      entry->second.second = std::max(entry->second.second, to);
    }
  };
  std::function<void(std::vector<Dispatch> &, SmallVector<const Dispatch *>)>
      visit = [&](std::vector<Dispatch> &list,
                  SmallVector<const Dispatch *> loops) {
        auto use = [&](Value value, const Dispatch &dispatch) {
          if (!isa<RankedTensorType>(value.getType()))
            return;
          Value root = storageOf(value);
          // A value from outside a loop is read again in its last iteration.
          int64_t to = dispatch.endPoint;
          for (const Dispatch *loop : loops) {
            auto definition = root.getDefiningOp();
            bool inside =
                definition && loop->ops[0]->isProperAncestor(definition);
            if (!inside)
              to = std::max(to, loop->endPoint);
          }
          extend(root, dispatch.point, to);
        };
        for (Dispatch &dispatch : list) {
          if (dispatch.kind == Dispatch::Kind::Copy) {
            if (!isWeightLeaf(dispatch.from))
              use(dispatch.from, dispatch);
            if (dispatch.to)
              use(dispatch.to, dispatch);
            continue;
          }
          if (dispatch.kind == Dispatch::Kind::Loop) {
            auto loop = cast<scf::ForOp>(dispatch.ops[0]);
            for (Value argument : loop.getRegionIterArgs())
              extend(argument, dispatch.point, dispatch.endPoint);
            SmallVector<const Dispatch *> inner = loops;
            inner.push_back(&dispatch);
            visit(dispatch.body, inner);
            continue;
          }
          for (Operation *op : dispatch.ops) {
            for (Value operand : op->getOperands())
              if (!isWeightLeaf(operand) &&
                  !operand.getDefiningOp<tensor::EmptyOp>())
                use(operand, dispatch);
            op->walk([&](tensor::ExtractOp extract) {
              if (!isWeightLeaf(extract.getTensor()))
                use(extract.getTensor(), dispatch);
            });
            for (Value result : op->getResults())
              use(result, dispatch);
          }
        }
      };
  visit(dispatches, {});

  struct Slot {
    int64_t freeAfter;
    SmallVector<unsigned> symbols;
  };
  SmallVector<Slot> slots;
  SmallVector<std::pair<int64_t, size_t>>
      order; // First point, place in `live`.
  for (auto [index, entry] : llvm::enumerate(live))
    order.push_back({entry.second.first, index});
  llvm::sort(order);
  for (auto [point, index] : order) {
    auto [root, interval] = *(live.begin() + index);
    if (placements.count(root))
      continue;
    RankedTensorType type = tensorType(root);
    SmallVector<unsigned> symbols;
    uint64_t bytes =
        isa<ActQ8Type>(type.getElementType())
            ? rowBytesOf(type)
            : std::max<int64_t>(1, type.getElementTypeBitWidth() / 8);
    ArrayRef<EntryDim> all = dimsOf.at(root);
    if (isa<ActQ8Type>(type.getElementType()))
      all = all.drop_back();
    for (EntryDim dim : all) {
      dim = resolve(dim);
      if (dim.isFixed())
        bytes *= dim.fixed;
      else
        symbols.push_back(dim.symbol);
    }
    llvm::sort(symbols);
    // The free slot of these symbols whose size fits best, or a new one.
    std::optional<unsigned> best;
    for (auto [index, slot] : llvm::enumerate(slots)) {
      if (slot.freeAfter >= interval.first || slot.symbols != symbols)
        continue;
      auto cost = [&](unsigned at) {
        uint64_t have = info.arena[at].bytes;
        return have >= bytes ? have - bytes : bytes - have;
      };
      if (!best || cost(index) < cost(*best))
        best = index;
    }
    if (!best) {
      best = slots.size();
      slots.push_back({0, symbols});
      info.arena.push_back({0, {symbols.begin(), symbols.end()}});
    }
    slots[*best].freeAfter = interval.second;
    info.arena[*best].bytes = std::max(info.arena[*best].bytes, bytes);
    placements[root] = {Placement::Kind::Arena, *best, 0, rowBytesOf(type)};
  }

  // One attention runs at a time.
  uint64_t states = 0;
  function.walk([&](AttentionOp op) {
    AttentionShape shape(op);
    states = std::max(states, maxSpreadPartitions * op.getNumKvHeads() *
                                  shape.stateBytes(shape.group));
  });
  if (states) {
    partitionStates = info.arena.size();
    info.arena.push_back({states, {}});
  }
}

Placement EntryPlan::placement(Value value) const {
  int64_t offset = 0;
  for (Value at = value;;) {
    if (auto slice = slices.find(at); slice != slices.end()) {
      offset += slice->second.second;
      at = slice->second.first;
    } else if (auto parent = storage.find(at); parent != storage.end()) {
      at = parent->second;
    } else {
      Placement placement = placements.at(at);
      placement.offset = offset;
      return placement;
    }
  }
}

//===----------------------------------------------------------------------===//
// Interface
//===----------------------------------------------------------------------===//

LogicalResult EntryPlan::boundInputs() {
  auto addOnce = [](auto &list, auto bound) {
    if (!llvm::is_contained(list, bound))
      list.push_back(bound);
  };
  for (Operation *op : requirements) {
    if (auto indices = dyn_cast<RequireIndicesOp>(op)) {
      std::optional<EntryDim> below = sizeOf(indices.getBelow());
      auto argument = dyn_cast<BlockArgument>(storageOf(indices.getIndices()));
      bool isInput =
          argument && argument.getOwner() == &function.getBody().front();
      if (!below || !isInput)
        return op->emitError(
            "indices must be an argument of the function, so that they can be "
            "checked before it runs");
      addOnce(info.indexBounds,
              IndexBound{placements.at(argument).index, *below});
      continue;
    }
    auto sizes = cast<RequireSizeOp>(op);
    std::optional<EntryDim> size = sizeOf(sizes.getSize()),
                            atMost = sizeOf(sizes.getAtMost());
    if (!size || !atMost)
      return op->emitError(
          "a size must be a constant or a tensor.dim with a constant index");
    if (!size->isFixed() || !atMost->isFixed())
      addOnce(info.sizeBounds, SizeBound{*size, *atMost});
    else if (size->fixed > atMost->fixed)
      return op->emitError() << "a size of " << size->fixed
                             << " is read from one of " << atMost->fixed;
  }
  return success();
}

LogicalResult EntryPlan::build() {
  if (!function.getBody().hasOneBlock())
    return function.emitError("an entry must be one block");
  info.name = function.getName().str();
  info.function = "chorus_entry_" + info.name;
  info.isStep = function->hasAttr("transformer.step");
  for (BlockArgument argument : function.getArguments()) {
    if (auto state = dyn_cast<StateType>(argument.getType())) {
      info.states.push_back({state.getElementType(), state.getLayers(),
                             state.getKvHeads(), state.getHeadDim()});
      continue;
    }
    auto type = dyn_cast<RankedTensorType>(argument.getType());
    if (!type)
      return function.emitError()
             << "argument " << argument.getArgNumber() << " has type "
             << argument.getType() << ", expected a ranked tensor";
    if (!isStorable(type.getElementType()))
      return function.emitError()
             << "argument " << argument.getArgNumber()
             << " has elements of type " << type.getElementType()
             << ", which an entry cannot take";
    for (int64_t size : type.getShape()) {
      bool dynamic = ShapedType::isDynamic(size);
      EntryDim dim =
          dynamic ? EntryDim::ofSymbol(bindings.size()) : EntryDim::of(size);
      if (dynamic)
        bindings.push_back(dim);
      dimsOf[argument].push_back(dim);
    }
  }
  if (failed(collect(function.getBody().front(), dispatches)))
    return failure();
  for (auto [index, type] : llvm::enumerate(function.getResultTypes()))
    if (auto tensor = dyn_cast<RankedTensorType>(type);
        !tensor || !isStorable(tensor.getElementType()))
      return function.emitError() << "result " << index << " has type " << type
                                  << ", which an entry cannot give";

  // Number the symbols that are left in order of their first appearance.
  SmallVector<EntryDim> numbers;
  unsigned next = 0;
  for (unsigned symbol = 0; symbol < bindings.size(); ++symbol)
    numbers.push_back(bindings[symbol] == EntryDim::ofSymbol(symbol)
                          ? EntryDim::ofSymbol(next++)
                          : EntryDim());
  for (unsigned symbol = 0; symbol < bindings.size(); ++symbol)
    if (EntryDim root = resolve(EntryDim::ofSymbol(symbol)); root.isFixed())
      numbers[symbol] = root;
    else
      numbers[symbol] = numbers[root.symbol];
  for (auto &[value, dims] : dimsOf)
    for (EntryDim &dim : dims)
      if (!dim.isFixed())
        dim = numbers[dim.symbol];
  bindings.clear();
  for (unsigned symbol = 0; symbol < next; ++symbol)
    bindings.push_back(EntryDim::ofSymbol(symbol));
  static const char *const stepSymbols[] = {"T", "R"};
  for (unsigned symbol = 0; symbol < next; ++symbol)
    info.symbols.push_back(info.isStep && symbol < 2
                               ? stepSymbols[symbol]
                               : "s" + std::to_string(symbol));

  if (failed(place()) || failed(boundInputs()))
    return failure();

  auto describe = [&](Value value, Attribute name, StringRef fallback,
                      unsigned index) {
    auto text = dyn_cast_or_null<StringAttr>(name);
    return EntryTensor{text ? text.str()
                            : fallback.str() + std::to_string(index),
                       tensorType(value).getElementType(),
                       {dimsOf.at(value).begin(), dimsOf.at(value).end()}};
  };
  info.inputs.clear();
  for (BlockArgument argument : function.getArguments())
    if (isa<RankedTensorType>(argument.getType()))
      info.inputs.push_back(describe(
          argument,
          function.getArgAttr(argument.getArgNumber(), "transformer.name"),
          "arg", argument.getArgNumber()));
  auto terminator =
      cast<func::ReturnOp>(function.getBody().front().getTerminator());
  for (auto [index, value] : llvm::enumerate(terminator.getOperands())) {
    info.outputs.push_back(
        describe(value, function.getResultAttr(index, "transformer.name"),
                 "result", index));
    for (EntryDim dim : info.outputs.back().dims)
      if (!dim.isFixed() && dim.symbol >= next)
        return function.emitError(
            "an output dimension does not come from an input");
  }
  return success();
}

} // namespace chorus
