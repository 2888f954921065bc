// RUN: chorus-opt %s -canonicalize | FileCheck %s

// Rounding to f32 changes nothing.
// CHECK-LABEL: func @round_to_f32(
//  CHECK-SAME:   %[[X:.*]]: tensor<?x192xf32>
//  CHECK-NEXT:   return %[[X]]
func.func @round_to_f32(%x: tensor<?x192xf32>) -> tensor<?x192xf32> {
  %y = transformer.round_to_cache %x to f32 : tensor<?x192xf32>
  return %y : tensor<?x192xf32>
}

// CHECK-LABEL: func @round_to_f16(
//       CHECK:   transformer.round_to_cache %{{.*}} to f16
func.func @round_to_f16(%x: tensor<?x192xf32>) -> tensor<?x192xf32> {
  %y = transformer.round_to_cache %x to f16 : tensor<?x192xf32>
  return %y : tensor<?x192xf32>
}

// Stateless ops are pure: what nobody reads goes.
// CHECK-LABEL: func @unused(
//  CHECK-NEXT:   return
func.func @unused(%x: tensor<?x?x64xf32>) {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64xf32>
  %q = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
  %o = transformer.attention full %q, %q, %q heads = 1 kv_heads = 1 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return
}

// Attention with a cache also appends to it.
// CHECK-LABEL: func @unused_result_with_cache(
//       CHECK:   transformer.attention
func.func @unused_result_with_cache(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %l: index,
                                    %c: !transformer.state<paged_kv, f16, layers = 1, kv_heads = 1, head_dim = 64>) {
  %o = transformer.attention causal %x, %x, %x cache %c[%l] at %p : !transformer.state<paged_kv, f16, layers = 1, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 1 kv_heads = 1 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  return
}
