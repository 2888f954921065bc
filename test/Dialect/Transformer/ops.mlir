// RUN: chorus-opt %s | chorus-opt | FileCheck %s

// One attention block as an importer writes it.
// CHECK-LABEL: func @graph_form
func.func @graph_form(%tokens: tensor<?x?xi32>) -> tensor<?x?x576xf32> {
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<8192x32x2xf32>
  // CHECK: transformer.parameter "m.gguf" ["token_embd.weight"] : tensor<512x576x!transformer.q8_0>
  %e = transformer.parameter "m.gguf" ["token_embd.weight"] : tensor<512x576x!transformer.q8_0>
  %n = transformer.parameter "m.gguf" ["blk.0.attn_norm.weight"] : tensor<576xf32>
  %wq = transformer.parameter "m.gguf" ["blk.0.attn_q.weight"] : tensor<576x576x!transformer.q4_1>
  %wk = transformer.parameter "m.gguf" ["blk.0.attn_k.weight"] : tensor<192x576x!transformer.q4_1>
  %wv = transformer.parameter "m.gguf" ["blk.0.attn_v.weight"] : tensor<192x576x!transformer.q4_1>
  // CHECK: transformer.embedding
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<512x576x!transformer.q8_0> -> tensor<?x?x576xf32>
  // CHECK: transformer.rms_norm %{{.*}}, %{{.*}} epsilon = 1.000000e-05
  %h = transformer.rms_norm %x, %n epsilon = 1.0e-05 : tensor<?x?x576xf32>, tensor<576xf32>
  // CHECK: transformer.quantize_activations
  %hq = transformer.quantize_activations %h : tensor<?x?x576xf32> -> tensor<?x?x576x!transformer.act_q8>
  // CHECK: transformer.linear
  %q = transformer.linear %hq, %wq : (tensor<?x?x576x!transformer.act_q8>, tensor<576x576x!transformer.q4_1>) -> tensor<?x?x576xf32>
  %k = transformer.linear %hq, %wk : (tensor<?x?x576x!transformer.act_q8>, tensor<192x576x!transformer.q4_1>) -> tensor<?x?x192xf32>
  %v = transformer.linear %h, %wv : (tensor<?x?x576xf32>, tensor<192x576x!transformer.q4_1>) -> tensor<?x?x192xf32>
  // CHECK: transformer.rotary adjacent
  %qr = transformer.rotary adjacent %q, %table head_dim = 64 : tensor<?x?x576xf32>, tensor<8192x32x2xf32>
  %kr = transformer.rotary halves %k, %table head_dim = 64 : tensor<?x?x192xf32>, tensor<8192x32x2xf32>
  // CHECK: transformer.round_to_cache %{{.*}} to f16
  %kc = transformer.round_to_cache %kr to f16 : tensor<?x?x192xf32>
  %vc = transformer.round_to_cache %v to f16 : tensor<?x?x192xf32>
  // CHECK: transformer.attention causal
  %o = transformer.attention causal %qr, %kc, %vc heads = 9 kv_heads = 3 scale = 1.25e-01 : tensor<?x?x576xf32>, tensor<?x?x192xf32>
  // CHECK: transformer.glu silu
  %g = transformer.glu silu %o, %x : tensor<?x?x576xf32>
  // CHECK: transformer.linear %{{.*}} plus
  %y = transformer.linear %g, %wq plus %x : (tensor<?x?x576xf32>, tensor<576x576x!transformer.q4_1>, tensor<?x?x576xf32>) -> tensor<?x?x576xf32>
  return %y : tensor<?x?x576xf32>
}

// CHECK-LABEL: func @step_form
func.func @step_form(%x: tensor<?x576xf32>, %kv: tensor<?x192xf32>, %positions: tensor<?xi32>, %rows: tensor<?xi32>,
                     %cache: !transformer.state<paged_kv, f16, layers = 30, kv_heads = 3, head_dim = 64>, %layer: index) -> tensor<?xf32> {
  %w = transformer.parameter "m.gguf" ["a", "b"] [%layer] : tensor<576x576xbf16>
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<8192x32x2xf32>
  %q = transformer.rotary adjacent %x, %table at %positions : tensor<?xi32> head_dim = 64 : tensor<?x576xf32>, tensor<8192x32x2xf32>
  // CHECK: transformer.attention causal {{.*}} cache %{{.*}}[%{{.*}}] at
  %o = transformer.attention causal %q, %kv, %kv cache %cache[%layer] at %positions : !transformer.state<paged_kv, f16, layers = 30, kv_heads = 3, head_dim = 64>, tensor<?xi32> heads = 9 kv_heads = 3 scale = 1.25e-01 : tensor<?x576xf32>, tensor<?x192xf32>
  // CHECK: transformer.select_rows
  %s = transformer.select_rows %o, %rows : tensor<?x576xf32>, tensor<?xi32> -> tensor<?x576xf32>
  // CHECK: transformer.log_sum_exp
  %l = transformer.log_sum_exp %s : tensor<?x576xf32> -> tensor<?xf32>
  return %l : tensor<?xf32>
}

// What the two blocks above leave out.
// CHECK-LABEL: func @other_forms
//  CHECK-SAME:   !transformer.state<paged_kv, f32, layers = 1, kv_heads = 2, head_dim = 16>
func.func @other_forms(%x: tensor<4x64xf32>, %tokens: tensor<i32>,
                       %cache: !transformer.state<paged_kv, f32, layers = 1, kv_heads = 2, head_dim = 16>) -> (tensor<f32>, tensor<64xf32>) {
  // CHECK: transformer.rotary_table theta = 1.000000e+04 factors %{{.*}} : tensor<8xf32> : tensor<128x8x2xf32>
  %f = transformer.parameter "m.safetensors" ["rope_freqs.weight"] : tensor<8xf32>
  %table = transformer.rotary_table theta = 1.0e+04 factors %f : tensor<8xf32> : tensor<128x8x2xf32>
  // CHECK: tensor<32x64x!transformer.q4_0>
  %a = transformer.parameter "m.gguf" ["a"] : tensor<32x64x!transformer.q4_0>
  %b = transformer.parameter "m.gguf" ["b"] : tensor<32x64x!transformer.q4_0>
  // CHECK: -> tensor<4x64x!transformer.act_q8<2>>
  %q = transformer.quantize_activations %x : tensor<4x64xf32> -> tensor<4x64x!transformer.act_q8<2>>
  // CHECK: transformer.linear %{{.*}}, %{{.*}}, %{{.*}} plus %{{.*}} : (tensor<4x64x!transformer.act_q8<2>>,
  %y = transformer.linear %q, %a, %b plus %x : (tensor<4x64x!transformer.act_q8<2>>, tensor<32x64x!transformer.q4_0>, tensor<32x64x!transformer.q4_0>, tensor<4x64xf32>) -> tensor<4x64xf32>
  // CHECK: transformer.linear %{{.*}}, %{{.*}}, %{{.*}} terms [1, 2] : (tensor<4x64x!transformer.act_q8<2>>,
  %ab = transformer.linear %q, %a, %b terms [1, 2] : (tensor<4x64x!transformer.act_q8<2>>, tensor<32x64x!transformer.q4_0>, tensor<32x64x!transformer.q4_0>) -> tensor<4x64xf32>
  // CHECK: transformer.rotary halves %{{.*}}, %{{.*}} head_dim = 16 : tensor<4x64xf32>
  %r = transformer.rotary halves %y, %table head_dim = 16 : tensor<4x64xf32>, tensor<128x8x2xf32>
  // CHECK: transformer.round_to_cache %{{.*}} to f32
  %k = transformer.round_to_cache %r to f32 : tensor<4x64xf32>
  // CHECK: transformer.attention full
  %z = tensor.expand_shape %k [[0, 1], [2]] output_shape [1, 4, 64] : tensor<4x64xf32> into tensor<1x4x64xf32>
  %o = transformer.attention full %z, %z, %z heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<1x4x64xf32>, tensor<1x4x64xf32>
  // CHECK: transformer.embedding %{{.*}}, %{{.*}} : tensor<i32>, tensor<32x64xbf16> -> tensor<64xf32>
  %t = transformer.parameter "m.safetensors" ["t"] : tensor<32x64xbf16>
  %e = transformer.embedding %tokens, %t : tensor<i32>, tensor<32x64xbf16> -> tensor<64xf32>
  // CHECK: transformer.log_sum_exp %{{.*}} : tensor<64xf32> -> tensor<f32>
  %l = transformer.log_sum_exp %e : tensor<64xf32> -> tensor<f32>
  return %l, %e : tensor<f32>, tensor<64xf32>
}

// CHECK-LABEL: func @requirements
func.func @requirements(%tokens: tensor<?x?xi32>, %bytes: tensor<4xi8>, %n: index) {
  %c1 = arith.constant 1 : index
  %seq = tensor.dim %tokens, %c1 : tensor<?x?xi32>
  // CHECK: transformer.require_indices %{{.*}} below %{{.*}} : tensor<?x?xi32>
  transformer.require_indices %tokens below %n : tensor<?x?xi32>
  // CHECK: transformer.require_indices %{{.*}} below %{{.*}} : tensor<4xi8>
  transformer.require_indices %bytes below %c1 : tensor<4xi8>
  // CHECK: transformer.require_size %{{.*}} at_most %{{.*}}
  transformer.require_size %seq at_most %n
  return
}
