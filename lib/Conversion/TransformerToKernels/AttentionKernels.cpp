//===- AttentionKernels.cpp - Attention over paged keys and values --------===//
//
// A dispatch unit is a run of rows times one kv head. Inside it, rows of one
// sequence that follow each other form a block: their query heads share every
// load of a page. A row's own sequence of operations does not depend on the
// rows beside it (docs/NumericContract.md).
//
//===----------------------------------------------------------------------===//

#include "EntryLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

namespace {

/// Query head rows of one block, whose queries, sums and probabilities stay in
/// cache.
constexpr int64_t blockRows = 48;

/// Positions in one block of the online softmax: one page.
constexpr int64_t pagePositions = 32;

struct AttentionShape {
  KernelBuilder &k;
  int64_t headDim, groupHeads;
  Type cacheType;
  float scale;

  int64_t slotBytes() const { return cacheType.getIntOrFloatBitWidth() / 8; }
  int64_t paddedDim() const { return llvm::alignTo(headDim, lanes); }
  int64_t maxTokens() const {
    return std::max<int64_t>(1, blockRows / groupHeads);
  }
  int64_t maxRows() const { return maxTokens() * groupHeads; }

  /// Tile heights, descending to 1, with the natural one of a decode row.
  SmallVector<int64_t> tileSizes(int64_t largest) const {
    SmallVector<int64_t> sizes{largest};
    if (groupHeads < largest)
      sizes.push_back(groupHeads);
    for (int64_t size = largest / 2; size >= 1; size /= 2)
      sizes.push_back(size);
    llvm::sort(sizes, std::greater<>());
    sizes.erase(llvm::unique(sizes), sizes.end());
    return sizes;
  }
};

/// scores[row][32] = queries of `count` rows times the keys of a page.
void emitScores(const AttentionShape &shape, Value queries, Value keys,
                Value scores, Value count) {
  KernelBuilder &k = shape.k;
  int64_t vectors = k.target.scoreVectors;
  k.tiles(
      count, shape.tileSizes(k.target.scoreRows),
      [&](Value first, int64_t rows) {
        Value query = k.offset(queries, k.mul(first, 4 * shape.headDim));
        Value out = k.offset(scores, k.mul(first, 4 * pagePositions));
        for (int64_t position = 0; position < pagePositions;
             position += vectors * lanes) {
          Values acc = k.loop(
              k.constant(0), k.constant(shape.headDim), 1,
              Values(rows * vectors, k.splatConstant(0)),
              [&](Value channel, ValueRange state) {
                Values next(state);
                Value key = k.offset(
                    keys, k.mul(channel, pagePositions * shape.slotBytes()));
                Values loaded;
                for (int64_t v = 0; v < vectors; ++v)
                  loaded.push_back(
                      k.widen(k.load(k.vec(shape.cacheType),
                                     k.offset(key, (position + v * lanes) *
                                                       shape.slotBytes()))));
                for (int64_t row = 0; row < rows; ++row) {
                  Value at = k.offset(k.offset(query, 4 * shape.headDim * row),
                                      k.mul(channel, 4));
                  Value q = k.splat(k.load(k.f32, at));
                  for (int64_t v = 0; v < vectors; ++v)
                    next[row * vectors + v] =
                        k.fma(q, loaded[v], next[row * vectors + v]);
                }
                return next;
              });
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t v = 0; v < vectors; ++v)
              k.store(acc[row * vectors + v],
                      k.offset(out, 4 * (row * pagePositions + position +
                                         v * lanes)));
        }
      });
}

/// One row's block of the online softmax: scores become probabilities, the
/// running maximum and sum move on, `correction` is what the sums so far are
/// multiplied by. `visible`: positions of the block that the row sees, i64.
void emitSoftmaxRow(KernelBuilder &k, Value scores, Value maximum, Value total,
                    Value correction, Value visible) {
  constexpr int64_t vectors = pagePositions / lanes;
  Value limit = k.splat(k.truncate(visible, k.i32));
  Value lowest = k.splatConstant(-std::numeric_limits<float>::infinity());
  Values s;
  for (int64_t v = 0; v < vectors; ++v) {
    Value x = k.load(k.vec(k.f32), k.offset(scores, 64 * v));
    Value position =
        k.add(k.iota(), k.splatConstantI32(static_cast<int32_t>(v * lanes)));
    s.push_back(k.select(k.less(position, limit), x, lowest));
  }
  Value before = k.load(k.f32, maximum);
  Value now = k.maximum(before, k.treeMax(k.maximum(s[0], s[1])));
  k.store(now, maximum);
  Value factor = k.extract(k.expNonPositive(k.splat(k.subf(before, now))), 0);
  k.store(factor, correction);
  Value sum;
  for (int64_t v = 0; v < vectors; ++v) {
    Value p = k.expNonPositive(k.subf(s[v], k.splat(now)));
    k.store(p, k.offset(scores, 64 * v));
    sum = sum ? k.addf(sum, p) : p;
  }
  k.store(k.fma(k.load(k.f32, total), factor, k.treeSum(sum)), total);
}

/// sums[row][channels] = sums * correction + probabilities times values, for
/// the first `positions` positions of a page.
void emitValues(const AttentionShape &shape, Value probabilities, Value values,
                Value sums, Value corrections, Value count, Value positions) {
  KernelBuilder &k = shape.k;
  int64_t padded = shape.paddedDim(), all = padded / lanes;
  k.tiles(
      count, shape.tileSizes(k.target.valueRows),
      [&](Value first, int64_t rows) {
        Value p = k.offset(probabilities, k.mul(first, 4 * pagePositions));
        Value out = k.offset(sums, k.mul(first, 4 * padded));
        Value factors = k.offset(corrections, k.mul(first, 4));
        for (int64_t vector = 0; vector < all;
             vector += k.target.valueVectors) {
          int64_t width = std::min(k.target.valueVectors, all - vector);
          auto at = [&](int64_t row, int64_t v) {
            return k.offset(out, 4 * (row * padded + (vector + v) * lanes));
          };
          Values acc;
          for (int64_t row = 0; row < rows; ++row) {
            Value factor = k.splat(k.load(k.f32, k.offset(factors, 4 * row)));
            for (int64_t v = 0; v < width; ++v)
              acc.push_back(k.mulf(k.load(k.vec(k.f32), at(row, v)), factor));
          }
          acc = k.loop(
              k.constant(0), positions, 1, acc,
              [&](Value position, ValueRange state) {
                Values next(state);
                Value from = k.offset(
                    values, k.mul(position, padded * shape.slotBytes()));
                Values loaded;
                for (int64_t v = 0; v < width; ++v)
                  loaded.push_back(
                      k.widen(k.load(k.vec(shape.cacheType),
                                     k.offset(from, (vector + v) * lanes *
                                                        shape.slotBytes()))));
                for (int64_t row = 0; row < rows; ++row) {
                  Value weight = k.splat(k.load(
                      k.f32, k.offset(k.offset(p, 4 * pagePositions * row),
                                      k.mul(position, 4))));
                  for (int64_t v = 0; v < width; ++v)
                    next[row * width + v] =
                        k.fma(weight, loaded[v], next[row * width + v]);
                }
                return next;
              });
          for (int64_t row = 0; row < rows; ++row)
            for (int64_t v = 0; v < width; ++v)
              k.store(acc[row * width + v], at(row, v));
        }
      });
}

} // namespace

/// block(frame, first row, rows, kv head): rows of one sequence, neighbours.
LLVM::LLVMFuncOp EntryLowering::attentionKernel(AttentionOp op) {
  AttentionShape shape{
      k, op.getHeadDim(),
      static_cast<int64_t>(op.getNumHeads() / op.getNumKvHeads()),
      plan.info.states[0].elementType,
      static_cast<float>(op.getScale().convertToDouble())};
  std::string name =
      (plan.info.name + "." + Twine(dispatchNumber++) + ".attention_block")
          .str();
  Value hostFrame = frame;
  LLVM::LLVMFuncOp function = k.begin(name, {k.ptr, k.i64, k.i64, k.i64});
  frame = function.getArgument(0);
  Value firstRow = function.getArgument(1), tokens = function.getArgument(2),
        head = function.getArgument(3);
  int64_t headDim = shape.headDim, padded = shape.paddedDim(),
          rows = shape.maxRows(), group = shape.groupHeads;
  Value queries = k.scratch(4 * rows * headDim),
        sums = k.scratch(4 * rows * padded),
        scores = k.scratch(4 * rows * pagePositions),
        maxima = k.scratch(4 * rows), totals = k.scratch(4 * rows),
        corrections = k.scratch(4 * rows);
  Value count = k.mul(tokens, group);
  Value headColumn = k.mul(head, 4 * group * headDim);

  // Queries, scaled once; empty sums.
  RowBuffer query = buffer(op.getQuery()), output = buffer(op.getResult());
  auto forEachRow =
      [&](function_ref<void(Value token, int64_t inGroup, Value row)> body) {
        k.loop(k.constant(0), tokens, 1, [&](Value token) {
          for (int64_t i = 0; i < group; ++i)
            body(token, i, k.add(k.mul(token, group), i));
        });
      };
  forEachRow([&](Value token, int64_t inGroup, Value row) {
    Value from =
        k.offset(query.base, k.mul(k.add(firstRow, token), query.rowBytes));
    from = k.offset(k.offset(from, headColumn), 4 * headDim * inGroup);
    Value to = k.offset(queries, k.mul(row, 4 * headDim));
    channels(headDim, [&](Value channel, int64_t used) {
      Value at = k.mul(channel, 4);
      Value x = k.loadPartial(k.offset(from, at), used);
      k.storePartial(k.mulf(x, k.splatConstant(shape.scale)), k.offset(to, at),
                     used);
    });
    channels(padded, [&](Value channel, int64_t) {
      Value to = k.offset(sums, k.mul(k.add(k.mul(row, padded), channel), 4));
      k.store(k.splatConstant(0), to);
    });
    k.store(k.constantF32(-std::numeric_limits<float>::infinity()),
            k.offset(maxima, k.mul(row, 4)));
    k.store(k.constantF32(0), k.offset(totals, k.mul(row, 4)));
  });

  Value positionsBase = buffer(op.getPositions()).base;
  Value firstPosition = k.extendUnsigned(
      k.load(k.i32, k.offset(positionsBase, k.mul(firstRow, 4))), k.i64);
  Value lastPosition = k.add(firstPosition, k.sub(tokens, k.constant(1)));
  Value pages = k.load(
      k.ptr, k.offset(readSlot(stateSlot() + 1, k.ptr), k.mul(firstRow, 8)));
  Value pageCount = k.add(k.div(lastPosition, pagePositions), 1);
  k.loop(k.constant(0), pageCount, 1, [&](Value page) {
    Value keys = pageAddress(op, pages, page, head);
    Value values = k.offset(keys, headDim * pagePositions * shape.slotBytes());
    emitScores(shape, queries, keys, scores, count);
    Value pageStart = k.mul(page, pagePositions);
    forEachRow([&](Value token, int64_t, Value row) {
      Value at = k.mul(row, 4);
      Value visible = k.sub(k.add(k.add(firstPosition, token), 1), pageStart);
      emitSoftmaxRow(k, k.offset(scores, k.mul(row, 4 * pagePositions)),
                     k.offset(maxima, at), k.offset(totals, at),
                     k.offset(corrections, at), visible);
    });
    Value positions = k.min(k.constant(pagePositions),
                            k.sub(k.add(lastPosition, 1), pageStart));
    emitValues(shape, scores, values, sums, corrections, count, positions);
  });

  forEachRow([&](Value token, int64_t inGroup, Value row) {
    Value to =
        k.offset(output.base, k.mul(k.add(firstRow, token), output.rowBytes));
    to = k.offset(k.offset(to, headColumn), 4 * headDim * inGroup);
    Value total = k.splat(k.load(k.f32, k.offset(totals, k.mul(row, 4))));
    Value from = k.offset(sums, k.mul(row, 4 * padded));
    channels(headDim, [&](Value channel, int64_t used) {
      Value at = k.mul(channel, 4);
      Value sum = k.load(k.vec(k.f32), k.offset(from, at));
      k.storePartial(k.divf(k.addf(sum, k.splatConstant(0)), total),
                     k.offset(to, at), used);
    });
  });
  k.end();
  frame = hostFrame;
  return function;
}

void EntryLowering::emitAttention(AttentionOp op) {
  LLVM::LLVMFuncOp block = attentionKernel(op);
  auto kvHeads = static_cast<int64_t>(op.getNumKvHeads());
  int64_t most = std::max<int64_t>(
      1,
      blockRows / static_cast<int64_t>(op.getNumHeads() / op.getNumKvHeads()));
  // Few rows: small units, so that all threads have work.
  auto unitRows = [&](Value rows) {
    Value medium = k.select(k.less(rows, k.constant(16)), k.constant(1),
                            k.constant(std::min<int64_t>(most, 4)));
    return k.select(k.less(rows, k.constant(128)), medium, k.constant(most));
  };
  auto unitsOf = [&](Value rows, Value perUnit) -> Value {
    return arith::DivUIOp::create(
        k.builder, k.loc, k.sub(k.add(rows, perUnit), k.constant(1)), perUnit);
  };
  Value hostRows = rowCount(op.getResult());
  Value count = k.mul(unitsOf(hostRows, unitRows(hostRows)), kvHeads);
  KernelInfo kernel;
  kernel.name = "attention";
  kernel.f32Operations = 4 * op.getNumHeads() * op.getHeadDim();
  kernel.perPosition = true;
  kernel.rowsSymbol = rowsSymbol(op.getResult());
  parallelFor(kernel, count, [&](Value begin, Value end) {
    Value rows = rowCount(op.getResult());
    Value perUnit = unitRows(rows);
    Value tables = readSlot(stateSlot() + 1, k.ptr);
    k.loop(begin, end, 1, [&](Value unit) {
      Value head = k.rem(unit, kvHeads);
      Value first = k.mul(k.div(unit, kvHeads), perUnit);
      Value last = k.min(k.add(first, perUnit), rows);
      // Blocks of rows that share a page table.
      k.loopWhile(
          ValueRange{first},
          [&](ValueRange state) { return k.less(state[0], last); },
          [&](ValueRange state) {
            auto table = [&](Value row) {
              return k.load(k.i64, k.offset(tables, k.mul(row, 8)));
            };
            Value mine = table(state[0]);
            Value blockEnd = k.loopWhile(
                ValueRange{k.add(state[0], 1)},
                [&](ValueRange inner) {
                  Value inside = k.less(inner[0], last);
                  // Reading one row past the end is avoided by clamping.
                  Value row = k.min(inner[0], k.sub(last, k.constant(1)));
                  return k.select(inside, k.equal(table(row), mine), inside);
                },
                [&](ValueRange inner) {
                  return Values{k.add(inner[0], 1)};
                })[0];
            k.call(block, {frame, state[0], k.sub(blockEnd, state[0]), head});
            return Values{blockEnd};
          });
    });
  });
}

} // namespace chorus
