// RUN: chorus-opt %s -convert-transformer-to-kernels=target=x86-64-v4 | FileCheck %s --check-prefixes=CHECK,V4 --implicit-check-not=pmadd
// RUN: chorus-opt %s -convert-transformer-to-kernels=target=x86-64-v3 | FileCheck %s --check-prefixes=CHECK,V3 --implicit-check-not=vpdpbusd
// RUN: chorus-opt %s -convert-transformer-to-kernels=target=x86-64-v4-amx | FileCheck %s --check-prefixes=CHECK,V4,AMX --implicit-check-not=pmadd
// RUN: not chorus-opt %s -convert-transformer-to-kernels=target=x86-64-v2 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: target 'x86-64-v2' is unknown, expected one of x86-64-v3, x86-64-v4, x86-64-v4-amx

// The entry is what the runtime finds; everything else is internal. Rounding of
// the rows and the product are one dispatch each.
// CHECK-NOT: func.func
//     CHECK: llvm.func @chorus_entry_f(%{{.*}}: !llvm.ptr)
//     CHECK:   llvm.mlir.addressof @f.0.quantize_activations
//     CHECK:   llvm.mlir.addressof @f.1.linear.q4_1.64x40
//     CHECK: llvm.func internal @f.0.quantize_activations(
//     CHECK: llvm.func internal @{{.*}}q4_1.int8.k64
//        V4:   llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"
//        V3:   llvm.call_intrinsic "llvm.x86.avx2.pmadd.ub.sw"
//       AMX:   llvm.call_intrinsic "llvm.x86.tdpbssd.internal"
//     CHECK: llvm.func internal @f.1.linear.q4_1.64x40(
//     CHECK: llvm.func @chorus_sampling_masses(
//     CHECK: llvm.func @chorus_sampling_sums(
//     CHECK: llvm.func @chorus_exp(
//     CHECK: llvm.func @chorus_log(
func.func @f(%x: tensor<?x64xf32>) -> tensor<?x40xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<40x64x!transformer.q4_1>
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %y = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<40x64x!transformer.q4_1>) -> tensor<?x40xf32>
  return %y : tensor<?x40xf32>
}
