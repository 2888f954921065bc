//===- RowKernels.cpp - Token-wise ops, one row at a time -----------------===//
//
// Each function emits one op on one row. Ops that follow each other run in one
// dispatch, so a row stays in the first-level cache between them.
//
//===----------------------------------------------------------------------===//

#include "EntryLowering.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace chorus::transformer;

namespace chorus {

void EntryLowering::emitRow(Operation *op, Value row) {
  llvm::TypeSwitch<Operation *>(op)
      .Case<EmbeddingOp, QuantizeActivationsOp, RMSNormOp, RotaryOp,
            RoundToCacheOp, GLUOp, SelectRowsOp, LogSumExpOp>(
          [&](auto typed) { emitRow(typed, row); })
      .Case<AttentionOp>(
          [&](AttentionOp attention) { emitAppend(attention, row); })
      .Case<arith::AddFOp>([&](arith::AddFOp) { emitAdd(op, row); });
}

void EntryLowering::channels(int64_t width,
                             function_ref<void(Value, int64_t)> body) {
  int64_t whole = width / lanes * lanes;
  if (whole)
    k.loop(k.constant(0), k.constant(whole), lanes,
           [&](Value at) { body(at, lanes); });
  if (width % lanes)
    body(k.constant(whole), width % lanes);
}

void EntryLowering::copyBytes(Value from, Value to, int64_t bytes) {
  int64_t whole = bytes / 64 * 64;
  if (whole)
    k.loop(k.constant(0), k.constant(whole), 64, [&](Value at) {
      k.store(k.load(k.vec(k.i8, 64), k.offset(from, at)), k.offset(to, at));
    });
  for (int64_t at = whole; at < bytes; ++at)
    k.store(k.load(k.i8, k.offset(from, at)), k.offset(to, at));
}

//===----------------------------------------------------------------------===//
// Embedding: one row out of panels of 16
//===----------------------------------------------------------------------===//

void EntryLowering::emitRow(EmbeddingOp op, Value row) {
  auto type = cast<RankedTensorType>(op.getTable().getType());
  Type element = type.getElementType();
  int64_t d = type.getDimSize(1);
  Value token = k.extendUnsigned(
      k.load(k.i32, k.offset(buffer(op.getTokens()).base, k.mul(row, 4))),
      k.i64);
  Value lane = k.rem(token, panelRows);
  Value panel =
      k.offset(weightAddress(op.getTable()),
               k.mul(k.div(token, panelRows), panelBytes(element, d)));
  Value out = rowAddress(op.getResult(), row);
  std::optional<BlockFormat> format = getBlockFormat(element);
  if (!format) {
    int64_t bytes = element.getIntOrFloatBitWidth() / 8;
    k.loop(k.constant(0), k.constant(d), 1, [&](Value at) {
      Value from =
          k.offset(panel, k.mul(k.add(k.mul(at, panelRows), lane), bytes));
      Value value = k.widen(k.splat(k.load(element, from), 1));
      k.store(k.extract(value, 0), k.offset(out, k.mul(at, 4)));
    });
    return;
  }
  k.loop(k.constant(0), k.constant(d / blockSize), 1, [&](Value block) {
    Value unit = k.offset(panel, k.mul(block, panelBlockBytes(element)));
    auto scalarF16 = [&](int64_t at) {
      Value from = k.offset(k.offset(unit, at), k.mul(lane, 2));
      return k.extract(k.widen(k.splat(k.load(k.f16, from), 1)), 0);
    };
    Value scale = k.splat(scalarF16(0));
    Value minimum =
        format->hasMinimum ? k.splat(scalarF16(2 * panelRows)) : Value();
    Value data =
        k.offset(k.offset(unit, (format->hasMinimum ? 4 : 2) * panelRows),
                 k.mul(lane, 4));
    // Four groups of four weights make one vector of 16.
    for (int64_t half = 0; half < 2; ++half) {
      Value words = k.splatConstantI32(0, 4);
      for (int64_t group = 0; group < 4; ++group) {
        int64_t at = format->bits == 4 ? group : 4 * half + group;
        Value word = k.load(k.i32, k.offset(data, 64 * at));
        words = vector::InsertOp::create(k.builder, k.loc, word, words, group);
      }
      Value bytes = k.bitcast(words, k.vec(k.i8, lanes));
      Value stored = k.extendUnsigned(bytes, k.vec(k.i32));
      if (format->bits == 4)
        stored = half ? k.shiftRight(stored, k.splatConstantI32(4))
                      : k.bitAnd(stored, k.splatConstantI32(15));
      Value q = k.toFloat(k.sub(
          stored, k.splatConstantI32(static_cast<int32_t>(format->zeroPoint))));
      Value value = minimum ? k.fma(scale, q, minimum) : k.mulf(scale, q);
      k.store(value, k.offset(k.offset(out, k.mul(block, blockSize * 4)),
                              half * lanes * 4));
    }
  });
}

//===----------------------------------------------------------------------===//
// Quantisation of activations
//===----------------------------------------------------------------------===//

void EntryLowering::emitRow(QuantizeActivationsOp op, Value row) {
  int64_t d = width(op.getInput()), blocks = d / blockSize;
  auto type = cast<RankedTensorType>(op.getResult().getType());
  int64_t terms = cast<ActQ8Type>(type.getElementType()).getTerms();
  Value in = rowAddress(op.getInput(), row),
        out = rowAddress(op.getResult(), row);
  ActivationBlock layout{terms};
  k.loop(k.constant(0), k.constant(blocks), 1, [&](Value block) {
    Value from = k.offset(in, k.mul(block, blockSize * 4));
    Values x = {k.load(k.vec(k.f32), from),
                k.load(k.vec(k.f32), k.offset(from, 64))};
    quantizeBlock(x, k.offset(out, k.mul(block, layout.bytes())), layout);
  });
}

/// Writes one block of 32 values to `out`.
void EntryLowering::quantizeBlock(const Values &x, Value out,
                                  const ActivationBlock &layout) {
  VectorType ints = k.vec(k.i32);
  // The largest magnitude by its bits, so that a NaN is seen.
  Value magnitude = k.splatConstantI32(0x7fffffff);
  Values bits;
  for (Value half : x)
    bits.push_back(k.bitAnd(k.bitcast(half, ints), magnitude));
  Value largest = k.treeMaxInteger(
      arith::MaxSIOp::create(k.builder, k.loc, bits[0], bits[1]).getResult());
  Value finite = k.less(largest, k.constantI32(0x7f800000));
  Value tiny = k.less(largest, k.constantI32(0x1c800000)); // 2^-70
  Value scale = k.divf(k.bitcast(largest, k.f32), k.constantF32(127));
  scale = k.select(tiny, k.constantF32(0), scale);
  scale = k.select(finite, scale, k.bitcast(k.constantI32(0x7fc00000), k.f32));
  Value no = k.constantI32(0), yes = k.constantI32(1);
  Value valid = k.equal(k.select(finite, k.select(tiny, no, yes), no), yes);
  Value inverse =
      k.divf(k.constantF32(1), k.select(valid, scale, k.constantF32(1)));
  // What readers of one term take, and of two.
  SmallVector<Values> read(layout.terms);
  for (int64_t half = 0; half < 2; ++half) {
    // |x| * inverse is at most 127 * (1 + 2^-22): rounding never passes 127,
    // nor 256 times that 127 * 256.
    Value scaled =
        k.mulf(k.select(valid, x[half], k.splatConstant(0)), k.splat(inverse));
    auto rounded = [&](Value y) { return k.toInteger(k.roundEven(y)); };
    auto store = [&](Value digit, int64_t term) {
      k.store(k.truncate(digit, k.vec(k.i8)),
              k.offset(out, layout.term(term) + half * lanes));
    };
    Value high = rounded(scaled);
    store(high, 0);
    read[0].push_back(high);
    if (layout.terms == 1)
      continue;
    // 256 * high + low, low in [-127, 127].
    Value whole = k.shiftLeft(high, k.splatConstantI32(8));
    Value low = k.sub(rounded(k.mulf(scaled, k.splatConstant(256))), whole);
    low =
        arith::MaxSIOp::create(k.builder, k.loc, low, k.splatConstantI32(-127));
    low =
        arith::MinSIOp::create(k.builder, k.loc, low, k.splatConstantI32(127));
    store(low, 1);
    read[1].push_back(k.add(whole, low));
  }
  for (auto [index, values] : llvm::enumerate(read)) {
    auto terms = static_cast<int64_t>(index) + 1;
    if (terms == 2)
      scale = k.mulf(scale, k.constantF32(1.0f / 256));
    Value sum = k.sumIntegers(k.add(values[0], values[1]));
    k.store(scale, k.offset(out, layout.scale(terms)));
    k.store(sum, k.offset(out, layout.sum(terms)));
    k.store(k.mulf(scale, k.toFloat(sum)),
            k.offset(out, layout.scaledSum(terms)));
  }
}

//===----------------------------------------------------------------------===//
// Norms, elementwise
//===----------------------------------------------------------------------===//

void EntryLowering::emitRow(RMSNormOp op, Value row) {
  int64_t d = width(op.getInput());
  Value in = rowAddress(op.getInput(), row),
        out = rowAddress(op.getResult(), row);
  Value weight = weightAddress(op.getWeight());
  int64_t whole = d / lanes * lanes;
  Value squares = k.splatConstant(0);
  if (whole)
    squares = k.loop(k.constant(0), k.constant(4 * whole), 4 * lanes,
                     ValueRange{squares}, [&](Value at, ValueRange state) {
                       Value x = k.load(k.vec(k.f32), k.offset(in, at));
                       return Values{k.fma(x, x, state[0])};
                     })[0];
  if (d % lanes) {
    Value x = k.loadPartial(k.offset(in, 4 * whole), d % lanes);
    squares = k.fma(x, x, squares);
  }
  Value mean = k.divf(k.treeSum(squares), k.constantF32(static_cast<float>(d)));
  auto epsilon = static_cast<float>(op.getEpsilon().convertToDouble());
  Value root = k.squareRoot(k.addf(mean, k.constantF32(epsilon)));
  Value scale = k.splat(k.divf(k.constantF32(1), root));
  channels(d, [&](Value channel, int64_t count) {
    Value at = k.mul(channel, 4);
    Value x = k.loadPartial(k.offset(in, at), count);
    Value w = k.loadPartial(k.offset(weight, at), count);
    k.storePartial(k.mulf(k.mulf(x, scale), w), k.offset(out, at), count);
  });
}

void EntryLowering::emitRow(GLUOp op, Value row) {
  Value gate = rowAddress(op.getGate(), row), up = rowAddress(op.getUp(), row),
        out = rowAddress(op.getResult(), row);
  channels(width(op.getResult()), [&](Value channel, int64_t count) {
    Value at = k.mul(channel, 4);
    Value g = k.silu(k.loadPartial(k.offset(gate, at), count));
    Value u = k.loadPartial(k.offset(up, at), count);
    k.storePartial(k.mulf(g, u), k.offset(out, at), count);
  });
}

void EntryLowering::emitAdd(Operation *op, Value row) {
  Value a = rowAddress(op->getOperand(0), row),
        b = rowAddress(op->getOperand(1), row),
        out = rowAddress(op->getResult(0), row);
  channels(width(op->getResult(0)), [&](Value channel, int64_t count) {
    Value at = k.mul(channel, 4);
    Value sum = k.addf(k.loadPartial(k.offset(a, at), count),
                       k.loadPartial(k.offset(b, at), count));
    k.storePartial(sum, k.offset(out, at), count);
  });
}

void EntryLowering::emitRow(SelectRowsOp op, Value row) {
  Value source = k.extendUnsigned(
      k.load(k.i32, k.offset(buffer(op.getRows()).base, k.mul(row, 4))), k.i64);
  copyBytes(rowAddress(op.getInput(), source), rowAddress(op.getResult(), row),
            4 * width(op.getResult()));
}

//===----------------------------------------------------------------------===//
// Rotary
//===----------------------------------------------------------------------===//

void EntryLowering::emitRow(RotaryOp op, Value row) {
  int64_t pairs = cast<RankedTensorType>(op.getTable().getType()).getDimSize(1);
  auto headDim = static_cast<int64_t>(op.getHeadDim());
  int64_t heads = width(op.getInput()) / headDim;
  bool adjacent = op.getPairing() == RotaryPairing::adjacent;
  Value in = rowAddress(op.getInput(), row),
        out = rowAddress(op.getResult(), row);
  Value position = k.extendUnsigned(
      k.load(k.i32, k.offset(buffer(op.getPositions()).base, k.mul(row, 4))),
      k.i64);
  Value table =
      k.offset(weightAddress(op.getTable()), k.mul(position, pairs * 8));

  // Eight pairs at a time: their angles are one vector (cos, sin, cos, sin,
  // ..).
  constexpr int64_t group = lanes / 2;
  SmallVector<int64_t> even, odd, interleaved;
  for (int64_t i = 0; i < group; ++i) {
    even.push_back(2 * i);
    odd.push_back(2 * i + 1);
    interleaved.append({i, group + i});
  }
  auto rotate = [&](Value a, Value b, Value cos, Value sin) {
    return std::pair(k.fma(a, cos, k.negate(k.mulf(b, sin))),
                     k.fma(b, cos, k.mulf(a, sin)));
  };
  k.loop(k.constant(0), k.constant(heads), 1, [&](Value head) {
    Value headOffset = k.mul(head, headDim * 4);
    Value from = k.offset(in, headOffset), to = k.offset(out, headOffset);
    int64_t whole = pairs / group * group;
    if (whole)
      k.loop(k.constant(0), k.constant(whole), group, [&](Value pair) {
        Value angles = k.load(k.vec(k.f32), k.offset(table, k.mul(pair, 8)));
        Value cos = k.shuffle(angles, angles, even),
              sin = k.shuffle(angles, angles, odd);
        if (adjacent) {
          Value at = k.mul(pair, 8);
          Value x = k.load(k.vec(k.f32), k.offset(from, at));
          auto [a, b] =
              rotate(k.shuffle(x, x, even), k.shuffle(x, x, odd), cos, sin);
          k.store(k.shuffle(a, b, interleaved), k.offset(to, at));
        } else {
          Value at = k.mul(pair, 4), second = k.add(at, 4 * pairs);
          auto [a, b] = rotate(
              k.load(k.vec(k.f32, group), k.offset(from, at)),
              k.load(k.vec(k.f32, group), k.offset(from, second)), cos, sin);
          k.store(a, k.offset(to, at));
          k.store(b, k.offset(to, second));
        }
      });
    for (int64_t pair = whole; pair < pairs; ++pair) {
      int64_t first = adjacent ? 2 * pair : pair,
              second = adjacent ? first + 1 : pair + pairs;
      auto [a, b] = rotate(k.load(k.f32, k.offset(from, 4 * first)),
                           k.load(k.f32, k.offset(from, 4 * second)),
                           k.load(k.f32, k.offset(table, 8 * pair)),
                           k.load(k.f32, k.offset(table, 8 * pair + 4)));
      k.store(a, k.offset(to, 4 * first));
      k.store(b, k.offset(to, 4 * second));
    }
    for (int64_t channel = 2 * pairs; channel < headDim; ++channel)
      k.store(k.load(k.f32, k.offset(from, 4 * channel)),
              k.offset(to, 4 * channel));
  });
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

/// Saturates and rounds to `cacheType`; NaN stays NaN.
Value EntryLowering::roundToCache(Value vector, Type cacheType) {
  if (cacheType.isF32())
    return vector;
  Value largest = k.splatConstant(65504.0f),
        smallest = k.splatConstant(-65504.0f);
  vector = k.select(k.greater(vector, largest), largest, vector);
  vector = k.select(k.greater(smallest, vector), smallest, vector);
  return k.narrow(vector, cacheType);
}

void EntryLowering::emitRow(RoundToCacheOp op, Value row) {
  Value in = rowAddress(op.getInput(), row),
        out = rowAddress(op.getResult(), row);
  channels(width(op.getInput()), [&](Value channel, int64_t count) {
    Value at = k.mul(channel, 4);
    Value x = k.loadPartial(k.offset(in, at), count);
    k.storePartial(k.widen(roundToCache(x, op.getCacheType())),
                   k.offset(out, at), count);
  });
}

/// Writes a row's keys [2][head_dim][16] and values [32][head_dim] into its
/// page.
void EntryLowering::emitAppend(AttentionOp op, Value row) {
  const EntryState &state = plan.info.states[0];
  int64_t headDim = state.headDim,
          slotBytes = state.elementType.getIntOrFloatBitWidth() / 8;
  int64_t valueRow = llvm::alignTo(headDim, lanes);
  Value position = k.extendUnsigned(
      k.load(k.i32, k.offset(buffer(op.getPositions()).base, k.mul(row, 4))),
      k.i64);
  Value pages =
      k.load(k.ptr, k.offset(readSlot(stateSlot() + 1, k.ptr), k.mul(row, 8)));
  Value slot = k.rem(position, 32);
  Value keys = rowAddress(op.getKey(), row),
        values = rowAddress(op.getValue(), row);
  k.loop(k.constant(0), k.constant(state.kvHeads), 1, [&](Value head) {
    Value page = pageAddress(op, pages, k.div(position, 32), head);
    Value headOffset = k.mul(head, headDim * 4);
    Value half = k.mul(k.div(slot, lanes), headDim * lanes);
    Value keySlots =
        k.offset(page, k.mul(k.add(half, k.rem(slot, lanes)), slotBytes));
    Value valueSlots = k.offset(k.offset(page, headDim * 32 * slotBytes),
                                k.mul(slot, valueRow * slotBytes));
    channels(headDim, [&](Value channel, int64_t count) {
      Value at = k.add(headOffset, k.mul(channel, 4));
      Value key = roundToCache(k.loadPartial(k.offset(keys, at), count),
                               state.elementType);
      for (int64_t i = 0; i < count; ++i)
        k.store(
            k.extract(key, i),
            k.offset(keySlots, k.mul(k.add(channel, i), lanes * slotBytes)));
      Value value = roundToCache(k.loadPartial(k.offset(values, at), count),
                                 state.elementType);
      k.store(value, k.offset(valueSlots, k.mul(channel, slotBytes)));
    });
  });
}

//===----------------------------------------------------------------------===//
// Log-sum-exp
//===----------------------------------------------------------------------===//

void EntryLowering::emitRow(LogSumExpOp op, Value row) {
  int64_t d = width(op.getInput());
  Value in = rowAddress(op.getInput(), row);
  constexpr int64_t accumulators = 4, group = accumulators * lanes;
  int64_t whole = d / group * group;
  Value lowest = k.splatConstant(-std::numeric_limits<float>::infinity());
  VectorType type = k.vec(k.f32);

  auto overRow = [&](Value initial, function_ref<Value(Value, Value)> combine) {
    Values state(accumulators, initial);
    if (whole)
      state = k.loop(
          k.constant(0), k.constant(4 * whole), 4 * group, state,
          [&](Value at, ValueRange before) {
            Values next;
            for (int64_t i = 0; i < accumulators; ++i)
              next.push_back(combine(
                  before[i], k.load(type, k.offset(k.offset(in, at), 64 * i))));
            return next;
          });
    for (int64_t i = 0; i < accumulators; ++i) {
      int64_t left = std::min<int64_t>(d - whole - i * lanes, lanes);
      if (left <= 0)
        continue;
      Value x = k.loadPartial(k.offset(in, 4 * (whole + i * lanes)), left);
      if (left < lanes) // Absent columns count as -inf.
        x = k.select(
            k.less(k.iota(), k.splatConstantI32(static_cast<int32_t>(left))), x,
            lowest);
      state[i] = combine(state[i], x);
    }
    return state;
  };
  Values maxima =
      overRow(lowest, [&](Value a, Value x) { return k.maximum(a, x); });
  Value max = k.treeMax(k.maximum(k.maximum(maxima[0], maxima[1]),
                                  k.maximum(maxima[2], maxima[3])));
  Value maxVector = k.splat(max);
  Values sums = overRow(k.splatConstant(0), [&](Value a, Value x) {
    return k.addf(a, k.expNonPositive(k.subf(x, maxVector)));
  });
  // The tree over 64 lanes: distances 32 and 16 combine whole accumulators.
  Value sum =
      k.treeSum(k.addf(k.addf(sums[0], sums[2]), k.addf(sums[1], sums[3])));

  Value wide = arith::ExtFOp::create(k.builder, k.loc, k.f64, sum);
  Value maxWide = arith::ExtFOp::create(k.builder, k.loc, k.f64, max);
  // sum - sum is NaN for a NaN, and carries it into the result.
  Value result = k.addf(k.addf(maxWide, k.logF64(wide)), k.subf(wide, wide));
  Value narrow = arith::TruncFOp::create(k.builder, k.loc, k.f32, result);
  k.store(narrow, k.offset(buffer(op.getResult()).base, k.mul(row, 4)));
}

} // namespace chorus
