//===- AMXKernels.cpp - Products of many rows on AMX tiles ----------------===//
//
// A tile product makes the integer sums of one block for up to 16 rows and the
// 16 outputs of a panel. The scale work on them is done on vectors, as
// elsewhere, and takes more than twice as long. So sums are handed over through
// a small buffer, long after they were made:
//
//   block b:  load, store the sums of b - 2, multiply; scale those of b - 3
//
// Two tiles of sums are in rotation; a loop does two blocks, so that each stays
// in its register. Setting up the tile registers costs as much as three blocks:
// a function does all tiles of its shape.
//
//===----------------------------------------------------------------------===//

#include "ProductKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

namespace {

/// Tiles of one shape over one chunk of blocks. Addresses are of the current
/// tile's first row and of the current panel.
class AMXTile {
public:
  AMXTile(const Product &p, int64_t rows)
      : p(p), k(p.k), rows(rows), buffer(k.scratch(bufferBytes(p))) {}

  Value input, weights;

  /// The integer sums of a block, a tile for each term.
  Values multiply(Value block, function_ref<void()> beforeProducts) {
    Value panel = load(8, 64, k.offset(weights, blockOffset(block)),
                       /*rowBytes=*/64 * p.panels);
    Values values;
    Value from = activations(block);
    for (int64_t term = 0; term < p.terms; ++term)
      values.push_back(load(rows, blockSize, k.offset(from, layout.term(term)),
                            p.inputRowBytes()));
    beforeProducts();
    Values tiles;
    for (Value each : values) {
      Value zero = k.intrinsic("llvm.x86.tilezero.internal", tileType(),
                               {size(rows), size(64)});
      tiles.push_back(k.intrinsic(
          "llvm.x86.tdpbssd.internal", tileType(),
          {size(rows), size(64), size(blockSize), zero, each, panel}));
    }
    return tiles;
  }

  void store(Value block, ValueRange tiles) {
    Value to = slot(block);
    for (auto [term, tile] : llvm::enumerate(tiles))
      k.intrinsic("llvm.x86.tilestored64.internal", nullptr,
                  {size(rows), size(64), k.offset(to, termBytes * term),
                   k.constant(64), tile});
  }

  /// Adds the stored sums of a block to acc[row], as the numeric contract says.
  void scale(Value block, Values &acc) {
    Value unit = k.offset(weights, blockOffset(block));
    auto weightFloats = [&](int64_t at) {
      return k.load(k.vec(k.f32), k.offset(unit, at));
    };
    Scratch scratch{p};
    Value d = weightFloats(scratch.scale(0));
    Value negated = p.terms == 1 ? weightFloats(scratch.negated(0)) : Value();
    Value minimum = p.hasMinimum() ? weightFloats(scratch.minimum(0)) : Value();
    Value stored = slot(block), values = activations(block);
    auto rowFloat = [&](int64_t row, int64_t at) {
      return k.splat(
          k.load(k.f32, k.offset(values, row * p.inputRowBytes() + at)));
    };
    for (int64_t row = 0; row < rows; ++row) {
      auto integers = [&](int64_t term) {
        return k.load(k.vec(k.i32),
                      k.offset(stored, termBytes * term + 64 * row));
      };
      Value t;
      if (p.terms == 1) {
        Value bits = k.add(integers(0), k.splatConstantI32(magicBits));
        t = k.fma(k.bitcast(bits, k.vec(k.f32)), d, negated);
      } else {
        Value sum = integers(0);
        for (int64_t term = 1; term < p.terms; ++term)
          sum = k.add(k.shiftLeft(sum, k.splatConstantI32(8)), integers(term));
        t = k.mulf(k.toFloat(sum), d);
      }
      acc[row] = k.fma(t, rowFloat(row, layout.scale(p.terms)), acc[row]);
      if (minimum)
        acc[row] =
            k.fma(minimum, rowFloat(row, layout.scaledSum(p.terms)), acc[row]);
    }
  }

  /// Sums of so many blocks wait in the buffer.
  static constexpr int64_t slots = 4;
  static int64_t bufferBytes(const Product &p) {
    return slots * termBytes * p.terms;
  }

private:
  Type tileType() { return LLVM::LLVMX86AMXType::get(k.builder.getContext()); }
  /// Rows of a tile or bytes of its rows.
  Value size(int64_t value) {
    return arith::ConstantOp::create(k.builder, k.loc, k.i16,
                                     k.builder.getI16IntegerAttr(value));
  }
  Value load(int64_t tileRows, int64_t bytes, Value address, int64_t rowBytes) {
    return k.intrinsic(
        "llvm.x86.tileloadd64.internal", tileType(),
        {size(tileRows), size(bytes), address, k.constant(rowBytes)});
  }
  Value blockOffset(Value block) {
    return k.mul(block, Scratch{p}.blockBytes());
  }
  /// The first row's.
  Value activations(Value block) {
    return k.offset(input, k.mul(block, layout.bytes()));
  }
  /// Where the sums of a block are stored, [terms][rows][16] i32.
  Value slot(Value block) {
    return k.offset(buffer, k.mul(k.bitAnd(block, k.constant(slots - 1)),
                                  termBytes * p.terms));
  }
  static constexpr int64_t termBytes = 1024;

  const Product &p;
  KernelBuilder &k;
  int64_t rows;
  Value buffer;
  ActivationBlock layout{p.inputTerms};
};

} // namespace

LLVM::LLVMFuncOp amxTiles(const Product &p, int64_t rows, int64_t blocks) {
  KernelBuilder &k = p.k;
  std::string name = p.name("amx") + ".b" + std::to_string(blocks) + ".r" +
                     std::to_string(rows);
  if (LLVM::LLVMFuncOp known = k.lookup(name))
    return known;
  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.ptr, k.ptr, k.i64, k.ptr, k.i64, k.i64, k.i64,
                     k.ptr, k.i64});
  // All tile registers of a function are configured at once.
  function.setNoInline(true);
  Value input = function.getArgument(0), scratch = function.getArgument(1),
        output = function.getArgument(2), outputBytes = function.getArgument(3),
        residual = function.getArgument(4),
        residualBytes = function.getArgument(5),
        stage = function.getArgument(6), count = function.getArgument(7),
        next = function.getArgument(8), firstTile = function.getArgument(9);
  AMXTile tile(p, rows);

  auto addPanel = [&](Value number, Value panel, Value toRow) {
    auto fromRow = [&](Value base, Value rowBytes) {
      return k.offset(base, k.mul(toRow, rowBytes));
    };
    Value column = k.mul(panel, 64);
    tile.input = fromRow(input, k.constant(p.inputRowBytes()));
    tile.weights = k.offset(scratch, column);
    TileSums results{p,
                     rows,
                     /*panels=*/1,
                     k.offset(fromRow(output, outputBytes), column),
                     outputBytes,
                     k.offset(fromRow(residual, residualBytes), column),
                     residualBytes,
                     stage};
    LinesAhead ahead = linesAhead(p, next, number, blocks, scratch);

    // State: sums of a row each, then tiles of the last two blocks.
    Values acc = results.load(), older, newer;
    auto step = [&](Value block) {
      ahead.prefetch(p, block);
      Values tiles = tile.multiply(block, [&] {
        if (!older.empty())
          tile.store(k.add(block, -2), older);
      });
      older = std::move(newer);
      newer = std::move(tiles);
    };
    // The first blocks fill the pipeline.
    constexpr int64_t lag = 3;
    for (int64_t block = 0; block < std::min(lag, blocks); ++block)
      step(k.constant(block));
    auto state = [&] {
      Values all = acc;
      all.append(older);
      all.append(newer);
      return all;
    };
    auto setState = [&](ValueRange all) {
      acc = Values(all.take_front(rows));
      older = Values(all.slice(rows, p.terms));
      newer = Values(all.take_back(p.terms));
    };
    auto stepAndScale = [&](Value block) {
      step(block);
      tile.scale(k.add(block, -lag), acc);
    };
    int64_t scaled = std::max<int64_t>(0, blocks - lag) / 2 * 2;
    if (scaled)
      setState(k.loop(k.constant(lag), k.constant(lag + scaled), 2, state(),
                      [&](Value block, ValueRange from) {
                        setState(from);
                        stepAndScale(block);
                        stepAndScale(k.add(block, 1));
                        return state();
                      }));
    // At most as many blocks are left to be scaled as there are slots.
    static_assert(lag + 1 <= AMXTile::slots);
    for (int64_t block = lag + scaled; block < blocks; ++block)
      step(k.constant(block));
    if (!older.empty())
      tile.store(k.constant(blocks - 2), older);
    tile.store(k.constant(blocks - 1), newer);
    acc = k.loop(k.constant(scaled), k.constant(blocks), 1, acc,
                 [&](Value block, ValueRange from) {
                   Values last(from);
                   tile.scale(block, last);
                   return last;
                 });
    results.store(acc);
  };

  k.loop(k.constant(0), count, 1, [&](Value index) {
    k.loop(k.constant(0), k.constant(p.panels), 1, [&](Value panel) {
      Value number = k.add(k.mul(k.add(firstTile, index), p.panels), panel);
      addPanel(number, panel, k.mul(index, rows));
    });
  });
  k.end();
  return function;
}

} // namespace chorus
