// Functions that are not language models keep their own entries through all
// phases; only products with block weights change.
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise,chorus-derive,chorus-fuse)' | FileCheck %s

// CHECK-LABEL: func @main(
//  CHECK-SAME:   tensor<?x64xf32> {transformer.name = "x"}
//       CHECK:   transformer.quantize_activations
//       CHECK:   transformer.linear
//       CHECK:   transformer.linear
//       CHECK:   arith.addf
func.func @main(%x: tensor<?x64xf32> {transformer.name = "x"}) -> (tensor<?x32xf32> {transformer.name = "y"}) {
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64x!transformer.q4_1>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64xf16>
  %p = transformer.linear %x, %a : (tensor<?x64xf32>, tensor<32x64x!transformer.q4_1>) -> tensor<?x32xf32>
  %q = transformer.linear %x, %b : (tensor<?x64xf32>, tensor<32x64xf16>) -> tensor<?x32xf32>
  %s = arith.addf %p, %q : tensor<?x32xf32>
  return %s : tensor<?x32xf32>
}

// Any mask is fine where there is no cache.
// CHECK-LABEL: func @encode(
//   CHECK-NOT:   round_to_cache
//       CHECK:   transformer.attention full
func.func @encode(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %a = transformer.attention full %x, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %a : tensor<?x?x64xf32>
}
