//===- AttentionKernels.cpp - Attention over paged keys and values --------===//
//
// A dispatch unit is a block of rows times one kv head. Neighbouring rows whose
// tables name the same page form a run: rows of one sequence in prefill, or of
// sequences with a common beginning. All query heads of a run share every load
// of the page. Tables differ from the first page on that is not shared, so the
// runs of a block form a tree, which is walked depth first: a run goes on for
// as many pages as its rows have in common, then it splits. A row's own
// sequence of operations does not depend on the rows beside it
// (docs/NumericContract.md).
//
// Positions are cut into partitions, whose states are joined in ascending
// order. A unit goes through the partitions of its rows one after the other.
// Where there are too few rows for the threads, each partition is a unit, and a
// second dispatch joins their states.
//
//===----------------------------------------------------------------------===//

#include "EntryLowering.h"

#include "chorus/Conversion/TransformerToKernels/TransformerToKernels.h"

#include "llvm/ADT/STLExtras.h"

#include <limits>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

namespace {

constexpr int64_t partitionPositions = partitionPages * pagePositions;

constexpr int64_t cacheLine = 64;

/// Bytes of the scores of one item.
constexpr int64_t scoreBytes = 4 * pagePositions;

/// Units that a thread gets at least where there are rows enough.
constexpr int64_t unitsPerThread = 2;

/// The rows of a block, and what is done with a run of them. The heads of a
/// group stand together.
struct AttentionBlock : AttentionShape {
  KernelBuilder &k;
  Type cacheType;
  float scale;

  // [rows]: state, queries [head_dim] and the row's position + 1 (i64).
  Value maxima, totals, sums, queries, ends;
  // [items], rows fastest: scores [32], then probabilities; the maximum after
  // the page; the factor of what came before; a result of the page alone.
  Value scores, newMaxima, corrections, pageResults;
  Value converted; ///< One head's keys and values of a page as f32.

  AttentionBlock(KernelBuilder &k, AttentionOp op, Type cacheType)
      : AttentionShape(op), k(k), cacheType(cacheType),
        scale(static_cast<float>(op.getScale().convertToDouble())) {}

  /// A run of few rows works on several pages at once: on so many items, which
  /// are pairs of a page and a row.
  int64_t maxItems() const { return std::max(blockRows, maxRows()); }

  void allocate(Value state);
  /// Rows [first, first + count) attend to `pages` pages, the first of which
  /// starts at position `start`. `address` gives the page of an index; `next`
  /// is the page that will be read after these.
  void attend(Value first, Value count, Value pages, Value start,
              function_ref<Value(Value)> address, Value next);

private:
  static int64_t bytesOf(Type element) {
    return element.getIntOrFloatBitWidth() / 8;
  }
  int64_t pageBytes() const; ///< Of one head.
  Value item(Value array, Value index) {
    return k.offset(array, k.mul(index, 4));
  }
  SmallVector<int64_t> tileSizes(int64_t largest) const;
  void convert(Value page, Value next);
  void score(Type type, Value first, Value count, Value keys, Value out,
             Value following);
  void mask(Value first, Value count, Value out, Value start);
  void softmax(Value first, Value count, Value pages);
  void addValues(Type type, Value first, Value count, Value pages, Value start,
                 function_ref<Value(Value)> address,
                 function_ref<Value(Value)> following);
};

void AttentionBlock::allocate(Value state) {
  int64_t rows = maxRows(), items = maxItems();
  maxima = state;
  totals = k.offset(state, totalsOffset());
  sums = k.offset(state, sumsOffset());
  queries = k.scratch(4 * rows * headDim);
  ends = k.scratch(8 * rows);
  // Whole vectors are read and written past the last item.
  scores = k.scratch(scoreBytes * llvm::alignTo(items, lanes));
  newMaxima = k.scratch(4 * (items + lanes));
  corrections = k.scratch(4 * (items + lanes));
  pageResults = k.scratch(4 * (items + lanes));
  if (!cacheType.isF32())
    converted = k.scratch(scoreBytes * (headDim + paddedDim()));
}

/// Tile heights, descending to 1, with the natural one of a decode row.
SmallVector<int64_t> AttentionBlock::tileSizes(int64_t largest) const {
  SmallVector<int64_t> sizes{largest};
  if (group < largest)
    sizes.push_back(group);
  for (int64_t size = largest / 2; size >= 1; size /= 2)
    sizes.push_back(size);
  llvm::sort(sizes, std::greater<>());
  sizes.erase(llvm::unique(sizes), sizes.end());
  return sizes;
}

int64_t AttentionBlock::pageBytes() const {
  return pagePositions * (headDim + paddedDim()) * bytesOf(cacheType);
}

/// Widens a page and prefetches the next one beside it, line by line.
void AttentionBlock::convert(Value page, Value next) {
  int64_t slot = bytesOf(cacheType);
  k.loop(k.constant(0), k.constant(pageBytes()), cacheLine, [&](Value line) {
    Value out = k.offset(converted, k.mul(line, 4 / slot));
    for (int64_t i = 0; i < cacheLine / slot; i += lanes) {
      Value from = k.offset(k.offset(page, line), i * slot);
      k.store(k.widen(k.load(k.vec(cacheType), from)), k.offset(out, 4 * i));
    }
    k.prefetch(k.offset(next, line));
  });
}

/// out[row][32] = queries of `count` rows times the keys of a page. Prefetches
/// the keys of page `following`, if there is one, on the way.
void AttentionBlock::score(Type type, Value first, Value count, Value keys,
                           Value out, Value following) {
  int64_t vectors = k.target.scoreVectors, slot = bytesOf(type);
  int64_t perChannel = llvm::divideCeil(pagePositions * slot, cacheLine);
  Value rowQueries = k.offset(queries, k.mul(first, 4 * headDim));
  k.tiles(count, tileSizes(k.target.scoreRows), [&](Value tile, int64_t rows) {
    Value query = k.offset(rowQueries, k.mul(tile, 4 * headDim));
    Value to = k.offset(out, k.mul(tile, scoreBytes));
    for (int64_t position = 0; position < pagePositions;
         position += vectors * lanes) {
      Values acc =
          k.loop(k.constant(0), k.constant(headDim), 1,
                 Values(rows * vectors, k.splatConstant(0)),
                 [&](Value channel, ValueRange state) {
                   Values next(state);
                   for (int64_t i = 0;
                        following && position == 0 && i < perChannel; ++i) {
                     Value line = k.add(k.mul(channel, perChannel), i);
                     k.prefetch(k.offset(following, k.mul(line, cacheLine)));
                   }
                   Value key = k.offset(keys, k.mul(channel, lanes * slot));
                   Values loaded;
                   for (int64_t v = 0; v < vectors; ++v) {
                     int64_t half =
                         (position / lanes + v) * headDim * lanes * slot;
                     loaded.push_back(
                         k.widen(k.load(k.vec(type), k.offset(key, half))));
                   }
                   for (int64_t row = 0; row < rows; ++row) {
                     Value at = k.offset(k.offset(query, 4 * headDim * row),
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
                  k.offset(to, row * scoreBytes + 4 * (position + v * lanes)));
    }
  });
}

/// Scores of positions that a row does not see become -inf.
void AttentionBlock::mask(Value first, Value count, Value out, Value start) {
  k.loop(k.constant(0), count, 1, [&](Value row) {
    Value end = k.load(k.i64, k.offset(ends, k.mul(k.add(first, row), 8)));
    Value visible = k.sub(end, start);
    k.when(k.less(visible, k.constant(pagePositions)), [&] {
      Value limit = k.splat(k.truncate(visible, k.i32));
      Value lowest = k.splatConstant(-std::numeric_limits<float>::infinity());
      for (int64_t position = 0; position < pagePositions; position += lanes) {
        Value at =
            k.offset(k.offset(out, k.mul(row, scoreBytes)), 4 * position);
        Value index =
            k.add(k.iota(), k.splatConstantI32(static_cast<int32_t>(position)));
        Value x = k.load(k.vec(k.f32), at);
        k.store(k.select(k.less(index, limit), x, lowest), at);
      }
    });
  });
}

/// The online softmax of all items: scores become probabilities, the rows'
/// maxima and totals move on.
void AttentionBlock::softmax(Value first, Value count, Value pages) {
  constexpr int64_t vectors = pagePositions / lanes;
  static_assert(vectors == 2);
  Value zero = k.constant(0), items = k.mul(pages, count);
  Type floats = k.vec(k.f32);
  /// pageResults = a tree over the scores of each item.
  auto reduce = [&](function_ref<Value(Value, Value)> combine,
                    function_ref<Value(const Values &)> trees) {
    int64_t width = k.target.softmaxRows;
    k.loop(zero, items, width, [&](Value at) {
      Values halves;
      for (int64_t i = 0; i < width; ++i) {
        Value from = k.offset(scores, k.mul(k.add(at, i), scoreBytes));
        halves.push_back(combine(k.load(floats, from),
                                 k.load(floats, k.offset(from, 4 * lanes))));
      }
      k.store(trees(halves), item(pageResults, at));
    });
  };
  /// body(page's first item, row): for 16 rows of each page, pages ascending.
  /// Stores of lanes past the page's last row are overwritten by the next page.
  auto forEachRowVector = [&](function_ref<void(Value, Value, Value)> body) {
    k.loop(zero, pages, 1, [&](Value page) {
      k.loop(zero, count, lanes, [&](Value row) {
        Value inside =
            k.less(k.iota(), k.splat(k.truncate(k.sub(count, row), k.i32)));
        body(k.add(k.mul(page, count), row), k.add(first, row), inside);
      });
    });
  };

  reduce([&](Value a, Value b) { return k.maximum(a, b); },
         [&](const Values &halves) { return k.treeMaxima(halves); });
  forEachRowVector([&](Value at, Value row, Value inside) {
    Value maximum = item(maxima, row);
    Value before = k.load(floats, maximum);
    Value now = k.maximum(before, k.load(floats, item(pageResults, at)));
    k.store(now, item(newMaxima, at));
    k.store(k.subf(before, now), item(corrections, at));
    k.store(k.select(inside, now, before), maximum);
  });
  k.loop(zero, items, lanes, [&](Value at) {
    Value correction = item(corrections, at);
    k.store(k.expNonPositive(k.load(floats, correction)), correction);
  });
  k.loop(zero, items, 1, [&](Value at) {
    Value now = k.splat(k.load(k.f32, item(newMaxima, at)));
    Value from = k.offset(scores, k.mul(at, scoreBytes));
    for (int64_t v = 0; v < vectors; ++v) {
      Value score = k.offset(from, 4 * v * lanes);
      k.store(k.expNonPositive(k.subf(k.load(floats, score), now)), score);
    }
  });
  reduce([&](Value a, Value b) { return k.addf(a, b); },
         [&](const Values &halves) { return k.treeSums(halves); });
  forEachRowVector([&](Value at, Value row, Value inside) {
    Value total = item(totals, row);
    Value before = k.load(floats, total);
    Value now = k.fma(before, k.load(floats, item(corrections, at)),
                      k.load(floats, item(pageResults, at)));
    k.store(k.select(inside, now, before), total);
  });
}

/// sums[row][channels] = sums * correction + probabilities times values, page
/// by page, for the positions that a row of the tile sees. Prefetches the
/// values of page `following(page)`, if there is one, on the way.
void AttentionBlock::addValues(Type type, Value first, Value count, Value pages,
                               Value start, function_ref<Value(Value)> address,
                               function_ref<Value(Value)> following) {
  int64_t padded = paddedDim(), all = padded / lanes, slot = bytesOf(type);
  int64_t perPosition = llvm::divideCeil(padded * slot, cacheLine);
  k.tiles(count, tileSizes(k.target.valueRows), [&](Value tile, int64_t rows) {
    Value out = k.offset(sums, k.mul(k.add(first, tile), 4 * padded));
    Value end;
    for (int64_t row = 0; row < rows; ++row) {
      Value at = k.add(k.add(first, tile), row);
      Value mine = k.load(k.i64, k.offset(ends, k.mul(at, 8)));
      end = end ? k.max(end, mine) : mine;
    }
    for (int64_t vector = 0; vector < all; vector += k.target.valueVectors) {
      int64_t width = std::min(k.target.valueVectors, all - vector);
      auto at = [&](int64_t row, int64_t v) {
        return k.offset(out, 4 * (row * padded + (vector + v) * lanes));
      };
      Values acc;
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t v = 0; v < width; ++v)
          acc.push_back(k.load(k.vec(k.f32), at(row, v)));
      acc = k.loop(
          k.constant(0), pages, 1, acc, [&](Value page, ValueRange state) {
            Value firstItem = k.add(k.mul(page, count), tile);
            Value p = k.offset(scores, k.mul(firstItem, scoreBytes));
            Value values =
                k.offset(address(page), headDim * pagePositions * slot);
            Values scaled(state);
            for (int64_t row = 0; row < rows; ++row) {
              Value factor = k.splat(k.load(
                  k.f32, k.offset(item(corrections, firstItem), 4 * row)));
              for (int64_t v = 0; v < width; ++v)
                scaled[row * width + v] =
                    k.mulf(scaled[row * width + v], factor);
            }
            Value upcoming = following(page);
            if (upcoming)
              upcoming = k.offset(upcoming, headDim * pagePositions * slot);
            Value pageStart = k.add(start, k.mul(page, pagePositions));
            Value positions =
                k.min(k.sub(end, pageStart), k.constant(pagePositions));
            return k.loop(
                k.constant(0), positions, 1, scaled,
                [&](Value position, ValueRange inner) {
                  Values next(inner);
                  Value ofPosition = k.mul(position, padded * slot);
                  Value from = k.offset(values, ofPosition);
                  for (int64_t i = 0;
                       upcoming && vector == 0 && i < perPosition; ++i)
                    k.prefetch(k.offset(k.offset(upcoming, ofPosition),
                                        i * cacheLine));
                  Values loaded;
                  for (int64_t v = 0; v < width; ++v)
                    loaded.push_back(k.widen(
                        k.load(k.vec(type),
                               k.offset(from, (vector + v) * lanes * slot))));
                  for (int64_t row = 0; row < rows; ++row) {
                    Value weight = k.splat(
                        k.load(k.f32, k.offset(k.offset(p, scoreBytes * row),
                                               k.mul(position, 4))));
                    for (int64_t v = 0; v < width; ++v)
                      next[row * width + v] =
                          k.fma(weight, loaded[v], next[row * width + v]);
                  }
                  return next;
                });
          });
      for (int64_t row = 0; row < rows; ++row)
        for (int64_t v = 0; v < width; ++v)
          k.store(acc[row * width + v], at(row, v));
    }
  });
}

void AttentionBlock::attend(Value first, Value count, Value pages, Value start,
                            function_ref<Value(Value)> address, Value next) {
  auto scoreAll = [&](Type type, function_ref<Value(Value)> from,
                      function_ref<Value(Value)> following) {
    k.loop(k.constant(0), pages, 1, [&](Value page) {
      Value out = k.offset(scores, k.mul(k.mul(page, count), scoreBytes));
      score(type, first, count, from(page), out, following(page));
      mask(first, count, out, k.add(start, k.mul(page, pagePositions)));
    });
  };
  auto pageAfter = [&](Value page) {
    Value index = k.add(page, 1);
    return k.choose(
        k.less(index, pages), {k.ptr}, [&] { return Values{address(index)}; },
        [&] { return Values{next}; })[0];
  };
  auto scoreDirectly = [&] { scoreAll(cacheType, address, pageAfter); };
  auto addDirectly = [&] {
    addValues(cacheType, first, count, pages, start, address, pageAfter);
  };
  if (cacheType.isF32()) {
    scoreDirectly();
    softmax(first, count, pages);
    addDirectly();
    return;
  }
  // Many rows: one page, which is widened once. Few: on each load.
  auto widened = [&](Value) { return converted; };
  Value few = k.less(count, k.constant(k.target.widenRows));
  k.when(few, scoreDirectly, [&] {
    convert(address(k.constant(0)), next);
    scoreAll(k.f32, widened, [](Value) { return Value(); });
  });
  softmax(first, count, pages);
  k.when(few, addDirectly, [&] {
    addValues(k.f32, first, count, pages, start, widened,
              [](Value) { return Value(); });
  });
}

} // namespace

static Value positionOf(KernelBuilder &k, Value positions, Value row) {
  return k.extendUnsigned(k.load(k.i32, k.offset(positions, k.mul(row, 4))),
                          k.i64);
}

static void
forEachRow(KernelBuilder &k, const AttentionShape &shape, Value tokens,
           function_ref<void(Value token, Value inGroup, Value row)> body) {
  k.loop(k.constant(0), tokens, 1, [&](Value token) {
    k.loop(k.constant(0), k.constant(shape.group), 1, [&](Value inGroup) {
      body(token, inGroup, k.add(k.mul(token, shape.group), inGroup));
    });
  });
}

/// partition(frame, first row, rows, kv head, partition, state): the rows'
/// state after the positions of one partition.
LLVM::LLVMFuncOp EntryLowering::attentionPartition(AttentionOp op) {
  AttentionBlock block(k, op, plan.info.states[0].elementType);
  std::string name =
      (plan.info.name + "." + Twine(dispatchNumber++) + ".attention_partition")
          .str();
  Value hostFrame = frame;
  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.i64, k.i64, k.i64, k.i64, k.ptr});
  frame = function.getArgument(0);
  Value firstRow = function.getArgument(1), tokens = function.getArgument(2),
        head = function.getArgument(3);
  Value firstPage = k.mul(function.getArgument(4), partitionPages);
  int64_t headDim = block.headDim, padded = block.paddedDim(),
          group = block.group;
  block.allocate(function.getArgument(5));
  Value pagesDone = k.scratch(8 * block.maxTokens());
  Value headColumn = k.mul(head, 4 * group * headDim);

  RowBuffer query = buffer(op.getQuery());
  Value positions =
      k.offset(buffer(op.getPositions()).base, k.mul(firstRow, 4));
  Value tables = k.offset(readSlot(stateSlot() + 1, k.ptr), k.mul(firstRow, 8));

  // Queries, scaled once; empty sums.
  forEachRow(k, block, tokens, [&](Value token, Value inGroup, Value row) {
    Value from =
        k.offset(query.base, k.mul(k.add(firstRow, token), query.rowBytes));
    from = k.offset(k.offset(from, headColumn), k.mul(inGroup, 4 * headDim));
    Value to = k.offset(block.queries, k.mul(row, 4 * headDim));
    channels(headDim, [&](Value channel, int64_t used) {
      Value at = k.mul(channel, 4);
      Value x = k.loadPartial(k.offset(from, at), used);
      k.storePartial(k.mulf(x, k.splatConstant(block.scale)), k.offset(to, at),
                     used);
    });
    channels(padded, [&](Value channel, int64_t) {
      Value to =
          k.offset(block.sums, k.mul(k.add(k.mul(row, padded), channel), 4));
      k.store(k.splatConstant(0), to);
    });
    k.store(k.constantF32(-std::numeric_limits<float>::infinity()),
            k.offset(block.maxima, k.mul(row, 4)));
    k.store(k.constantF32(0), k.offset(block.totals, k.mul(row, 4)));
    k.store(k.add(positionOf(k, positions, token), 1),
            k.offset(block.ends, k.mul(row, 8)));
    k.store(firstPage, k.offset(pagesDone, k.mul(token, 8)));
  });

  auto tableOf = [&](Value token) {
    return k.load(k.ptr, k.offset(tables, k.mul(token, 8)));
  };
  /// That the row sees up to the partition's end.
  auto pagesOf = [&](Value token) {
    return k.min(
        k.add(k.div(positionOf(k, positions, token), pagePositions), 1),
        k.add(firstPage, partitionPages));
  };
  auto doneOf = [&](Value token) {
    return k.load(k.i64, k.offset(pagesDone, k.mul(token, 8)));
  };
  auto pageId = [&](Value token, Value page) {
    return k.load(k.i32, k.offset(tableOf(token), k.mul(page, 4)));
  };
  /// Pages [page, pageEnd) of the run that starts at `token`.
  auto run = [&](Value token, Value page) {
    Value next = k.add(token, 1);
    auto table = [&](Value other) {
      return k.load(k.i64, k.offset(tables, k.mul(other, 8)));
    };
    Value mine = table(token), id = pageId(token, page);
    Value sequenceEnd = k.skipWhile(
        next, tokens, [&](Value other) { return k.equal(table(other), mine); });
    Value sharedEnd = k.skipWhile(sequenceEnd, tokens, [&](Value other) {
      Value open =
          k.bitAnd(k.less(page, pagesOf(other)), k.equal(doneOf(other), page));
      return k.both(open, [&] { return k.equal(pageId(other, page), id); });
    });
    Value worthwhile = k.lessOrEqual(readSlot(stateSlot() + 2, k.i64),
                                     k.sub(sharedEnd, token));
    Value end = k.select(worthwhile, sharedEnd, sequenceEnd);
    auto mark = [&](StringRef kind) {
      k.markEntered(readSlot(enteredSlot, k.ptr),
                    k.kernelNumber(("attention." + kind).str()));
    };
    k.when(
        k.less(sequenceEnd, end), [&] { mark("shared"); },
        [&] {
          k.when(
              k.less(next, end), [&] { mark("prefill"); },
              [&] { mark("single"); });
        });
    Value count = k.mul(k.sub(end, token), group);
    // As many pages as all rows have in common and are worked on at once.
    Value most =
        k.max(k.div(k.constant(block.maxItems()), count), k.constant(1));
    Value pageEnd =
        k.skipWhile(k.add(page, 1), k.min(k.add(page, most), pagesOf(token)),
                    [&](Value further) {
                      Value furtherId = pageId(token, further);
                      Value same = k.skipWhile(next, end, [&](Value other) {
                        return k.both(k.less(further, pagesOf(other)), [&] {
                          return k.equal(pageId(other, further), furtherId);
                        });
                      });
                      return k.equal(same, end);
                    });
    Value pages = tableOf(token);
    // What is read next: a further page, or one of the next row.
    Value open = k.less(pageEnd, pagesOf(token));
    Value nextToken =
        k.select(open, token, k.min(end, k.sub(tokens, k.constant(1))));
    Value nextPage = k.min(k.select(open, pageEnd, doneOf(nextToken)),
                           k.sub(pagesOf(nextToken), k.constant(1)));
    block.attend(
        k.mul(token, group), count, k.sub(pageEnd, page),
        k.mul(page, pagePositions),
        [&](Value index) {
          return pageAddress(op, pages, k.add(page, index), head);
        },
        pageAddress(op, tableOf(nextToken), nextPage, head));
    k.loop(token, end, 1, [&](Value other) {
      k.store(pageEnd, k.offset(pagesDone, k.mul(other, 8)));
    });
  };
  // From the first row that has not seen all of its pages.
  k.loopWhile(
      ValueRange{k.constant(0)},
      [&](ValueRange state) { return k.less(state[0], tokens); },
      [&](ValueRange state) {
        Value token = state[0], page = doneOf(token);
        Value open = k.less(page, pagesOf(token));
        k.when(open, [&] { run(token, page); });
        return Values{k.select(open, token, k.add(token, 1))};
      });

  k.end();
  frame = hostFrame;
  return function;
}

/// Partitions that the longest of these rows sees.
Value EntryLowering::partitionCount(AttentionOp op, Value firstRow,
                                    Value tokens) {
  Value positions =
      k.offset(buffer(op.getPositions()).base, k.mul(firstRow, 4));
  Value last =
      k.loop(k.constant(0), tokens, 1, ValueRange{k.constant(0)},
             [&](Value token, ValueRange state) {
               return Values{k.max(state[0], positionOf(k, positions, token))};
             })[0];
  return k.add(k.div(last, partitionPositions), 1);
}

/// Joins the partitions' states, ascending, in the first one, and writes the
/// rows' results. stateOf(partition) may compute the state.
void EntryLowering::joinPartitions(AttentionOp op, Value firstRow, Value tokens,
                                   Value head,
                                   function_ref<Value(Value)> stateOf) {
  AttentionShape shape(op);
  Value positions =
      k.offset(buffer(op.getPositions()).base, k.mul(firstRow, 4));
  auto sumsOf = [&](Value state, Value row) {
    return k.offset(k.offset(state, shape.sumsOffset()),
                    k.mul(row, 4 * shape.paddedDim()));
  };
  Value joined = stateOf(k.constant(0));
  k.loop(k.constant(1), partitionCount(op, firstRow, tokens), 1,
         [&](Value number) {
           Value state = stateOf(number);
           Value start = k.mul(number, partitionPositions);
           forEachRow(k, shape, tokens, [&](Value token, Value, Value row) {
             k.when(k.lessOrEqual(start, positionOf(k, positions, token)), [&] {
               Value maximum = k.offset(joined, k.mul(row, 4));
               Value total = k.offset(maximum, shape.totalsOffset());
               Value other = k.offset(state, k.mul(row, 4));
               Value otherTotal = k.offset(other, shape.totalsOffset());
               auto load = [&](Value at) { return k.splat(k.load(k.f32, at)); };
               Value before = load(maximum), its = load(other);
               Value now = k.maximum(before, its);
               Value factor = k.expNonPositive(k.subf(before, now));
               Value itsFactor = k.expNonPositive(k.subf(its, now));
               auto join = [&](Value mine, Value others) {
                 return k.fma(mine, factor, k.mulf(others, itsFactor));
               };
               k.store(k.extract(now, 0), maximum);
               k.store(k.extract(join(load(total), load(otherTotal)), 0),
                       total);
               Value sums = sumsOf(joined, row), otherSums = sumsOf(state, row);
               channels(shape.paddedDim(), [&](Value channel, int64_t) {
                 Value at = k.mul(channel, 4), to = k.offset(sums, at);
                 Value others = k.load(k.vec(k.f32), k.offset(otherSums, at));
                 k.store(join(k.load(k.vec(k.f32), to), others), to);
               });
             });
           });
         });

  RowBuffer output = buffer(op.getResult());
  Value headColumn = k.mul(head, 4 * shape.group * shape.headDim);
  forEachRow(k, shape, tokens, [&](Value token, Value inGroup, Value row) {
    Value to =
        k.offset(output.base, k.mul(k.add(firstRow, token), output.rowBytes));
    to = k.offset(k.offset(to, headColumn), k.mul(inGroup, 4 * shape.headDim));
    Value from = sumsOf(joined, row);
    Value total =
        k.offset(k.offset(joined, shape.totalsOffset()), k.mul(row, 4));
    total = k.splat(k.load(k.f32, total));
    channels(shape.headDim, [&](Value channel, int64_t used) {
      Value at = k.mul(channel, 4);
      Value sum = k.load(k.vec(k.f32), k.offset(from, at));
      k.storePartial(k.divf(k.addf(sum, k.splatConstant(0)), total),
                     k.offset(to, at), used);
    });
  });
}

/// block(frame, first row, rows, kv head): all partitions of the rows.
LLVM::LLVMFuncOp EntryLowering::attentionBlock(AttentionOp op,
                                               LLVM::LLVMFuncOp partition) {
  AttentionShape shape(op);
  std::string name =
      (plan.info.name + "." + Twine(dispatchNumber++) + ".attention_block")
          .str();
  Value hostFrame = frame;
  LLVM::LLVMFuncOp function = k.begin(name, {k.ptr, k.i64, k.i64, k.i64});
  frame = function.getArgument(0);
  Value firstRow = function.getArgument(1), tokens = function.getArgument(2),
        head = function.getArgument(3);
  int64_t bytes = shape.stateBytes(shape.maxRows());
  Value first = k.scratch(bytes), further = k.scratch(bytes);
  joinPartitions(op, firstRow, tokens, head, [&](Value number) {
    Value state = k.select(k.equal(number, k.constant(0)), first, further);
    k.call(partition, {frame, firstRow, tokens, head, number, state});
    return state;
  });
  k.end();
  frame = hostFrame;
  return function;
}

void EntryLowering::emitAttention(AttentionOp op) {
  AttentionShape shape(op);
  LLVM::LLVMFuncOp partition = attentionPartition(op);
  LLVM::LLVMFuncOp block = attentionBlock(op, partition);
  auto kvHeads = static_cast<int64_t>(op.getNumKvHeads());
  // Blocks of equal size: at least as many as give each thread its units, and
  // so many that all threads get the same number of units.
  auto blocksFor = [&](Value rows) {
    auto ceilDiv = [&](Value a, int64_t b) {
      return k.div(k.add(a, b - 1), b);
    };
    Value threads = readSlot(threadsSlot, k.i64);
    Value least = k.max(ceilDiv(rows, shape.maxTokens()),
                        ceilDiv(k.mul(threads, unitsPerThread), kvHeads));
    Value even = k.skipWhile(least, k.add(least, threads), [&](Value blocks) {
      return k.less(k.constant(0), k.rem(k.mul(blocks, kvHeads), threads));
    });
    return k.min(even, rows);
  };
  auto stateOf = [&](Value row, Value head, Value number) {
    Value states = readSlot(
        placementSlot({Placement::Kind::Arena, plan.partitionStates}), k.ptr);
    Value spread = readSlot(spreadSlot, k.i64);
    Value index =
        k.add(k.mul(k.add(k.mul(row, kvHeads), head), spread), number);
    return k.offset(states, k.mul(index, shape.stateBytes(shape.group)));
  };

  // Rows that are too few for the threads are blocks of their own; then their
  // partitions are units, as far as there is memory for the states.
  Value rows = rowCount(op.getResult()), one = k.constant(1);
  Value threads = readSlot(threadsSlot, k.i64);
  Value few = k.less(k.mul(rows, kvHeads), k.mul(threads, unitsPerThread));
  Value spread = k.choose(
      few, {k.i64},
      [&] {
        Value count = partitionCount(op, k.constant(0), rows);
        Value fits =
            k.lessOrEqual(k.mul(count, rows), k.constant(maxSpreadPartitions));
        return Values{k.select(fits, count, one)};
      },
      [&] { return Values{one}; })[0];
  writeSlot(spreadSlot, spread);

  KernelInfo kernel;
  kernel.name = "attention";
  kernel.f32Operations = 4 * op.getNumHeads() * op.getHeadDim();
  kernel.perPosition = true;
  kernel.rowsSymbol = rowsSymbol(op.getResult());
  Value count = k.mul(k.mul(blocksFor(rows), kvHeads), spread);
  parallelFor(kernel, count, [&](Value begin, Value end) {
    Value rows = rowCount(op.getResult()), blocks = blocksFor(rows);
    Value spread = readSlot(spreadSlot, k.i64);
    auto start = [&](Value number) {
      return k.div(k.mul(number, rows), blocks);
    };
    k.loop(begin, end, 1, [&](Value unit) {
      Value pair = k.div(unit, spread), head = k.rem(pair, kvHeads);
      Value number = k.div(pair, kvHeads), first = start(number);
      Value tokens = k.sub(start(k.add(number, 1)), first);
      k.when(
          k.equal(spread, k.constant(1)),
          [&] { k.call(block, {frame, first, tokens, head}); },
          [&] {
            Value partitionNumber = k.rem(unit, spread);
            k.call(partition, {frame, first, tokens, head, partitionNumber,
                               stateOf(first, head, partitionNumber)});
          });
    });
  });
  k.when(k.less(one, spread), [&] {
    kernel.name = "attention_join";
    kernel.f32Operations = 0;
    parallelFor(kernel, k.mul(rows, kvHeads), [&](Value begin, Value end) {
      k.loop(begin, end, 1, [&](Value unit) {
        Value row = k.div(unit, kvHeads), head = k.rem(unit, kvHeads);
        joinPartitions(op, row, k.constant(1), head, [&](Value number) {
          return stateOf(row, head, number);
        });
      });
    });
  });
}

} // namespace chorus
