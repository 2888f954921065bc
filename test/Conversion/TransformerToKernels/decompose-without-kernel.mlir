// RUN: chorus-opt %s -chorus-decompose-without-kernel -split-input-file | FileCheck %s

// CHECK-LABEL: func @stateless_attention(
//       CHECK:   transformer.linear
//   CHECK-NOT:   transformer.rotary halves
//   CHECK-NOT:   transformer.attention
//       CHECK:   transformer.glu
func.func @stateless_attention(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf16>
  %t = transformer.rotary_table theta = 1.0e+04 : tensor<512x16x2xf32>
  %q = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %r = transformer.rotary halves %q, %t head_dim = 32 : tensor<?x?x64xf32>, tensor<512x16x2xf32>
  %o = transformer.attention causal %r, %r, %q heads = 2 kv_heads = 2 scale = 1.25e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %g = transformer.glu silu %o, %q : tensor<?x?x64xf32>
  return %g : tensor<?x?x64xf32>
}

// -----

// Only sums of f32 rows have a kernel.
// CHECK-LABEL: func @elementwise(
//       CHECK:   arith.addf %{{.*}} : tensor<?x64xf32>
//       CHECK:   linalg.generic
//       CHECK:     arith.mulf %{{.*}} : f32
//       CHECK:   linalg.generic
//       CHECK:     arith.addf %{{.*}} : f64
func.func @elementwise(%x: tensor<?x64xf32>, %d: tensor<?x64xf64>) -> (tensor<?x64xf32>, tensor<?x64xf64>) {
  %s = arith.addf %x, %x : tensor<?x64xf32>
  %m = arith.mulf %s, %x : tensor<?x64xf32>
  %e = arith.addf %d, %d : tensor<?x64xf64>
  return %m, %e : tensor<?x64xf32>, tensor<?x64xf64>
}

// -----

// Products read panels, everything else the bytes of the file.
// CHECK-LABEL: func @both_layouts(
//   CHECK-DAG:   %[[PLAIN:.*]] = transformer.parameter "m.gguf" ["w"]
//   CHECK-DAG:   %[[PANELS:.*]] = transformer.parameter "m.gguf" ["w"]
//       CHECK:   transformer.linear %{{.*}}, %[[PANELS]] :
//       CHECK:   arith.addf %[[PLAIN]], %[[PLAIN]]
func.func @both_layouts(%x: tensor<?x64xf32>) -> (tensor<?x16xf32>, tensor<16x64xf32>) {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<16x64xf32>
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<16x64xf32>) -> tensor<?x16xf32>
  %z = arith.addf %w, %w : tensor<16x64xf32>
  return %y, %z : tensor<?x16xf32>, tensor<16x64xf32>
}
