//===- KernelBuilder.cpp - Emits the bodies of kernels --------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;

namespace chorus {

KernelBuilder::KernelBuilder(ModuleOp module, const CPUTarget &target,
                             bool orderFree)
    : target(target), orderFree(orderFree), builder(module.getContext()),
      loc(builder.getUnknownLoc()), i8(builder.getI8Type()),
      i16(builder.getI16Type()), i32(builder.getI32Type()),
      i64(builder.getI64Type()), f16(builder.getF16Type()),
      bf16(builder.getBF16Type()), f32(builder.getF32Type()),
      f64(builder.getF64Type()),
      ptr(LLVM::LLVMPointerType::get(module.getContext())), module(module) {}

//===----------------------------------------------------------------------===//
// Functions
//===----------------------------------------------------------------------===//

LLVM::LLVMFuncOp KernelBuilder::lookup(StringRef name) {
  return module.lookupSymbol<LLVM::LLVMFuncOp>(name);
}

LLVM::LLVMFuncOp KernelBuilder::begin(StringRef name, ArrayRef<Type> arguments,
                                      bool exported) {
  saved.push_back(builder.saveInsertionPoint());
  builder.setInsertionPointToEnd(module.getBody());
  auto type = LLVM::LLVMFunctionType::get(
      LLVM::LLVMVoidType::get(module.getContext()), arguments);
  auto function = LLVM::LLVMFuncOp::create(builder, loc, name, type,
                                           exported ? LLVM::Linkage::External
                                                    : LLVM::Linkage::Internal);
  builder.setInsertionPointToStart(function.addEntryBlock(builder));
  return function;
}

void KernelBuilder::end() {
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  builder.restoreInsertionPoint(saved.pop_back_val());
}

void KernelBuilder::call(LLVM::LLVMFuncOp function, ValueRange arguments) {
  LLVM::CallOp::create(builder, loc, function, arguments);
}

int64_t KernelBuilder::kernelNumber(StringRef name) {
  auto at = llvm::find_if(
      kernels, [&](const KernelInfo &kernel) { return kernel.name == name; });
  int64_t number = at - kernels.begin();
  if (at == kernels.end())
    kernels.emplace_back().name = name.str();
  return number;
}

void KernelBuilder::markEntered(Value entered, int64_t number) {
  Value flag = offset(entered, number);
  Value zero =
      arith::ConstantOp::create(builder, loc, i8, builder.getI8IntegerAttr(0));
  when(equal(load(i8, flag), zero), [&] {
    store(arith::ConstantOp::create(builder, loc, i8,
                                    builder.getI8IntegerAttr(1)),
          flag);
  });
}

//===----------------------------------------------------------------------===//
// Types and constants
//===----------------------------------------------------------------------===//

VectorType KernelBuilder::vec(Type element, int64_t count) {
  return VectorType::get({count}, element);
}

Value KernelBuilder::constant(int64_t value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getI64IntegerAttr(value));
}

Value KernelBuilder::constantI32(int32_t value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getI32IntegerAttr(value));
}

Value KernelBuilder::constantF32(float value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}

Value KernelBuilder::constantF64(double value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF64FloatAttr(value));
}

Value KernelBuilder::splatConstant(float value, int64_t count) {
  return arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(vec(f32, count), builder.getF32FloatAttr(value)));
}

Value KernelBuilder::splatConstantI32(int32_t value, int64_t count) {
  return arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(vec(i32, count),
                             builder.getI32IntegerAttr(value)));
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value KernelBuilder::offset(Value base, int64_t bytes) {
  return bytes ? offset(base, constant(bytes)) : base;
}

Value KernelBuilder::offset(Value base, Value bytes) {
  return LLVM::GEPOp::create(builder, loc, ptr, i8, base, ValueRange{bytes});
}

/// Alignment that every access may rely on: that of the element.
static unsigned alignmentOf(Type type) {
  if (auto vector = dyn_cast<VectorType>(type))
    type = vector.getElementType();
  return type.isIntOrFloat() ? std::max(1u, type.getIntOrFloatBitWidth() / 8)
                             : 8;
}

Value KernelBuilder::load(Type type, Value address) {
  return LLVM::LoadOp::create(builder, loc, type, address, alignmentOf(type));
}

void KernelBuilder::store(Value value, Value address) {
  LLVM::StoreOp::create(builder, loc, value, address,
                        alignmentOf(value.getType()));
}

void KernelBuilder::prefetch(Value address) {
  // A read, to the second-level cache.
  LLVM::Prefetch::create(builder, loc, address, /*rw=*/0, /*hint=*/2,
                         /*cache=*/1);
}

void KernelBuilder::prefetchToWrite(Value address) {
  LLVM::Prefetch::create(builder, loc, address, /*rw=*/1, /*hint=*/3,
                         /*cache=*/1);
}

Value KernelBuilder::scratch(int64_t bytes) {
  OpBuilder::InsertionGuard guard(builder);
  auto function = builder.getInsertionBlock()
                      ->getParent()
                      ->getParentOfType<LLVM::LLVMFuncOp>();
  builder.setInsertionPointToStart(&function.getBody().front());
  return LLVM::AllocaOp::create(builder, loc, ptr, i8, constant(bytes),
                                /*alignment=*/64);
}

Value KernelBuilder::loadPartial(Value address, int64_t count) {
  if (count >= lanes)
    return load(vec(f32), address);
  Value mask =
      arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, iota(),
                            splatConstantI32(static_cast<int32_t>(count)));
  return LLVM::MaskedLoadOp::create(builder, loc, vec(f32), address, mask,
                                    splatConstant(0), 4u);
}

void KernelBuilder::storePartial(Value value, Value address, int64_t count) {
  if (count >= lanes)
    return store(value, address);
  Value mask =
      arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, iota(),
                            splatConstantI32(static_cast<int32_t>(count)));
  LLVM::MaskedStoreOp::create(builder, loc, value, address, mask, 4u);
}

//===----------------------------------------------------------------------===//
// Integers
//===----------------------------------------------------------------------===//

Value KernelBuilder::add(Value a, Value b) {
  return arith::AddIOp::create(builder, loc, a, b);
}
Value KernelBuilder::sub(Value a, Value b) {
  return arith::SubIOp::create(builder, loc, a, b);
}
Value KernelBuilder::mul(Value a, Value b) {
  return arith::MulIOp::create(builder, loc, a, b);
}

Value KernelBuilder::div(Value a, int64_t b) {
  return arith::DivUIOp::create(builder, loc, a, constant(b));
}

Value KernelBuilder::div(Value a, Value b) {
  return arith::DivUIOp::create(builder, loc, a, b);
}

Value KernelBuilder::rem(Value a, int64_t b) {
  return arith::RemUIOp::create(builder, loc, a, constant(b));
}

Value KernelBuilder::rem(Value a, Value b) {
  return arith::RemUIOp::create(builder, loc, a, b);
}

Value KernelBuilder::min(Value a, Value b) {
  return arith::MinSIOp::create(builder, loc, a, b);
}

Value KernelBuilder::max(Value a, Value b) {
  return arith::MaxSIOp::create(builder, loc, a, b);
}

Value KernelBuilder::bitAnd(Value a, Value b) {
  return arith::AndIOp::create(builder, loc, a, b);
}

Value KernelBuilder::shiftLeft(Value a, Value b) {
  return arith::ShLIOp::create(builder, loc, a, b);
}

Value KernelBuilder::shiftRight(Value a, Value b) {
  return arith::ShRUIOp::create(builder, loc, a, b);
}

Value KernelBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, a, b);
}

Value KernelBuilder::lessOrEqual(Value a, Value b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sle, a, b);
}

Value KernelBuilder::equal(Value a, Value b) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, a, b);
}

Value KernelBuilder::select(Value condition, Value yes, Value no) {
  return arith::SelectOp::create(builder, loc, condition, yes, no);
}

Value KernelBuilder::extend(Value value, Type type) {
  return arith::ExtSIOp::create(builder, loc, type, value);
}

Value KernelBuilder::extendUnsigned(Value value, Type type) {
  return arith::ExtUIOp::create(builder, loc, type, value);
}

Value KernelBuilder::truncate(Value value, Type type) {
  return arith::TruncIOp::create(builder, loc, type, value);
}

Value KernelBuilder::bitcast(Value value, Type type) {
  if (isa<VectorType>(type))
    return vector::BitCastOp::create(builder, loc, cast<VectorType>(type),
                                     value);
  return arith::BitcastOp::create(builder, loc, type, value);
}

//===----------------------------------------------------------------------===//
// Floats
//===----------------------------------------------------------------------===//

Value KernelBuilder::addf(Value a, Value b) {
  return arith::AddFOp::create(builder, loc, a, b);
}
Value KernelBuilder::subf(Value a, Value b) {
  return arith::SubFOp::create(builder, loc, a, b);
}
Value KernelBuilder::mulf(Value a, Value b) {
  return arith::MulFOp::create(builder, loc, a, b);
}
Value KernelBuilder::divf(Value a, Value b) {
  return arith::DivFOp::create(builder, loc, a, b);
}

Value KernelBuilder::fma(Value a, Value b, Value c) {
  return math::FmaOp::create(builder, loc, a, b, c);
}

Value KernelBuilder::negate(Value a) {
  return arith::NegFOp::create(builder, loc, a);
}
Value KernelBuilder::absolute(Value a) {
  return math::AbsFOp::create(builder, loc, a);
}
Value KernelBuilder::squareRoot(Value a) {
  return math::SqrtOp::create(builder, loc, a);
}

Value KernelBuilder::greater(Value a, Value b) {
  return arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, b);
}

Value KernelBuilder::maximum(Value a, Value b) {
  return select(greater(a, b), a, b);
}

Value KernelBuilder::toFloat(Value integer) {
  Type type = f32;
  if (auto vector = dyn_cast<VectorType>(integer.getType()))
    type = vec(f32, vector.getDimSize(0));
  return arith::SIToFPOp::create(builder, loc, type, integer);
}

Value KernelBuilder::toInteger(Value value) {
  Type type = i32;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = vec(i32, vector.getDimSize(0));
  return arith::FPToSIOp::create(builder, loc, type, value);
}

Value KernelBuilder::roundEven(Value a) {
  return math::RoundEvenOp::create(builder, loc, a);
}

Value KernelBuilder::widen(Value value) {
  Type type = f32;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = vec(f32, vector.getDimSize(0));
  if (value.getType() == type)
    return value;
  if (cast<VectorType>(value.getType()).getElementType().isBF16()) {
    // bf16 is the upper half of f32.
    int64_t count = cast<VectorType>(type).getDimSize(0);
    Value bits =
        extendUnsigned(bitcast(value, vec(i16, count)), vec(i32, count));
    return bitcast(shiftLeft(bits, splatConstantI32(16, count)), type);
  }
  return arith::ExtFOp::create(builder, loc, type, value);
}

Value KernelBuilder::narrow(Value value, Type to) {
  Type type = to;
  if (auto vector = dyn_cast<VectorType>(value.getType()))
    type = vec(to, vector.getDimSize(0));
  return value.getType() == type
             ? value
             : arith::TruncFOp::create(builder, loc, type, value);
}

//===----------------------------------------------------------------------===//
// Vectors
//===----------------------------------------------------------------------===//

Value KernelBuilder::splat(Value scalar, int64_t count) {
  return vector::BroadcastOp::create(builder, loc, vec(scalar.getType(), count),
                                     scalar);
}

Value KernelBuilder::extract(Value vector, int64_t lane) {
  return vector::ExtractOp::create(builder, loc, vector, lane);
}

Value KernelBuilder::shuffle(Value a, Value b, ArrayRef<int64_t> mask) {
  return vector::ShuffleOp::create(builder, loc, a, b, mask);
}

Value KernelBuilder::slice(Value vector, int64_t first, int64_t count) {
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < count; ++i)
    mask.push_back(first + i);
  return shuffle(vector, vector, mask);
}

Value KernelBuilder::join(Value low, Value high) {
  int64_t count = cast<VectorType>(low.getType()).getDimSize(0);
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < 2 * count; ++i)
    mask.push_back(i);
  return shuffle(low, high, mask);
}

Value KernelBuilder::iota(int64_t count) {
  SmallVector<int32_t> values;
  for (int64_t i = 0; i < count; ++i)
    values.push_back(static_cast<int32_t>(i));
  return arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(vec(i32, count), ArrayRef<int32_t>(values)));
}

Value KernelBuilder::intrinsic(StringRef name, Type result,
                               ValueRange operands) {
  StringAttr callee = builder.getStringAttr(name);
  if (result)
    return LLVM::CallIntrinsicOp::create(builder, loc, result, callee, operands)
        .getResult(0);
  LLVM::CallIntrinsicOp::create(builder, loc, callee, operands);
  return nullptr;
}

/// Combines the halves of `vector` until one lane is left.
static Value reduceTree(KernelBuilder &k, Value vector,
                        function_ref<Value(Value, Value)> combine) {
  for (int64_t half = cast<VectorType>(vector.getType()).getDimSize(0) / 2;
       half > 0; half /= 2)
    vector = combine(k.slice(vector, 0, half), k.slice(vector, half, half));
  return k.extract(vector, 0);
}

Value KernelBuilder::treeSum(Value vector) {
  return reduceTree(*this, vector,
                    [&](Value a, Value b) { return addf(a, b); });
}

Value KernelBuilder::treeMax(Value vector) {
  return reduceTree(*this, vector,
                    [&](Value a, Value b) { return maximum(a, b); });
}

Value KernelBuilder::treeMaxInteger(Value vector) {
  return reduceTree(*this, vector, [&](Value a, Value b) -> Value {
    return arith::MaxSIOp::create(builder, loc, a, b);
  });
}

Value KernelBuilder::sumIntegers(Value vector) {
  return vector::ReductionOp::create(builder, loc, vector::CombiningKind::ADD,
                                     vector);
}

/// A vector on the way to the result of reduceTrees: `chunk` lanes of partial
/// results for each of the vectors `sources`, in this order.
struct PartialTrees {
  Value vector;
  SmallVector<int64_t> sources;
};

/// Halves the lanes that `a` and `b` have for each source and joins what is
/// left into one vector. Lanes move within 128 bits where a chunk fits in
/// there, which takes one shuffle of two operands.
static PartialTrees joinTrees(KernelBuilder &k, const PartialTrees &a,
                              const PartialTrees &b,
                              function_ref<Value(Value, Value)> combine) {
  int64_t width = cast<VectorType>(a.vector.getType()).getDimSize(0);
  auto count = static_cast<int64_t>(a.sources.size());
  int64_t chunk = width / count, half = chunk / 2;
  int64_t span = std::min<int64_t>(width, chunk > 4 ? width : 4);
  SmallVector<int64_t> low, high;
  PartialTrees joined;
  for (int64_t start = 0; start < width; start += span)
    for (const PartialTrees *from : {&a, &b})
      for (int64_t lane = start; lane < start + span; lane += chunk) {
        for (int64_t i = 0; i < half; ++i) {
          low.push_back((from == &b ? width : 0) + lane + i);
          high.push_back((from == &b ? width : 0) + lane + half + i);
        }
        joined.sources.push_back(from->sources[lane / chunk]);
      }
  joined.vector = combine(k.shuffle(a.vector, b.vector, low),
                          k.shuffle(a.vector, b.vector, high));
  return joined;
}

/// reduceTree of each vector. There are as many vectors as one of them has
/// lanes, or half as many.
static Value reduceTrees(KernelBuilder &k, const Values &vectors,
                         function_ref<Value(Value, Value)> combine) {
  auto count = static_cast<int64_t>(vectors.size());
  SmallVector<PartialTrees> trees;
  for (auto [index, vector] : llvm::enumerate(vectors)) {
    Value partial = vector;
    for (int64_t half = cast<VectorType>(vector.getType()).getDimSize(0) / 2;
         half >= count; half /= 2)
      partial =
          combine(k.slice(partial, 0, half), k.slice(partial, half, half));
    trees.push_back({partial, {static_cast<int64_t>(index)}});
  }
  for (; trees.size() > 1; trees.resize(trees.size() / 2))
    for (size_t i = 0, half = trees.size() / 2; i < half; ++i)
      trees[i] = joinTrees(k, trees[i], trees[i + half], combine);
  SmallVector<int64_t> order(vectors.size());
  for (auto [lane, source] : llvm::enumerate(trees.front().sources))
    order[source] = static_cast<int64_t>(lane);
  return k.shuffle(trees.front().vector, trees.front().vector, order);
}

Value KernelBuilder::treeSums(const Values &vectors) {
  return reduceTrees(*this, vectors,
                     [&](Value a, Value b) { return addf(a, b); });
}

Value KernelBuilder::treeMaxima(const Values &vectors) {
  return reduceTrees(*this, vectors,
                     [&](Value a, Value b) { return maximum(a, b); });
}

Value KernelBuilder::expNonPositive(Value x) {
  int64_t count = cast<VectorType>(x.getType()).getDimSize(0);
  auto c = [&](float value) { return splatConstant(value, count); };
  Value t = fma(x, c(0x1.715476p+0f), c(0x1.8p+23f));
  Value n = subf(t, c(0x1.8p+23f));
  Value r = fma(n, c(-0x1.62e4p-1f), x);
  r = fma(n, c(-0x1.7f7d1cp-20f), r);
  Value p = fma(c(0x1.6a4cb4p-10f), r, c(0x1.123986p-7f));
  for (float coefficient :
       {0x1.5558b0p-5f, 0x1.555492p-3f, 0x1.fffffcp-2f, 1.0f, 1.0f})
    p = fma(p, r, c(coefficient));
  Type integers = vec(i32, count);
  Value exponent = shiftLeft(bitcast(t, integers), splatConstantI32(23, count));
  Value result = bitcast(add(bitcast(p, integers), exponent), x.getType());
  Value underflow = arith::CmpFOp::create(
      builder, loc, arith::CmpFPredicate::OLT, x, c(-87.0f));
  return select(underflow, c(0.0f), result);
}

Value KernelBuilder::expF64(Value x) {
  constexpr double shift = 0x1.8p52; // Leaves the integer in the low bits.
  Value t = fma(x, constantF64(0x1.71547652b82fep+0), constantF64(shift));
  Value n = subf(t, constantF64(shift));
  Value r = fma(n, constantF64(-0x1.62e42fefa39efp-1), x);
  r = fma(n, constantF64(-0x1.abc9e3b39803fp-56), r);
  // Taylor's series up to r^13; |r| <= log(2) / 2.
  double factorial = 6227020800; // 13!
  Value p = constantF64(1 / factorial);
  for (int64_t k = 13; k >= 1; --k) {
    factorial /= static_cast<double>(k);
    p = fma(p, r, constantF64(1 / factorial));
  }
  Value exponent = shiftLeft(bitcast(t, i64), constant(52));
  Value result = bitcast(add(bitcast(p, i64), exponent), f64);
  result = select(greater(constantF64(-708), x), constantF64(0), result);
  return select(greater(x, constantF64(709)),
                constantF64(std::numeric_limits<double>::infinity()), result);
}

Value KernelBuilder::logF64(Value x) {
  // x = f * 2^exponent, f in [sqrt(1/2), sqrt(2)); log(f) is
  // 2 atanh((f - 1) / (f + 1)).
  Value bits = bitcast(x, i64);
  Value exponent = sub(shiftRight(bits, constant(52)), constant(1023));
  Value fraction =
      bitcast(arith::OrIOp::create(builder, loc,
                                   bitAnd(bits, constant(0xfffffffffffffLL)),
                                   constant(0x3ff0000000000000LL))
                  .getResult(),
              f64);
  Value high = greater(fraction, constantF64(1.4142135623730951));
  fraction = select(high, mulf(fraction, constantF64(0.5)), fraction);
  exponent = select(high, add(exponent, 1), exponent);
  Value one = constantF64(1);
  Value s = divf(subf(fraction, one), addf(fraction, one));
  Value z = mulf(s, s);
  Value series = constantF64(1.0 / 21);
  for (int64_t n = 19; n >= 1; n -= 2)
    series = fma(series, z, constantF64(1.0 / static_cast<double>(n)));
  Value exponentValue = arith::SIToFPOp::create(builder, loc, f64, exponent);
  return fma(exponentValue, constantF64(0.6931471805599453),
             mulf(mulf(constantF64(2), s), series));
}

Value KernelBuilder::silu(Value x) {
  int64_t count = cast<VectorType>(x.getType()).getDimSize(0);
  Value e = expNonPositive(negate(absolute(x)));
  Value nonNegative = arith::CmpFOp::create(
      builder, loc, arith::CmpFPredicate::OGE, x, splatConstant(0.0f, count));
  Value numerator = select(nonNegative, x, mulf(x, e));
  return divf(numerator, addf(splatConstant(1.0f, count), e));
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

void KernelBuilder::loop(Value lower, Value upper, int64_t step,
                         function_ref<void(Value)> body) {
  loop(lower, upper, step, ValueRange(), [&](Value iv, ValueRange) {
    body(iv);
    return Values();
  });
}

Values KernelBuilder::loop(Value lower, Value upper, int64_t step,
                           ValueRange initial,
                           function_ref<Values(Value, ValueRange)> body) {
  auto loopOp =
      scf::ForOp::create(builder, loc, lower, upper, constant(step), initial);
  OpBuilder::InsertionGuard guard(builder);
  if (!loopOp.getBody()->empty())
    loopOp.getBody()->back().erase();
  builder.setInsertionPointToEnd(loopOp.getBody());
  Values next = body(loopOp.getInductionVar(), loopOp.getRegionIterArgs());
  scf::YieldOp::create(builder, loc, next);
  return Values(loopOp.getResults());
}

void KernelBuilder::when(Value condition, function_ref<void()> then,
                         function_ref<void()> otherwise) {
  auto ifOp = scf::IfOp::create(builder, loc, condition,
                                /*withElseRegion=*/bool(otherwise));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(ifOp.thenBlock());
  then();
  if (otherwise) {
    builder.setInsertionPointToStart(ifOp.elseBlock());
    otherwise();
  }
}

Values KernelBuilder::choose(Value condition, ArrayRef<Type> types,
                             function_ref<Values()> then,
                             function_ref<Values()> otherwise) {
  auto ifOp = scf::IfOp::create(builder, loc, types, condition,
                                /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(ifOp.thenBlock());
  scf::YieldOp::create(builder, loc, then());
  builder.setInsertionPointToStart(ifOp.elseBlock());
  scf::YieldOp::create(builder, loc, otherwise());
  return Values(ifOp.getResults());
}

Value KernelBuilder::both(Value first, function_ref<Value()> second) {
  return choose(
      first, {builder.getI1Type()}, [&] { return Values{second()}; },
      [&] { return Values{first}; })[0];
}

Values KernelBuilder::loopWhile(ValueRange initial,
                                function_ref<Value(ValueRange)> condition,
                                function_ref<Values(ValueRange)> body) {
  auto whileOp = scf::WhileOp::create(
      builder, loc, initial.getTypes(), initial,
      [&](OpBuilder &nested, Location, ValueRange state) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(nested.getInsertionBlock(),
                                  nested.getInsertionPoint());
        Value again = condition(state);
        scf::ConditionOp::create(builder, loc, again, state);
      },
      [&](OpBuilder &nested, Location, ValueRange state) {
        OpBuilder::InsertionGuard guard(builder);
        builder.setInsertionPoint(nested.getInsertionBlock(),
                                  nested.getInsertionPoint());
        Values next = body(state);
        scf::YieldOp::create(builder, loc, next);
      });
  return Values(whileOp.getResults());
}

Value KernelBuilder::skipWhile(Value begin, Value end,
                               function_ref<Value(Value)> condition) {
  return loopWhile(
      ValueRange{begin},
      [&](ValueRange state) {
        return both(less(state[0], end), [&] { return condition(state[0]); });
      },
      [&](ValueRange state) { return Values{add(state[0], 1)}; })[0];
}

void KernelBuilder::tiles(Value count, ArrayRef<int64_t> sizes,
                          function_ref<void(Value, int64_t)> body) {
  Value done = constant(0);
  for (int64_t size : sizes)
    done = loopWhile(
        ValueRange{done},
        [&](ValueRange state) {
          return lessOrEqual(add(state[0], size), count);
        },
        [&](ValueRange state) {
          body(state[0], size);
          return Values{add(state[0], size)};
        })[0];
}

} // namespace chorus
