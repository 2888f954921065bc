// RUN: chorus-opt %s -chorus-quantize-activations | FileCheck %s

// CHECK-LABEL: func @one_quantisation_per_input
// CHECK-SAME:    %[[X:.*]]: tensor<?x64xf32>, %[[Y:.*]]: tensor<?x64xf32>
//       CHECK:   %[[YQ:.*]] = transformer.quantize_activations %[[Y]]
//       CHECK:   %[[XQ:.*]] = transformer.quantize_activations %[[X]]
//   CHECK-NOT:   quantize_activations
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} : (tensor<?x64x!transformer.act_q8>
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} : (tensor<?x64x!transformer.act_q8>
//       CHECK:   transformer.linear %[[YQ]], %{{.*}} plus %[[X]]
func.func @one_quantisation_per_input(%x: tensor<?x64xf32>, %y: tensor<?x64xf32>) -> (tensor<?x64xf32>, tensor<?x96xf32>, tensor<?x64xf32>) {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64x!transformer.q4_1>
  %v = transformer.parameter "m.gguf" ["v"] : tensor<96x64x!transformer.q8_0>
  %a = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x64xf32>
  %b = transformer.linear %x, %v : (tensor<?x64xf32>, tensor<96x64x!transformer.q8_0>) -> tensor<?x96xf32>
  %c = transformer.linear %y, %w plus %x : (tensor<?x64xf32>, tensor<64x64x!transformer.q4_1>, tensor<?x64xf32>) -> tensor<?x64xf32>
  return %a, %b, %c : tensor<?x64xf32>, tensor<?x96xf32>, tensor<?x64xf32>
}

// Only blocks have an integer product; other weights keep their f32 input, also
// beside a product that does not.
// CHECK-LABEL: func @keep_f32_input
// CHECK-SAME:    %[[X:.*]]: tensor<?x?x64xf32>
//       CHECK:   %[[XQ:.*]] = transformer.quantize_activations %[[X]]
//       CHECK:   transformer.linear %[[X]], %{{.*}} : (tensor<?x?x64xf32>, tensor<64x64xf32>)
//       CHECK:   transformer.linear %[[X]], %{{.*}} : (tensor<?x?x64xf32>, tensor<64x64xf16>)
//       CHECK:   transformer.linear %[[X]], %{{.*}} : (tensor<?x?x64xf32>, tensor<64x64xbf16>)
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} : (tensor<?x?x64x!transformer.act_q8>, tensor<64x64x!transformer.q4_0>)
func.func @keep_f32_input(%x: tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
  %f32 = transformer.parameter "m.gguf" ["f32"] : tensor<64x64xf32>
  %f16 = transformer.parameter "m.gguf" ["f16"] : tensor<64x64xf16>
  %bf16 = transformer.parameter "m.gguf" ["bf16"] : tensor<64x64xbf16>
  %q4_0 = transformer.parameter "m.gguf" ["q4_0"] : tensor<64x64x!transformer.q4_0>
  %a = transformer.linear %x, %f32 : (tensor<?x?x64xf32>, tensor<64x64xf32>) -> tensor<?x?x64xf32>
  %b = transformer.linear %x, %f16 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %c = transformer.linear %x, %bf16 : (tensor<?x?x64xf32>, tensor<64x64xbf16>) -> tensor<?x?x64xf32>
  %d = transformer.linear %x, %q4_0 : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_0>) -> tensor<?x?x64xf32>
  return %a, %b, %c, %d : tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>, tensor<?x?x64xf32>
}

// CHECK-LABEL: func @keep_quantised_input
//       CHECK:   transformer.quantize_activations
//   CHECK-NOT:   transformer.quantize_activations
//       CHECK:   return
func.func @keep_quantised_input(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64x!transformer.q4_1>
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  %y = transformer.linear %q, %w : (tensor<?x64x!transformer.act_q8>, tensor<64x64x!transformer.q4_1>) -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// Values read two terms of the same rows, also behind their rounding; queries,
// keys and other products of those rows read one.
// CHECK-LABEL: func @two_terms_for_values
// CHECK-SAME:    %[[X:.*]]: tensor<?x?x64xf32>
//       CHECK:   %[[XQ:.*]] = transformer.quantize_activations %[[X]] : tensor<?x?x64xf32> -> tensor<?x?x64x!transformer.act_q8<2>>
//   CHECK-NOT:   transformer.quantize_activations
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} terms [1] :
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} terms [1] :
//       CHECK:   transformer.linear %[[XQ]], %{{[^ ]*}} :
//       CHECK:   transformer.linear %[[XQ]], %{{.*}} terms [1] :
func.func @two_terms_for_values(%x: tensor<?x?x64xf32>) -> (tensor<?x?x64xf32>, tensor<?x?x64xf32>) {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<64x64x!transformer.q4_1>
  %table = transformer.rotary_table theta = 1.0e+04 : tensor<128x8x2xf32>
  %q = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %r = transformer.rotary halves %q, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<128x8x2xf32>
  %k = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %v = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %c = transformer.round_to_cache %v to f16 : tensor<?x?x64xf32>
  %g = transformer.linear %x, %w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %o = transformer.attention causal %r, %k, %c heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %o, %g : tensor<?x?x64xf32>, tensor<?x?x64xf32>
}
