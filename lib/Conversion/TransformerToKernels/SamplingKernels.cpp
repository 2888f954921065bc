//===- SamplingKernels.cpp - What sampling and scoring take of mathematics ===//

#include "EntryLowering.h"

namespace chorus {

void emitSamplingMasses(KernelBuilder &k) {
  mlir::LLVM::LLVMFuncOp function =
      k.begin("chorus_sampling_masses", {k.ptr, k.i64, k.f32, k.f32, k.ptr},
              /*exported=*/true);
  Value logits = function.getArgument(0), count = function.getArgument(1),
        masses = function.getArgument(4);

  // floor(exp((x - max) / T) * 2^40) as two exact halves of 20 bits.
  auto massesOf = [&](Value x, int64_t width) {
    Value max = k.splat(function.getArgument(2), width);
    Value inverse = k.splat(function.getArgument(3), width);
    Value e = k.expNonPositive(k.mulf(k.subf(x, max), inverse));
    Value scaled = k.mulf(e, k.splatConstant(0x1p20f, width));
    Value high = k.toInteger(scaled);
    Value rest = k.subf(scaled, k.toFloat(high));
    Value low = k.toInteger(k.mulf(rest, k.splatConstant(0x1p20f, width)));
    Type wide = k.vec(k.i64, width);
    Value shift = k.splat(k.constant(20), width);
    return k.add(k.shiftLeft(k.extend(high, wide), shift), k.extend(low, wide));
  };
  Value whole = k.mul(k.div(count, lanes), lanes);
  k.loop(k.constant(0), whole, lanes, [&](Value at) {
    Value x = k.load(k.vec(k.f32), k.offset(logits, k.mul(at, 4)));
    k.store(massesOf(x, lanes), k.offset(masses, k.mul(at, 8)));
  });
  k.loop(whole, count, 1, [&](Value at) {
    Value x = k.splat(k.load(k.f32, k.offset(logits, k.mul(at, 4))), 1);
    k.store(massesOf(x, 1), k.offset(masses, k.mul(at, 8)));
  });
  k.end();
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
