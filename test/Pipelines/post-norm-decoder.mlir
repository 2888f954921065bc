// A decoder with full heads, a feed-forward block without gate, norms after the
// blocks' sums, a product for the vocabulary that is not the embedding, and
// weights of several types: nothing in the phases knows a family.
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise,chorus-derive,chorus-fuse)' | FileCheck %s

// CHECK-LABEL: func @step(
// CHECK-SAME:    layers = 3, kv_heads = 4, head_dim = 16
// CHECK:         %[[E:.*]] = transformer.parameter "d.safetensors" ["wte"] : tensor<320x64xf32>
// CHECK:         %[[X0:.*]] = transformer.embedding
// CHECK:         %[[X3:.*]] = scf.for %[[L:.*]] = {{.*}} iter_args(%[[X:.*]] = %[[X0]])
// Weights in f16 keep f32 rows, so Q and K are one product and V, in blocks, another.
// CHECK:           %[[QK:.*]] = transformer.linear %[[X]], %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<64x64xf16>, tensor<64x64xf16>) -> tensor<?x128xf32>
// CHECK:           transformer.linear %{{.*}} : (tensor<?x64x!transformer.act_q8<2>>, tensor<64x64x!transformer.q4_0>) -> tensor<?x64xf32>
// CHECK:           transformer.attention causal {{.*}}[%[[L]]]
// CHECK:           %[[S:.*]] = transformer.linear %{{.*}} plus %[[X]]
// CHECK:           %[[H:.*]] = transformer.rms_norm %[[S]]
// CHECK:           math.tanh
// CHECK:           %[[T:.*]] = transformer.linear %{{.*}} plus %[[H]]
// CHECK:           %[[N:.*]] = transformer.rms_norm %[[T]]
// CHECK:           scf.yield %[[N]]
// The norm after the last block is the last layer's, and is not taken out of it
// for the sake of fewer rows: the layers would no longer be equal.
// CHECK:         %[[R:.*]] = transformer.select_rows %[[X3]]
// CHECK-NEXT:    %[[LOGITS:.*]] = transformer.linear %[[R]]

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x320xf32> {transformer.name = "logits"}) {
  %wte = transformer.parameter "d.safetensors" ["wte"] : tensor<320x64xf32>
  %x0 = transformer.embedding %tokens, %wte : tensor<?x?xi32>, tensor<320x64xf32> -> tensor<?x?x64xf32>
  %table = transformer.rotary_table theta = 1.0e+04 : tensor<256x4x2xf32>

  %wq0 = transformer.parameter "d.safetensors" ["h.0.q"] : tensor<64x64xf16>
  %q0 = transformer.linear %x0, %wq0 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wk0 = transformer.parameter "d.safetensors" ["h.0.k"] : tensor<64x64xf16>
  %k0 = transformer.linear %x0, %wk0 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wv0 = transformer.parameter "d.safetensors" ["h.0.v"] : tensor<64x64x!transformer.q4_0>
  %v0 = transformer.linear %x0, %wv0 : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_0>) -> tensor<?x?x64xf32>
  %qr0 = transformer.rotary halves %q0, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %kr0 = transformer.rotary halves %k0, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %a0 = transformer.attention causal %qr0, %kr0, %v0 heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %wo0 = transformer.parameter "d.safetensors" ["h.0.o"] : tensor<64x64xbf16>
  %o0 = transformer.linear %a0, %wo0 : (tensor<?x?x64xf32>, tensor<64x64xbf16>) -> tensor<?x?x64xf32>
  %s0 = arith.addf %x0, %o0 : tensor<?x?x64xf32>
  %wh0 = transformer.parameter "d.safetensors" ["h.0.norm1"] : tensor<64xf32>
  %h0 = transformer.rms_norm %s0, %wh0 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>
  %wu0 = transformer.parameter "d.safetensors" ["h.0.up"] : tensor<128x64xf32>
  %u0 = transformer.linear %h0, %wu0 : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
  %t0 = math.tanh %u0 : tensor<?x?x128xf32>
  %wd0 = transformer.parameter "d.safetensors" ["h.0.down"] : tensor<64x128xf32>
  %d0 = transformer.linear %t0, %wd0 : (tensor<?x?x128xf32>, tensor<64x128xf32>) -> tensor<?x?x64xf32>
  %e0 = arith.addf %h0, %d0 : tensor<?x?x64xf32>
  %wx1 = transformer.parameter "d.safetensors" ["h.0.norm2"] : tensor<64xf32>
  %x1 = transformer.rms_norm %e0, %wx1 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>

  %wq1 = transformer.parameter "d.safetensors" ["h.1.q"] : tensor<64x64xf16>
  %q1 = transformer.linear %x1, %wq1 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wk1 = transformer.parameter "d.safetensors" ["h.1.k"] : tensor<64x64xf16>
  %k1 = transformer.linear %x1, %wk1 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wv1 = transformer.parameter "d.safetensors" ["h.1.v"] : tensor<64x64x!transformer.q4_0>
  %v1 = transformer.linear %x1, %wv1 : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_0>) -> tensor<?x?x64xf32>
  %qr1 = transformer.rotary halves %q1, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %kr1 = transformer.rotary halves %k1, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %a1 = transformer.attention causal %qr1, %kr1, %v1 heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %wo1 = transformer.parameter "d.safetensors" ["h.1.o"] : tensor<64x64xbf16>
  %o1 = transformer.linear %a1, %wo1 : (tensor<?x?x64xf32>, tensor<64x64xbf16>) -> tensor<?x?x64xf32>
  %s1 = arith.addf %x1, %o1 : tensor<?x?x64xf32>
  %wh1 = transformer.parameter "d.safetensors" ["h.1.norm1"] : tensor<64xf32>
  %h1 = transformer.rms_norm %s1, %wh1 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>
  %wu1 = transformer.parameter "d.safetensors" ["h.1.up"] : tensor<128x64xf32>
  %u1 = transformer.linear %h1, %wu1 : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
  %t1 = math.tanh %u1 : tensor<?x?x128xf32>
  %wd1 = transformer.parameter "d.safetensors" ["h.1.down"] : tensor<64x128xf32>
  %d1 = transformer.linear %t1, %wd1 : (tensor<?x?x128xf32>, tensor<64x128xf32>) -> tensor<?x?x64xf32>
  %e1 = arith.addf %h1, %d1 : tensor<?x?x64xf32>
  %wx2 = transformer.parameter "d.safetensors" ["h.1.norm2"] : tensor<64xf32>
  %x2 = transformer.rms_norm %e1, %wx2 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>

  %wq2 = transformer.parameter "d.safetensors" ["h.2.q"] : tensor<64x64xf16>
  %q2 = transformer.linear %x2, %wq2 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wk2 = transformer.parameter "d.safetensors" ["h.2.k"] : tensor<64x64xf16>
  %k2 = transformer.linear %x2, %wk2 : (tensor<?x?x64xf32>, tensor<64x64xf16>) -> tensor<?x?x64xf32>
  %wv2 = transformer.parameter "d.safetensors" ["h.2.v"] : tensor<64x64x!transformer.q4_0>
  %v2 = transformer.linear %x2, %wv2 : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_0>) -> tensor<?x?x64xf32>
  %qr2 = transformer.rotary halves %q2, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %kr2 = transformer.rotary halves %k2, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<256x4x2xf32>
  %a2 = transformer.attention causal %qr2, %kr2, %v2 heads = 4 kv_heads = 4 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  %wo2 = transformer.parameter "d.safetensors" ["h.2.o"] : tensor<64x64xbf16>
  %o2 = transformer.linear %a2, %wo2 : (tensor<?x?x64xf32>, tensor<64x64xbf16>) -> tensor<?x?x64xf32>
  %s2 = arith.addf %x2, %o2 : tensor<?x?x64xf32>
  %wh2 = transformer.parameter "d.safetensors" ["h.2.norm1"] : tensor<64xf32>
  %h2 = transformer.rms_norm %s2, %wh2 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>
  %wu2 = transformer.parameter "d.safetensors" ["h.2.up"] : tensor<128x64xf32>
  %u2 = transformer.linear %h2, %wu2 : (tensor<?x?x64xf32>, tensor<128x64xf32>) -> tensor<?x?x128xf32>
  %t2 = math.tanh %u2 : tensor<?x?x128xf32>
  %wd2 = transformer.parameter "d.safetensors" ["h.2.down"] : tensor<64x128xf32>
  %d2 = transformer.linear %t2, %wd2 : (tensor<?x?x128xf32>, tensor<64x128xf32>) -> tensor<?x?x64xf32>
  %e2 = arith.addf %h2, %d2 : tensor<?x?x64xf32>
  %wx3 = transformer.parameter "d.safetensors" ["h.2.norm2"] : tensor<64xf32>
  %x3 = transformer.rms_norm %e2, %wx3 epsilon = 1.0e-06 : tensor<?x?x64xf32>, tensor<64xf32>

  %wlogits = transformer.parameter "d.safetensors" ["lm_head"] : tensor<320x64xf16>
  %logits = transformer.linear %x3, %wlogits : (tensor<?x?x64xf32>, tensor<320x64xf16>) -> tensor<?x?x320xf32>
  return %logits : tensor<?x?x320xf32>
}
