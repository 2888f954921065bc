// RUN: chorus-opt %s -split-input-file -chorus-round-keys-and-values | FileCheck %s
// RUN: chorus-opt %s -split-input-file -chorus-round-keys-and-values=type=f32 | FileCheck %s --check-prefix=F32

// F32-NOT: to f32

// CHECK-LABEL: func @main
//       CHECK:   %[[X:.*]] = transformer.embedding
//       CHECK:   %[[R:.*]] = transformer.round_to_cache %[[X]] to f16
//       CHECK:   transformer.attention causal %[[X]], %[[R]], %[[R]] heads
//       CHECK:   transformer.attention causal %{{.*}}, %[[R]], %[[R]] heads
//   F32-LABEL: func @main
//       F32:     %[[X:.*]] = transformer.embedding
//       F32:     transformer.attention causal %[[X]], %[[X]], %[[X]] heads
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %a = transformer.attention causal %x, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %b = transformer.attention causal %a, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %b : tensor<?x?x64xf32>
}

// -----

// Rounding twice changes nothing, so it is done once.
// CHECK-LABEL: func @main
// CHECK-COUNT-1: transformer.round_to_cache
//     CHECK-NOT: transformer.round_to_cache
//         CHECK: transformer.attention
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %k = transformer.round_to_cache %x to f16 : tensor<?x?x64xf32>
  %a = transformer.attention causal %x, %k, %k heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %a : tensor<?x?x64xf32>
}

// -----

// A plain entry has no cache.
// CHECK-LABEL: func @attend
//   CHECK-NOT:   transformer.round_to_cache
//       CHECK:   return
func.func @attend(%q: tensor<?x?x64xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  %a = transformer.attention causal %q, %k, %k heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %a : tensor<?x?x64xf32>
}
