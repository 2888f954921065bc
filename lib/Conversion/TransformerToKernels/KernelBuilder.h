//===- KernelBuilder.h - Emits the bodies of kernels ------------*- C++ -*-===//
//
// A thin layer over OpBuilder in which kernels read like the arithmetic that
// they do. Addresses are !llvm.ptr with byte offsets, integers are i64, the
// natural vector has 16 lanes: narrower targets split it.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_KERNELBUILDER_H
#define CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_KERNELBUILDER_H

#include "chorus/Conversion/TransformerToKernels/CPUTarget.h"
#include "chorus/Conversion/TransformerToKernels/EntryInfo.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"

namespace chorus {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using Values = llvm::SmallVector<Value>;

/// Lanes of the natural vector.
constexpr int64_t lanes = 16;

class KernelBuilder {
public:
  KernelBuilder(mlir::ModuleOp module, const CPUTarget &target, bool orderFree);

  const CPUTarget &target;
  /// Sums may have the order that suits the kernel's shape.
  const bool orderFree;
  mlir::OpBuilder builder;
  mlir::Location loc;
  /// All kernels so far; a kernel's number is its place here.
  std::vector<KernelInfo> kernels;

  // Functions. `begin` starts one in the module and moves the builder into it;
  // `end` returns from it and moves the builder back.
  mlir::LLVM::LLVMFuncOp lookup(llvm::StringRef name);
  mlir::LLVM::LLVMFuncOp begin(llvm::StringRef name,
                               llvm::ArrayRef<Type> arguments,
                               bool exported = false);
  void end();
  void call(mlir::LLVM::LLVMFuncOp function, ValueRange arguments);
  /// The number of the kernel of that name, a new one if there is none.
  int64_t kernelNumber(llvm::StringRef name);
  /// Notes in the table of chorus_runtime_api at `entered` that the code goes
  /// into kernel `number`. Reads before it writes: threads share the table.
  void markEntered(Value entered, int64_t number);

  // Types.
  Type i8, i16, i32, i64, f16, bf16, f32, f64, ptr;
  mlir::VectorType vec(Type element, int64_t count = lanes);

  // Constants.
  Value constant(int64_t value);
  Value constantI32(int32_t value);
  Value constantF32(float value);
  Value constantF64(double value);
  Value splatConstant(float value, int64_t count = lanes);
  Value splatConstantI32(int32_t value, int64_t count = lanes);

  // Addresses and memory.
  Value offset(Value base, int64_t bytes);
  Value offset(Value base, Value bytes);
  Value load(Type type, Value address);
  void store(Value value, Value address);
  /// Brings the cache line at `address`, which may be invalid, closer.
  void prefetch(Value address);
  /// The same for a line that will be written.
  void prefetchToWrite(Value address);
  /// Scratch memory of the current function, 64-byte aligned.
  Value scratch(int64_t bytes);
  /// First `count` of 16 f32 lanes; the others are +0 and not read.
  Value loadPartial(Value address, int64_t count);
  void storePartial(Value value, Value address, int64_t count);

  // i64 and vectors of integers.
  Value add(Value a, Value b);
  Value add(Value a, int64_t b) { return b ? add(a, constant(b)) : a; }
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b) { return b == 1 ? a : mul(a, constant(b)); }
  Value div(Value a, int64_t b);
  Value div(Value a, Value b);
  Value rem(Value a, int64_t b);
  Value rem(Value a, Value b);
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value bitAnd(Value a, Value b);
  Value shiftLeft(Value a, Value b);
  Value shiftRight(Value a, Value b);
  Value less(Value a, Value b);
  Value lessOrEqual(Value a, Value b);
  Value equal(Value a, Value b);
  Value select(Value condition, Value yes, Value no);
  Value extend(Value value, Type type);         ///< Signed.
  Value extendUnsigned(Value value, Type type); ///< Zero bits.
  Value truncate(Value value, Type type);
  Value bitcast(Value value, Type type);

  // f32 and vectors of it.
  Value addf(Value a, Value b);
  Value subf(Value a, Value b);
  Value mulf(Value a, Value b);
  Value divf(Value a, Value b);
  Value fma(Value a, Value b, Value c);
  Value negate(Value a);
  Value absolute(Value a);
  Value squareRoot(Value a);
  Value greater(Value a, Value b); ///< Ordered: false on NaN.
  Value maximum(Value a, Value b); ///< a > b ? a : b.
  Value toFloat(Value integer);    ///< Signed, to f32 or vector of f32.
  Value toInteger(Value value);    ///< Truncates to i32.
  Value roundEven(Value a);
  Value widen(Value value);           ///< f16 or bf16 to f32.
  Value narrow(Value value, Type to); ///< f32 to f16, to nearest even.

  // Vectors.
  Value splat(Value scalar, int64_t count = lanes);
  Value extract(Value vector, int64_t lane);
  Value shuffle(Value a, Value b, llvm::ArrayRef<int64_t> mask);
  Value slice(Value vector, int64_t first, int64_t count);
  Value join(Value low, Value high);
  Value iota(int64_t count = lanes); ///< i32 0, 1, 2, ...
  /// Null if the intrinsic has no result (`result` is null).
  Value intrinsic(llvm::StringRef name, Type result, ValueRange operands);
  /// Adds all lanes by the tree of distances n/2, ..., 2, 1.
  Value treeSum(Value vector);
  Value sumIntegers(Value vector); ///< In any order.
  Value treeMax(Value vector);
  Value treeMaxInteger(Value vector);
  /// The same trees for 8 or 16 vectors at once: lane i of the result belongs
  /// to vector i.
  Value treeSums(const Values &vectors);
  Value treeMaxima(const Values &vectors);

  /// exp for x <= 0 as the numeric contract says.
  Value expNonPositive(Value x);
  /// exp of an f64: 0 below -708, infinite above 709.
  Value expF64(Value x);
  /// log of a positive, normal f64.
  Value logF64(Value x);
  /// SiLU as the numeric contract says.
  Value silu(Value x);

  // Control flow.
  void loop(Value lower, Value upper, int64_t step,
            llvm::function_ref<void(Value)> body);
  Values loop(Value lower, Value upper, int64_t step, ValueRange initial,
              llvm::function_ref<Values(Value, ValueRange)> body);
  void when(Value condition, llvm::function_ref<void()> then,
            llvm::function_ref<void()> otherwise = nullptr);
  Values choose(Value condition, llvm::ArrayRef<Type> types,
                llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);
  /// Whether both hold; `second` is evaluated only where `first` holds.
  Value both(Value first, llvm::function_ref<Value()> second);
  /// while (condition(state)) state = body(state)
  Values loopWhile(ValueRange initial,
                   llvm::function_ref<Value(ValueRange)> condition,
                   llvm::function_ref<Values(ValueRange)> body);
  /// The first index in [begin, end) for which `condition` does not hold; `end`
  /// if there is none.
  Value skipWhile(Value begin, Value end,
                  llvm::function_ref<Value(Value)> condition);
  /// Runs body(position, R) for tiles of R rows, taking the largest of `sizes`
  /// (descending, ending in 1) that still fits, until `count` rows are done.
  void tiles(Value count, llvm::ArrayRef<int64_t> sizes,
             llvm::function_ref<void(Value, int64_t)> body);

private:
  mlir::ModuleOp module;
  llvm::SmallVector<mlir::OpBuilder::InsertPoint> saved;
};

} // namespace chorus

#endif // CHORUS_LIB_CONVERSION_TRANSFORMERTOKERNELS_KERNELBUILDER_H
