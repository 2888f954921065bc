//===- SamplingKernels.cpp - What sampling and scoring take of mathematics ===//

#include "EntryLowering.h"

#include "chorus_rt/step_abi.h"

namespace chorus {

/// The mass floor(exp((x - max) / T) * 2^40) of `width` logits at `logits` as
/// two exact halves of 20 bits, high and low, i32.
static std::pair<Value, Value> massHalves(KernelBuilder &k, Value logits,
                                          Value max, Value inverseTemperature,
                                          int64_t width) {
  Value x = width == 1 ? k.splat(k.load(k.f32, logits), 1)
                       : k.load(k.vec(k.f32, width), logits);
  Value e = k.expNonPositive(k.mulf(k.subf(x, k.splat(max, width)),
                                    k.splat(inverseTemperature, width)));
  Value scaled = k.mulf(e, k.splatConstant(0x1p20f, width));
  Value high = k.toInteger(scaled);
  Value rest = k.subf(scaled, k.toFloat(high));
  return {high, k.toInteger(k.mulf(rest, k.splatConstant(0x1p20f, width)))};
}

/// high * 2^20 + low, i64.
static Value joinHalves(KernelBuilder &k, Value high, Value low) {
  int64_t width = mlir::cast<mlir::VectorType>(high.getType()).getDimSize(0);
  Type wide = k.vec(k.i64, width);
  return k.add(
      k.shiftLeft(k.extend(high, wide), k.splat(k.constant(20), width)),
      k.extend(low, wide));
}

static void emitMasses(KernelBuilder &k) {
  mlir::LLVM::LLVMFuncOp function =
      k.begin("chorus_sampling_masses", {k.ptr, k.i64, k.f32, k.f32, k.ptr},
              /*exported=*/true);
  Value logits = function.getArgument(0), count = function.getArgument(1),
        max = function.getArgument(2), inverse = function.getArgument(3),
        masses = function.getArgument(4);
  auto store = [&](Value at, int64_t width) {
    auto [high, low] =
        massHalves(k, k.offset(logits, k.mul(at, 4)), max, inverse, width);
    k.store(joinHalves(k, high, low), k.offset(masses, k.mul(at, 8)));
  };
  Value whole = k.mul(k.div(count, lanes), lanes);
  k.loop(k.constant(0), whole, lanes, [&](Value at) { store(at, lanes); });
  k.loop(whole, count, 1, [&](Value at) { store(at, 1); });
  k.end();
}

static void emitMassSums(KernelBuilder &k) {
  mlir::LLVM::LLVMFuncOp function =
      k.begin("chorus_sampling_sums", {k.ptr, k.i64, k.f32, k.f32, k.ptr},
              /*exported=*/true);
  Value logits = function.getArgument(0), count = function.getArgument(1),
        max = function.getArgument(2), inverse = function.getArgument(3),
        sums = function.getArgument(4);
  /// Sums of the halves of columns [begin, end), 64 of 2^20 at most a lane.
  auto sumOf = [&](Value begin, Value end, int64_t width) {
    Value zero = k.splatConstantI32(0, width);
    Values halves = k.loop(
        begin, end, width, Values{zero, zero}, [&](Value at, ValueRange state) {
          auto [high, low] = massHalves(k, k.offset(logits, k.mul(at, 4)), max,
                                        inverse, width);
          return Values{k.add(state[0], high), k.add(state[1], low)};
        });
    return k.sumIntegers(joinHalves(k, halves[0], halves[1]));
  };
  k.loop(k.constant(0), count, CHORUS_SAMPLING_BLOCK, [&](Value begin) {
    Value end = k.min(count, k.add(begin, CHORUS_SAMPLING_BLOCK));
    Value left = k.rem(k.sub(end, begin), lanes), whole = k.sub(end, left);
    Value sum = k.add(sumOf(begin, whole, lanes), sumOf(whole, end, 1));
    k.store(sum, k.offset(sums, k.mul(k.div(begin, CHORUS_SAMPLING_BLOCK), 8)));
  });
  k.end();
}

void emitSamplingFunctions(KernelBuilder &k) {
  emitMasses(k);
  emitMassSums(k);
}

static void emitMap(KernelBuilder &k, llvm::StringRef name,
                    llvm::function_ref<Value(Value)> function) {
  mlir::LLVM::LLVMFuncOp map =
      k.begin(name, {k.ptr, k.i64, k.ptr}, /*exported=*/true);
  k.loop(k.constant(0), map.getArgument(1), 1, [&](Value i) {
    Value at = k.mul(i, 8);
    Value x = k.load(k.f64, k.offset(map.getArgument(0), at));
    k.store(function(x), k.offset(map.getArgument(2), at));
  });
  k.end();
}

void emitScalarFunctions(KernelBuilder &k) {
  emitMap(k, "chorus_exp", [&](Value x) { return k.expF64(x); });
  emitMap(k, "chorus_log", [&](Value x) { return k.logF64(x); });
}

} // namespace chorus
