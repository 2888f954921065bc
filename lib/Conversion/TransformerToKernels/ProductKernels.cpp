//===- ProductKernels.cpp - Rows times packed weights ---------------------===//
//
// A product function handles all rows for one group of neighbouring panels, so
// that a thread reads one stream of weights. Its parts:
//
// - few rows: weights are unpacked in registers, one panel at a time;
// - more rows, blocks of int8 or int4: a chunk of blocks is unpacked to a
//   scratch that stays in L1, then tiles of rows run over it, on vectors or,
//   many rows where there is AMX, on its tile registers (AMXKernels.cpp);
// - f32 activations: tiles of rows, weights dequantised on load.
//
// All of them do the operations of docs/NumericContract.md in its order.
//
//===----------------------------------------------------------------------===//

#include "ProductKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

#include <limits>
#include <map>
#include <set>

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

//===----------------------------------------------------------------------===//
// What parts share
//===----------------------------------------------------------------------===//

int64_t Product::inputRowBytes() const {
  Type element =
      terms ? Type(ActQ8Type::get(k.builder.getContext(), inputTerms)) : k.f32;
  return rowBytesOf(RankedTensorType::get({1, width}, element));
}

std::string Product::name(StringRef part) const {
  std::string text;
  llvm::raw_string_ostream out(text);
  out << part << ".";
  out << nameOf(weightType) << (terms ? ".int8" : ".f32");
  if (inputTerms > 1)
    out << "x" << terms << "of" << inputTerms;
  out << ".k" << width << ".p" << panels << ".t" << tail;
  if (residual)
    out << ".plus";
  return text;
}

int64_t Scratch::chunkBlocks() const {
  int64_t fit = std::max<int64_t>(1, p.k.target.intScratchBytes / blockBytes());
  int64_t chunks = llvm::divideCeil(p.blocks(), fit);
  return llvm::divideCeil(p.blocks(), chunks);
}

/// Adds the residual, if any, and stores one row of one panel.
static void storeRow(const Product &p, Value acc, Value output, Value residual,
                     int64_t columns) {
  if (p.residual)
    acc = p.k.addf(acc, p.k.loadPartial(residual, columns));
  p.k.storePartial(acc, output, columns);
}

Value TileSums::at(Value base, Value rowBytes, int64_t row,
                   int64_t panel) const {
  return p.k.offset(p.k.offset(base, p.k.mul(rowBytes, row)), 64 * panel);
}

Values TileSums::load() const {
  KernelBuilder &k = p.k;
  auto zeros = [&] { return Values(rows * panels, k.splatConstant(0)); };
  if (oneChunk())
    return zeros();
  return k.choose(k.equal(k.bitAnd(stage, k.constant(1)), k.constant(1)),
                  SmallVector<Type>(rows * panels, k.vec(k.f32)), zeros, [&] {
                    Values loaded;
                    for (int64_t row = 0; row < rows; ++row)
                      for (int64_t panel = 0; panel < panels; ++panel)
                        loaded.push_back(
                            k.loadPartial(at(output, outputBytes, row, panel),
                                          columns(panel)));
                    return loaded;
                  });
}

void TileSums::prefetch() const {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t panel = 0; panel < panels; ++panel) {
      p.k.prefetchToWrite(at(output, outputBytes, row, panel));
      if (p.residual)
        p.k.prefetch(at(residual, residualBytes, row, panel));
    }
}

void TileSums::storeAs(const Values &sums, bool results) const {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value sum = sums[row * panels + panel];
      Value to = at(output, outputBytes, row, panel);
      if (results)
        storeRow(p, sum, to, at(residual, residualBytes, row, panel),
                 columns(panel));
      else
        p.k.storePartial(sum, to, columns(panel));
    }
}

void TileSums::store(const Values &sums) const {
  KernelBuilder &k = p.k;
  if (oneChunk() || !p.residual)
    return storeAs(sums, oneChunk());
  k.when(
      k.equal(k.bitAnd(stage, k.constant(2)), k.constant(2)),
      [&] { storeAs(sums, true); }, [&] { storeAs(sums, false); });
}

LinesAhead linesAhead(const Product &p, Value next, Value tile, int64_t blocks,
                      Value scratch) {
  KernelBuilder &k = p.k;
  int64_t bytes = 64 * k.target.linesAhead; // A tile's in a block.
  Value inside = k.less(
      tile, k.constant(llvm::divideCeil(panelBlockBytes(p.weightType), bytes)));
  Value first = k.offset(next, k.mul(tile, bytes * blocks));
  return {k.select(inside, first, scratch),
          k.select(inside, k.constant(64), k.constant(0))};
}

void LinesAhead::prefetch(const Product &p, Value block) const {
  KernelBuilder &k = p.k;
  int64_t count = k.target.linesAhead;
  for (int64_t panel = 0; panel < p.panels; ++panel)
    for (int64_t i = 0; i < count; ++i) {
      Value line = k.mul(k.add(k.mul(block, count), i), step);
      k.prefetch(k.offset(k.offset(first, line),
                          panel * panelBytes(p.weightType, p.width)));
    }
}

namespace {

//===----------------------------------------------------------------------===//
// Integer sums of one block
//===----------------------------------------------------------------------===//

/// Sums of one row with 16 outputs over one block, on the target's dot
/// instruction. Weights come as unsigned bytes [16 outputs][4 values] a group.
/// The terms of an activation are digits to the base 256, highest first.
class BlockSum {
public:
  BlockSum(const Product &p) : p(p), k(p.k) {}

  /// Parts in which a group of 64 weight bytes is held.
  int64_t parts() const { return k.target.vnni ? 1 : 2; }
  VectorType partType() const { return k.vec(k.i8, 64 / parts()); }

  /// Whether sums are converted to f32 by starting from the bits of C: sums of
  /// one term are small enough.
  bool usesMagic() const { return k.target.vnni && p.terms == 1; }

  /// `sum`: the row's sum of activations in the block, i32.
  Values start(Value sum) {
    if (!usesMagic())
      return startAgain();
    if (!p.format->zeroPoint)
      return {k.splatConstantI32(magicBits)};
    return {k.sub(k.splatConstantI32(magicBits), zeroPointTimes(sum))};
  }

  /// A second chain of the same sum, to be added by `merge`.
  Values startAgain() {
    if (k.target.vnni)
      return {k.splatConstantI32(0)};
    if (p.format->bits == 4)
      return Values(2, arith::ConstantOp::create(
                           k.builder, k.loc,
                           DenseElementsAttr::get(
                               k.vec(k.i16), k.builder.getI16IntegerAttr(0))));
    return Values(2, k.splatConstantI32(0, 8));
  }

  /// Adds a chain of the current term.
  void merge(Values &sum, const Values &chain) {
    for (auto [part, other] : llvm::zip(sum, chain))
      part = k.add(part, other);
  }

  /// The terms so far count 256 times as much.
  void nextTerm(Values &sum) {
    if (!k.target.vnni && p.format->bits == 4) {
      // The next term's sums are in 16 bits again; these follow them.
      Values higher = {addPairs(sum[0]), addPairs(sum[1])};
      sum = startAgain();
      sum.append(higher);
    }
    for (Value &part : llvm::MutableArrayRef(sum).take_back(parts()))
      part = k.shiftLeft(
          part, k.splatConstantI32(
                    8, cast<VectorType>(part.getType()).getNumElements()));
  }

  /// Adds one group: `word` holds the row's four activations.
  void step(Values &sum, const Values &weights, Value word) {
    if (k.target.vnni) {
      Value x = k.bitcast(k.splat(word), k.vec(k.i8, 64));
      sum[0] = k.intrinsic("llvm.x86.avx512.vpdpbusd.512", k.vec(k.i32),
                           {sum[0], weights[0], x});
      return;
    }
    Value x = k.bitcast(k.splat(word, 8), k.vec(k.i8, 32));
    for (int64_t part = 0; part < 2; ++part) {
      if (p.format->bits == 4) {
        // 8 groups of 2 * 15 * 127 stay below 2^15.
        Value pairs = k.intrinsic("llvm.x86.avx2.pmadd.ub.sw", k.vec(k.i16),
                                  {weights[part], x});
        sum[part] = k.add(sum[part], pairs);
        continue;
      }
      // Stored q + 128 as signed is q with its top bit flipped; |q| <= 128
      // times 127, twice, stays below 2^15.
      Value flip = arith::ConstantOp::create(
          k.builder, k.loc,
          DenseElementsAttr::get(k.vec(k.i8, 32),
                                 k.builder.getI8IntegerAttr(-128)));
      Value q = arith::XOrIOp::create(k.builder, k.loc, weights[part], flip);
      Value zero = arith::ConstantOp::create(
          k.builder, k.loc,
          DenseElementsAttr::get(k.vec(k.i8, 32),
                                 k.builder.getI8IntegerAttr(0)));
      Value magnitude = k.select(k.less(q, zero), k.sub(zero, q), q);
      Value signedX =
          k.intrinsic("llvm.x86.avx2.psign.b", k.vec(k.i8, 32), {x, q});
      Value pairs = k.intrinsic("llvm.x86.avx2.pmadd.ub.sw", k.vec(k.i16),
                                {magnitude, signedX});
      sum[part] = k.add(sum[part], addPairs(pairs));
    }
  }

  /// t = RN(RN(i) * d) for 16 outputs. `negated` = -C * d where usesMagic().
  Value scaled(const Values &sum, Value rowSum, Value d, Value negated) {
    if (usesMagic())
      return k.fma(k.bitcast(sum[0], k.vec(k.f32)), d, negated);
    Value integer = sum[0];
    if (!k.target.vnni) {
      Values halves = {sum[0], sum[1]};
      if (p.format->bits == 4)
        for (int64_t half = 0; half < 2; ++half) {
          halves[half] = addPairs(sum[half]);
          if (p.terms == 2)
            halves[half] = k.add(halves[half], sum[2 + half]);
        }
      integer = k.join(halves[0], halves[1]);
    }
    // Elsewhere 8-bit weights are taken as signed.
    if (p.format->zeroPoint && (k.target.vnni || p.format->bits == 4))
      integer = k.sub(integer, zeroPointTimes(rowSum));
    return k.mulf(k.toFloat(integer), d);
  }

private:
  Value zeroPointTimes(Value sum) {
    return k.shiftLeft(k.splat(sum),
                       k.splatConstantI32(llvm::Log2_64(p.format->zeroPoint)));
  }

  Value addPairs(Value pairs) {
    Value ones = arith::ConstantOp::create(
        k.builder, k.loc,
        DenseElementsAttr::get(k.vec(k.i16), k.builder.getI16IntegerAttr(1)));
    return k.intrinsic("llvm.x86.avx2.pmadd.wd", k.vec(k.i32, 8),
                       {pairs, ones});
  }

  const Product &p;
  KernelBuilder &k;
};

//===----------------------------------------------------------------------===//
// Weights of one block
//===----------------------------------------------------------------------===//

/// One block of one panel: unsigned bytes by group, scale, minimum.
struct BlockWeights {
  virtual ~BlockWeights() = default;
  virtual Values group(int64_t panel, int64_t group) = 0;
  virtual Value scale(int64_t panel) = 0;
  virtual Value negatedScale(int64_t panel) = 0;
  virtual Value minimum(int64_t panel) = 0;
};

/// Straight from the packed stream.
struct PackedBlock : BlockWeights {
  PackedBlock(const Product &p, Value unit) : p(p), k(p.k), unit(unit) {}

  Values group(int64_t panel, int64_t group) override {
    BlockSum sums(p);
    Values parts;
    int64_t bytes = 64 / sums.parts();
    for (int64_t part = 0; part < sums.parts(); ++part) {
      bool packed = p.format->bits == 4;
      Value &stored = cache[{packed ? group % 4 : group, part}];
      if (!stored)
        stored = k.load(
            sums.partType(),
            k.offset(data(), 64 * (packed ? group % 4 : group) + part * bytes));
      parts.push_back(packed ? nibble(stored, group >= 4) : stored);
    }
    return parts;
  }
  Value scale(int64_t) override {
    if (!d)
      d = k.widen(k.load(k.vec(k.f16), unit));
    return d;
  }
  Value negatedScale(int64_t) override {
    return k.mulf(scale(0), k.splatConstant(-magicValue));
  }
  Value minimum(int64_t) override {
    return k.widen(k.load(k.vec(k.f16), k.offset(unit, 2 * panelRows)));
  }

private:
  Value data() { return k.offset(unit, (p.hasMinimum() ? 4 : 2) * panelRows); }
  Value nibble(Value bytes, bool high) {
    auto type = cast<VectorType>(bytes.getType());
    int64_t count = type.getDimSize(0);
    auto splat = [&](Type element, int64_t value) -> Value {
      return arith::ConstantOp::create(
          k.builder, k.loc,
          DenseElementsAttr::get(
              k.vec(element, type.getNumElements() * 8 /
                                 element.getIntOrFloatBitWidth()),
              k.builder.getIntegerAttr(element, value)));
    };
    if (high) {
      Value words = k.bitcast(bytes, k.vec(k.i16, count / 2));
      bytes = k.bitcast(k.shiftRight(words, splat(k.i16, 4)), type);
    }
    return k.bitAnd(bytes, splat(k.i8, 15));
  }

  const Product &p;
  KernelBuilder &k;
  Value unit, d;
  std::map<std::pair<int64_t, int64_t>, Value> cache;
};

struct UnpackedBlock : BlockWeights {
  UnpackedBlock(const Product &p, Value block)
      : k(p.k), scratch{p}, block(block) {}

  Values group(int64_t panel, int64_t group) override {
    BlockSum sums(scratch.p);
    Values parts;
    int64_t bytes = 64 / sums.parts();
    for (int64_t part = 0; part < sums.parts(); ++part)
      parts.push_back(
          k.load(sums.partType(),
                 k.offset(block, scratch.group(panel, group) + part * bytes)));
    return parts;
  }
  Value scale(int64_t panel) override { return floats(scratch.scale(panel)); }
  Value negatedScale(int64_t panel) override {
    return floats(scratch.negated(panel));
  }
  Value minimum(int64_t panel) override {
    return floats(scratch.minimum(panel));
  }

private:
  Value floats(int64_t at) { return k.load(k.vec(k.f32), k.offset(block, at)); }

  KernelBuilder &k;
  Scratch scratch;
  Value block;
};

//===----------------------------------------------------------------------===//
// Tiles of rows
//===----------------------------------------------------------------------===//

/// Accumulates one block into acc[row][panel]. `input`: row 0.
void emitBlock(const Product &p, BlockWeights &weights, int64_t rows,
               int64_t panels, Value input, Value block, Values &acc,
               bool twoChains) {
  KernelBuilder &k = p.k;
  BlockSum sums(p);
  ActivationBlock layout{p.inputTerms};
  Value start = k.offset(input, k.mul(block, layout.bytes()));
  int64_t stride = p.inputRowBytes();
  auto field = [&](Type type, int64_t row, int64_t at) {
    return k.load(type, k.offset(start, row * stride + at));
  };
  Values rowSums(rows);
  if (p.format->zeroPoint)
    for (int64_t row = 0; row < rows; ++row)
      rowSums[row] = field(k.i32, row, layout.sum(p.terms));
  SmallVector<Values> sum, second;
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t panel = 0; panel < panels; ++panel)
      sum.push_back(sums.start(rowSums[row]));
  for (int64_t term = 0; term < p.terms; ++term) {
    if (term)
      for (Values &each : sum)
        sums.nextTerm(each);
    second.assign(twoChains ? sum.size() : 0, sums.startAgain());
    // Groups g and g + 4 share a load of packed weights.
    for (int64_t step = 0; step < 8; ++step) {
      int64_t group = twoChains ? step / 2 + 4 * (step % 2) : step;
      SmallVector<Values> w;
      for (int64_t panel = 0; panel < panels; ++panel)
        w.push_back(weights.group(panel, group));
      for (int64_t row = 0; row < rows; ++row) {
        Value word = field(k.i32, row, layout.term(term) + 4 * group);
        for (int64_t panel = 0; panel < panels; ++panel)
          sums.step(
              (twoChains && group >= 4 ? second : sum)[row * panels + panel],
              w[panel], word);
      }
    }
    for (auto [total, other] : llvm::zip(sum, second))
      sums.merge(total, other);
  }
  for (int64_t panel = 0; panel < panels; ++panel) {
    Value d = weights.scale(panel);
    Value negated = sums.usesMagic() ? weights.negatedScale(panel) : Value();
    for (int64_t row = 0; row < rows; ++row) {
      Values &total = sum[row * panels + panel];
      total = {sums.scaled(total, rowSums[row], d, negated)};
    }
  }
  for (int64_t row = 0; row < rows; ++row) {
    Value scale = k.splat(field(k.f32, row, layout.scale(p.terms)));
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value &a = acc[row * panels + panel];
      a = k.fma(sum[row * panels + panel][0], scale, a);
    }
  }
  if (!p.hasMinimum())
    return;
  for (int64_t panel = 0; panel < panels; ++panel) {
    Value m = weights.minimum(panel);
    for (int64_t row = 0; row < rows; ++row) {
      Value &a = acc[row * panels + panel];
      a = k.fma(m, k.splat(field(k.f32, row, layout.scaledSum(p.terms))), a);
    }
  }
}

/// tile(input, scratch, output, output row bytes, residual, residual row bytes,
/// first block, end block, stage, prefetch address, prefetch step) where bit 0
/// of stage says that this is the first chunk of blocks, bit 1 that it is the
/// last.
LLVM::LLVMFuncOp unpackedTile(const Product &p, int64_t rows) {
  KernelBuilder &k = p.k;
  std::string name = p.name("tile") + ".r" + std::to_string(rows);
  if (LLVM::LLVMFuncOp known = k.lookup(name))
    return known;
  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.ptr, k.ptr, k.i64, k.ptr, k.i64, k.i64, k.i64,
                     k.i64, k.ptr, k.i64});
  Value input = function.getArgument(0), scratch = function.getArgument(1),
        output = function.getArgument(2), outputBytes = function.getArgument(3),
        residual = function.getArgument(4),
        residualBytes = function.getArgument(5),
        first = function.getArgument(6), end = function.getArgument(7),
        stage = function.getArgument(8), ahead = function.getArgument(9),
        aheadStep = function.getArgument(10);
  Scratch layout{p};
  TileSums sums{p,           rows,     p.panels,      output,
                outputBytes, residual, residualBytes, stage};
  sums.prefetch();
  Values acc =
      k.loop(first, end, 1, sums.load(), [&](Value block, ValueRange state) {
        Values next(state);
        Value index = k.sub(block, first);
        LinesAhead{ahead, aheadStep}.prefetch(p, index);
        UnpackedBlock weights(
            p, k.offset(scratch, k.mul(index, layout.blockBytes())));
        emitBlock(p, weights, rows, p.panels, input, block, next,
                  /*twoChains=*/false);
        return next;
      });
  sums.store(acc);
  k.end();
  return function;
}

/// stream(input, panel, output, output row bytes, residual, residual row bytes,
/// prefetch bytes): `rows` rows and one panel, weights unpacked in registers.
LLVM::LLVMFuncOp streamTile(const Product &p, int64_t rows, int64_t tail) {
  KernelBuilder &k = p.k;
  Product one{p.k,          p.weightType, p.width, p.terms,
              p.inputTerms, p.residual,   1,       tail};
  std::string name = one.name("stream") + ".r" + std::to_string(rows);
  if (LLVM::LLVMFuncOp known = k.lookup(name))
    return known;
  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.ptr, k.ptr, k.i64, k.ptr, k.i64, k.i64});
  Value input = function.getArgument(0), panel = function.getArgument(1);
  int64_t unitBytes = panelBlockBytes(p.weightType);
  auto addBlock = [&](Value block, Values &acc) {
    Value unit = k.offset(panel, k.mul(block, unitBytes));
    Value ahead = k.offset(unit, function.getArgument(6));
    for (int64_t at = 0; at < unitBytes; at += 64)
      k.prefetch(k.offset(ahead, at));
    PackedBlock weights(one, unit);
    emitBlock(one, weights, rows, 1, input, block, acc, /*twoChains=*/true);
  };
  // One chain over all blocks; where the order is free, one of the even and one
  // of the odd ones.
  int64_t chains = k.orderFree ? 2 : 1, whole = p.blocks() / chains * chains;
  Values acc = k.loop(k.constant(0), k.constant(whole), chains,
                      Values(chains * rows, k.splatConstant(0)),
                      [&](Value block, ValueRange state) {
                        Values next;
                        for (int64_t chain = 0; chain < chains; ++chain) {
                          Values part(state.slice(chain * rows, rows));
                          addBlock(k.add(block, chain), part);
                          next.append(part);
                        }
                        return next;
                      });
  if (k.orderFree) {
    Values odd(ArrayRef<Value>(acc).drop_front(rows));
    acc.resize(rows);
    if (whole < p.blocks())
      addBlock(k.constant(whole), acc);
    for (int64_t row = 0; row < rows; ++row)
      acc[row] = k.addf(acc[row], odd[row]);
  }
  for (int64_t row = 0; row < rows; ++row)
    storeRow(
        one, acc[row],
        k.offset(function.getArgument(2), k.mul(function.getArgument(3), row)),
        k.offset(function.getArgument(4), k.mul(function.getArgument(5), row)),
        tail);
  k.end();
  return function;
}

/// Unpacks blocks [first, end) of all panels to `scratch`, as unsigned bytes or
/// less their zero point.
void unpack(const Product &p, Value weight, Value scratch, Value first,
            Value end, bool isSigned) {
  KernelBuilder &k = p.k;
  Scratch layout{p};
  auto bytesOf = [&](Value stored) {
    if (!isSigned || !p.format->zeroPoint)
      return stored;
    auto type = cast<VectorType>(stored.getType());
    auto zeroPoint = k.builder.getIntegerAttr(
        k.i8, static_cast<int8_t>(p.format->zeroPoint));
    return k.sub(
        stored, arith::ConstantOp::create(
                    k.builder, k.loc, DenseElementsAttr::get(type, zeroPoint)));
  };
  k.loop(first, end, 1, [&](Value block) {
    Value to =
        k.offset(scratch, k.mul(k.sub(block, first), layout.blockBytes()));
    for (int64_t panel = 0; panel < p.panels; ++panel) {
      Value from = k.offset(weight, panel * panelBytes(p.weightType, p.width));
      PackedBlock packed(
          p, k.offset(from, k.mul(block, panelBlockBytes(p.weightType))));
      BlockSum sums(p);
      int64_t bytes = 64 / sums.parts();
      for (int64_t group = 0; group < 8; ++group)
        for (auto [part, value] : llvm::enumerate(packed.group(panel, group)))
          k.store(bytesOf(value),
                  k.offset(to, layout.group(panel, group) + part * bytes));
      k.store(packed.scale(panel), k.offset(to, layout.scale(panel)));
      if (k.target.vnni)
        k.store(packed.negatedScale(panel),
                k.offset(to, layout.negated(panel)));
      if (p.hasMinimum())
        k.store(packed.minimum(panel), k.offset(to, layout.minimum(panel)));
    }
  });
}

//===----------------------------------------------------------------------===//
// f32 activations
//===----------------------------------------------------------------------===//

/// The f32 values of 16 outputs at column `column` (a multiple of 4 for blocks)
/// + 0..3.
Values dequantizedGroup(const Product &p, Value panel, Value column) {
  KernelBuilder &k = p.k;
  if (!p.format) {
    int64_t bytes = panelRows * p.weightType.getIntOrFloatBitWidth() / 8;
    return {k.widen(
        k.load(k.vec(p.weightType), k.offset(panel, k.mul(column, bytes))))};
  }
  Value unit = k.offset(
      panel, k.mul(k.div(column, blockSize), panelBlockBytes(p.weightType)));
  Value group = k.div(k.rem(column, blockSize), 4);
  Value d = k.widen(k.load(k.vec(k.f16), unit));
  Value data = k.offset(unit, (p.hasMinimum() ? 4 : 2) * panelRows);
  Value shift = k.constantI32(0);
  if (p.format->bits == 4) {
    shift = k.truncate(k.mul(k.div(group, 4), 4), k.i32);
    group = k.rem(group, 4);
  }
  Value words = k.load(k.vec(k.i32), k.offset(data, k.mul(group, 64)));
  Values values;
  for (int32_t i = 0; i < 4; ++i) {
    Value by = k.add(k.splat(shift), k.splatConstantI32(8 * i));
    Value stored = k.bitAnd(k.shiftRight(words, by),
                            k.splatConstantI32(p.format->bits == 4 ? 15 : 255));
    Value q = k.toFloat(k.sub(
        stored, k.splatConstantI32(static_cast<int32_t>(p.format->zeroPoint))));
    if (p.hasMinimum())
      values.push_back(k.fma(
          d, q, k.widen(k.load(k.vec(k.f16), k.offset(unit, 2 * panelRows)))));
    else
      values.push_back(k.mulf(d, q));
  }
  return values;
}

/// float(input, weight, output, output row bytes, residual, residual row bytes)
/// for `rows` rows.
LLVM::LLVMFuncOp floatTile(const Product &p, int64_t rows) {
  KernelBuilder &k = p.k;
  std::string name = p.name("float") + ".r" + std::to_string(rows);
  if (LLVM::LLVMFuncOp known = k.lookup(name))
    return known;
  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.ptr, k.ptr, k.i64, k.ptr, k.i64});
  Value input = function.getArgument(0), weight = function.getArgument(1);
  int64_t stride = p.inputRowBytes(), step = p.format ? 4 : 1;
  Values acc = k.loop(
      k.constant(0), k.constant(p.width), step,
      Values(rows * p.panels, k.splatConstant(0)),
      [&](Value column, ValueRange state) {
        Values next(state);
        SmallVector<Values> w;
        for (int64_t panel = 0; panel < p.panels; ++panel)
          w.push_back(dequantizedGroup(
              p, k.offset(weight, panel * panelBytes(p.weightType, p.width)),
              column));
        for (int64_t i = 0; i < step; ++i)
          for (int64_t row = 0; row < rows; ++row) {
            Value from = k.offset(k.offset(input, row * stride + 4 * i),
                                  k.mul(column, 4));
            Value x = k.splat(k.load(k.f32, from));
            for (int64_t panel = 0; panel < p.panels; ++panel) {
              Value &a = next[row * p.panels + panel];
              a = k.fma(w[panel][i], x, a);
            }
          }
        return next;
      });
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t panel = 0; panel < p.panels; ++panel) {
      auto place = [&](unsigned base) {
        return k.offset(k.offset(function.getArgument(base),
                                 k.mul(function.getArgument(base + 1), row)),
                        64 * panel);
      };
      storeRow(p, acc[row * p.panels + panel], place(2), place(4),
               panel + 1 == p.panels ? p.tail : panelRows);
    }
  k.end();
  return function;
}

} // namespace

//===----------------------------------------------------------------------===//
// The product function
//===----------------------------------------------------------------------===//

/// Rows of a tile register.
static constexpr int64_t amxTileRows = 16;
static constexpr int64_t unlimited = std::numeric_limits<int64_t>::max();

/// The sizes of tiles into which `fewest` to `most` rows are split evenly, at
/// most `size` each.
static SmallVector<int64_t> tileSizes(int64_t fewest, int64_t most,
                                      int64_t size) {
  // Beyond these numbers of rows no tile is smaller.
  std::set<int64_t> sizes;
  for (int64_t rows = fewest; rows <= std::min(most, fewest + size); ++rows) {
    int64_t count = llvm::divideCeilSigned(rows, size);
    sizes.insert(rows / count);
    sizes.insert(llvm::divideCeilSigned(rows, count));
  }
  return llvm::to_vector(sizes);
}

/// A range of blocks that is unpacked at once.
struct Chunk {
  int64_t first, end;
  int64_t blocks() const { return end - first; }
};

static SmallVector<Chunk> chunks(const Product &p) {
  SmallVector<Chunk> list;
  int64_t size = Scratch{p}.chunkBlocks();
  for (int64_t first = 0; first < p.blocks(); first += size)
    list.push_back({first, std::min(first + size, p.blocks())});
  return list;
}

std::string nameOf(Type weightType) {
  if (isa<Q4_1Type>(weightType))
    return "q4_1";
  if (isa<Q4_0Type>(weightType))
    return "q4_0";
  if (isa<Q8_0Type>(weightType))
    return "q8_0";
  std::string text;
  llvm::raw_string_ostream(text) << weightType;
  return text;
}

LLVM::LLVMFuncOp productKernel(KernelBuilder &k, Type weightType, int64_t width,
                               int64_t terms, int64_t inputTerms, bool residual,
                               int64_t panels, int64_t tail) {
  Product p{k, weightType, width, terms, inputTerms, residual, panels, tail};
  std::string name = p.name("product");
  if (LLVM::LLVMFuncOp known = k.lookup(name))
    return known;

  // The parts first: functions do not nest in the module.
  const CPUTarget &target = k.target;
  bool amx = terms && target.amxRows;
  std::vector<LLVM::LLVMFuncOp> streams, floats;
  std::map<int64_t, LLVM::LLVMFuncOp> tiles; // By rows.
  std::map<std::pair<int64_t, int64_t>, LLVM::LLVMFuncOp>
      amxParts; // And blocks.
  if (terms) {
    for (int64_t rows = 1; rows <= target.intStreamRows; ++rows)
      for (int64_t panel = 0; panel < panels; ++panel)
        streams.push_back(
            streamTile(p, rows, panel + 1 == panels ? tail : panelRows));
    for (int64_t rows :
         tileSizes(target.intStreamRows + 1,
                   amx ? target.amxRows - 1 : unlimited, target.intRows))
      tiles[rows] = unpackedTile(p, rows);
  } else {
    for (int64_t rows = k.target.floatRows; rows >= 1; rows /= 2)
      floats.push_back(floatTile(p, rows));
  }
  if (amx)
    for (int64_t rows : tileSizes(target.amxRows, unlimited, amxTileRows))
      for (Chunk chunk : chunks(p))
        amxParts[{rows, chunk.blocks()}] = amxTiles(p, rows, chunk.blocks());

  LLVM::LLVMFuncOp function =
      k.begin(name, {k.ptr, k.ptr, k.ptr, k.i64, k.ptr, k.i64, k.i64, k.ptr});
  Value input = function.getArgument(0), weight = function.getArgument(1),
        output = function.getArgument(2), outputBytes = function.getArgument(3),
        residualBase = function.getArgument(4),
        residualBytes = function.getArgument(5), rows = function.getArgument(6),
        frame = function.getArgument(7);
  Value prefetch = k.load(k.i64, k.offset(frame, 8 * prefetchSlot));
  Value entered = k.load(k.ptr, k.offset(frame, 8 * enteredSlot));
  auto run = [&](LLVM::LLVMFuncOp part, ValueRange arguments) {
    k.markEntered(entered, k.kernelNumber(part.getName()));
    k.call(part, arguments);
  };
  auto fromRow = [&](Value row) {
    return Values{k.offset(input, k.mul(row, p.inputRowBytes())),
                  k.offset(output, k.mul(row, outputBytes)),
                  k.offset(residualBase, k.mul(row, residualBytes))};
  };

  if (!terms) {
    SmallVector<int64_t> sizes;
    for (int64_t size = k.target.floatRows; size >= 1; size /= 2)
      sizes.push_back(size);
    k.tiles(rows, sizes, [&](Value row, int64_t size) {
      Values at = fromRow(row);
      size_t index = llvm::find(sizes, size) - sizes.begin();
      run(floats[index],
          {at[0], weight, at[1], outputBytes, at[2], residualBytes});
    });
    k.end();
    return function;
  }

  auto runStream = [&](int64_t count) {
    for (int64_t panel = 0; panel < panels; ++panel) {
      Value from = k.offset(weight, panel * panelBytes(weightType, width));
      run(streams[(count - 1) * panels + panel],
          {input, from, k.offset(output, 64 * panel), outputBytes,
           k.offset(residualBase, 64 * panel), residualBytes, prefetch});
    }
  };
  Scratch layout{p};
  Value scratch = k.scratch(layout.chunkBlocks() * layout.blockBytes());
  // Unpacks chunk after chunk and runs tiles over it.
  auto runChunks =
      [&](bool isSigned,
          function_ref<void(Chunk, Value stage, Value next)> runTiles) {
        for (Chunk chunk : chunks(p)) {
          unpack(p, weight, scratch, k.constant(chunk.first),
                 k.constant(chunk.end), isSigned);
          bool isLast = chunk.end == p.blocks();
          // The tiles bring the bytes closer that will be unpacked next.
          Value next = k.offset(
              weight, isLast ? panels * panelBytes(weightType, width)
                             : chunk.end * panelBlockBytes(weightType));
          Value stage =
              k.constant((chunk.first == 0 ? 1 : 0) | (isLast ? 2 : 0));
          runTiles(chunk, stage, next);
        }
      };
  auto runVectorTiles = [&] {
    // Rows split evenly into tiles of at most intRows.
    int64_t most = target.intRows;
    Value tileCount = k.div(k.add(rows, most - 1), most);
    runChunks(/*isSigned=*/false, [&](Chunk chunk, Value stage, Value next) {
      k.loop(k.constant(0), tileCount, 1, ValueRange{k.constant(0)},
             [&](Value tile, ValueRange state) {
               Value row = state[0];
               // Rows left over tiles left, rounded up.
               Value tilesLeft = k.sub(tileCount, tile);
               Value size = k.div(
                   k.add(k.sub(rows, row), k.sub(tilesLeft, k.constant(1))),
                   tilesLeft);
               Values at = fromRow(row);
               LinesAhead ahead =
                   linesAhead(p, next, tile, chunk.blocks(), scratch);
               for (const auto &part : tiles)
                 k.when(k.equal(size, k.constant(part.first)), [&] {
                   run(part.second,
                       {at[0], scratch, at[1], outputBytes, at[2],
                        residualBytes, k.constant(chunk.first),
                        k.constant(chunk.end), stage, ahead.first, ahead.step});
                 });
               return Values{k.add(row, size)};
             });
    });
  };
  auto runAMXTiles = [&] {
    // Rows split evenly too: `larger` tiles have one row more than the others.
    Value tileCount = k.div(k.add(rows, amxTileRows - 1), amxTileRows);
    Value size = k.div(rows, tileCount);
    Value larger = k.rem(rows, tileCount);
    runChunks(/*isSigned=*/true, [&](Chunk chunk, Value stage, Value next) {
      auto runSize = [&](Value tileRows, Value firstRow, Value firstTile,
                         Value count) {
        Values at = fromRow(firstRow);
        Value from =
            k.offset(at[0], chunk.first * ActivationBlock{inputTerms}.bytes());
        for (const auto &part : amxParts)
          if (part.first.second == chunk.blocks())
            k.when(k.equal(tileRows, k.constant(part.first.first)), [&] {
              run(part.second, {from, scratch, at[1], outputBytes, at[2],
                                residualBytes, stage, count, next, firstTile});
            });
      };
      k.when(k.less(k.constant(0), larger), [&] {
        runSize(k.add(size, 1), k.constant(0), k.constant(0), larger);
      });
      runSize(size, k.mul(larger, k.add(size, 1)), larger,
              k.sub(tileCount, larger));
    });
  };
  std::function<void(int64_t)> byRows = [&](int64_t count) {
    if (count > target.intStreamRows) {
      if (!amx)
        return runVectorTiles();
      if (tiles.empty())
        return runAMXTiles();
      return k.when(k.less(rows, k.constant(target.amxRows)), runVectorTiles,
                    runAMXTiles);
    }
    k.when(
        k.equal(rows, k.constant(count)), [&] { runStream(count); },
        [&] { byRows(count + 1); });
  };
  byRows(1);
  k.end();
  return function;
}

} // namespace chorus
