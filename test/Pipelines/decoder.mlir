// A decoder with rotary embedding, grouped heads, gated units and tied embeddings,
// brought from graph form to fused form in one go and phase by phase.
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise)' | FileCheck %s --check-prefix=RAISED
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise,chorus-derive)' | FileCheck %s --check-prefix=STEP
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise,chorus-derive,chorus-fuse)' | FileCheck %s --check-prefix=FUSED
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph)' | chorus-opt --pass-pipeline='builtin.module(chorus-raise)' \
// RUN:   | chorus-opt --pass-pipeline='builtin.module(chorus-derive)' | chorus-opt --pass-pipeline='builtin.module(chorus-fuse)' | FileCheck %s --check-prefix=FUSED
// RUN: chorus-opt %s --pass-pipeline='builtin.module(chorus-graph,chorus-raise{activations=f32 kv-cache=f32},chorus-derive{kv-cache=f32},chorus-fuse)' | FileCheck %s --check-prefix=F32

// Still stateless: what a reference computes with.
// RAISED-LABEL: func @main(
// RAISED-COUNT-9: transformer.quantize_activations
// RAISED-NOT:     transformer.quantize_activations
// RAISED:         return

// STEP-LABEL: func @step(
// STEP-SAME:    layers = 2, kv_heads = 2, head_dim = 16
// STEP-COUNT-2: transformer.attention causal
// STEP-NOT:     transformer.attention
// STEP:         %[[LOGITS:.*]] = transformer.linear {{.*}} -> tensor<?x512xf32>
// STEP-NEXT:    transformer.select_rows %[[LOGITS]]

// FUSED-LABEL: func @step(
// FUSED-SAME:    %[[TOKENS:[^:]*]]: tensor<?xi32> {transformer.name = "tokens"}, %[[POSITIONS:[^:]*]]: tensor<?xi32> {transformer.name = "positions"}, %[[ROWS:[^:]*]]: tensor<?xi32> {transformer.name = "output_rows"}, %[[CACHE:[^:]*]]: !transformer.state
// FUSED-DAG:     %[[TABLE:.*]] = transformer.rotary_table
// FUSED-DAG:     %[[E:.*]] = transformer.parameter "m.gguf" ["token_embd.weight"]
// FUSED:         %[[X0:.*]] = transformer.embedding %[[TOKENS]], %[[E]]
// FUSED:         %[[X2:.*]] = scf.for %[[L:.*]] = %{{.*}} to %{{.*}} step %{{.*}} iter_args(%[[X:.*]] = %[[X0]]) -> (tensor<?x64xf32>) {
// FUSED:           %[[N:.*]] = transformer.parameter "m.gguf" ["blk.0.attn_norm.weight", "blk.1.attn_norm.weight"][%[[L]]]
// FUSED:           %[[H:.*]] = transformer.rms_norm %[[X]], %[[N]]
// FUSED:           %[[HQ:.*]] = transformer.quantize_activations %[[H]] : {{.*}}act_q8<2>>
// FUSED:           %[[WQ:.*]] = transformer.parameter "m.gguf" ["blk.0.attn_q.weight", "blk.1.attn_q.weight"][%[[L]]]
// FUSED:           %[[WK:.*]] = transformer.parameter "m.gguf" ["blk.0.attn_k.weight", "blk.1.attn_k.weight"][%[[L]]]
// FUSED:           %[[WV:.*]] = transformer.parameter "m.gguf" ["blk.0.attn_v.weight", "blk.1.attn_v.weight"][%[[L]]]
// FUSED:           %[[QKV:.*]] = transformer.linear %[[HQ]], %[[WQ]], %[[WK]], %[[WV]] terms [1, 1, 2]
// FUSED:           %[[Q:.*]] = tensor.extract_slice %[[QKV]][0, 0]
// FUSED:           %[[K:.*]] = tensor.extract_slice %[[QKV]][0, 64]
// FUSED:           %[[V:.*]] = tensor.extract_slice %[[QKV]][0, 96]
// FUSED-DAG:       %[[VC:.*]] = transformer.round_to_cache %[[V]] to f16
// FUSED-DAG:       %[[QR:.*]] = transformer.rotary adjacent %[[Q]], %[[TABLE]] at %[[POSITIONS]]
// FUSED-DAG:       %[[KR:.*]] = transformer.rotary adjacent %[[K]], %[[TABLE]] at %[[POSITIONS]]
// FUSED-DAG:       %[[KC:.*]] = transformer.round_to_cache %[[KR]] to f16
// FUSED:           %[[A:.*]] = transformer.attention causal %[[QR]], %[[KC]], %[[VC]] cache %[[CACHE]][%[[L]]] at %[[POSITIONS]]
// FUSED:           %[[AQ:.*]] = transformer.quantize_activations %[[A]]
// FUSED:           %[[O:.*]] = transformer.linear %[[AQ]], %{{.*}} plus %[[X]]
// FUSED:           %[[M:.*]] = transformer.rms_norm %[[O]]
// FUSED:           %[[GU:.*]] = transformer.linear %{{.*}}, %{{.*}}, %{{.*}} -> tensor<?x192xf32>
// FUSED:           %[[G:.*]] = tensor.extract_slice %[[GU]][0, 0]
// FUSED:           %[[U:.*]] = tensor.extract_slice %[[GU]][0, 96]
// FUSED:           transformer.glu silu %[[G]], %[[U]]
// FUSED:           %[[D:.*]] = transformer.linear %{{.*}} plus %[[O]]
// FUSED:           scf.yield %[[D]]
// FUSED:         }
// FUSED:         %[[S:.*]] = transformer.select_rows %[[X2]], %[[ROWS]]
// FUSED:         %[[F:.*]] = transformer.rms_norm %[[S]]
// FUSED:         %[[FQ:.*]] = transformer.quantize_activations %[[F]]
// FUSED:         %[[LOGITS:.*]] = transformer.linear %[[FQ]], %[[E]]
// FUSED:         %[[SUM:.*]] = transformer.log_sum_exp %[[LOGITS]]
// FUSED:         return %[[LOGITS]], %[[SUM]]

// F32-LABEL: func @step(
// F32-SAME:    !transformer.state<paged_kv, f32,
// F32-NOT:     transformer.quantize_activations
// F32-NOT:     transformer.round_to_cache
// F32:         return

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x512xf32> {transformer.name = "logits"}) {
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %emb = transformer.parameter "m.gguf" ["token_embd.weight"] : tensor<512x64x!transformer.q8_0>
  %x0 = transformer.embedding %tokens, %emb : tensor<?x?xi32>, tensor<512x64x!transformer.q8_0> -> tensor<?x?x64xf32>

  %n0w = transformer.parameter "m.gguf" ["blk.0.attn_norm.weight"] : tensor<64xf32>
  %n0 = transformer.rms_norm %x0, %n0w epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %q0w = transformer.parameter "m.gguf" ["blk.0.attn_q.weight"] : tensor<64x64x!transformer.q4_1>
  %q0 = transformer.linear %n0, %q0w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %k0w = transformer.parameter "m.gguf" ["blk.0.attn_k.weight"] : tensor<32x64x!transformer.q4_1>
  %k0 = transformer.linear %n0, %k0w : (tensor<?x?x64xf32>, tensor<32x64x!transformer.q4_1>) -> tensor<?x?x32xf32>
  %v0w = transformer.parameter "m.gguf" ["blk.0.attn_v.weight"] : tensor<32x64x!transformer.q4_1>
  %v0 = transformer.linear %n0, %v0w : (tensor<?x?x64xf32>, tensor<32x64x!transformer.q4_1>) -> tensor<?x?x32xf32>
  %qr0 = transformer.rotary adjacent %q0, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<128x8x2xf32>
  %kr0 = transformer.rotary adjacent %k0, %table head_dim = 16 : tensor<?x?x32xf32>, tensor<128x8x2xf32>
  %a0 = transformer.attention causal %qr0, %kr0, %v0 heads = 4 kv_heads = 2 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x32xf32>
  %o0w = transformer.parameter "m.gguf" ["blk.0.attn_output.weight"] : tensor<64x64x!transformer.q4_1>
  %o0 = transformer.linear %a0, %o0w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %h0 = arith.addf %o0, %x0 : tensor<?x?x64xf32>

  %m0w = transformer.parameter "m.gguf" ["blk.0.ffn_norm.weight"] : tensor<64xf32>
  %m0 = transformer.rms_norm %h0, %m0w epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %g0w = transformer.parameter "m.gguf" ["blk.0.ffn_gate.weight"] : tensor<96x64x!transformer.q4_1>
  %g0 = transformer.linear %m0, %g0w : (tensor<?x?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x?x96xf32>
  %u0w = transformer.parameter "m.gguf" ["blk.0.ffn_up.weight"] : tensor<96x64x!transformer.q4_1>
  %u0 = transformer.linear %m0, %u0w : (tensor<?x?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x?x96xf32>
  %s0 = transformer.glu silu %g0, %u0 : tensor<?x?x96xf32>
  %d0w = transformer.parameter "m.gguf" ["blk.0.ffn_down.weight"] : tensor<64x96x!transformer.q4_1>
  %d0 = transformer.linear %s0, %d0w : (tensor<?x?x96xf32>, tensor<64x96x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %x1 = arith.addf %d0, %h0 : tensor<?x?x64xf32>

  %n1w = transformer.parameter "m.gguf" ["blk.1.attn_norm.weight"] : tensor<64xf32>
  %n1 = transformer.rms_norm %x1, %n1w epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %q1w = transformer.parameter "m.gguf" ["blk.1.attn_q.weight"] : tensor<64x64x!transformer.q4_1>
  %q1 = transformer.linear %n1, %q1w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %k1w = transformer.parameter "m.gguf" ["blk.1.attn_k.weight"] : tensor<32x64x!transformer.q4_1>
  %k1 = transformer.linear %n1, %k1w : (tensor<?x?x64xf32>, tensor<32x64x!transformer.q4_1>) -> tensor<?x?x32xf32>
  %v1w = transformer.parameter "m.gguf" ["blk.1.attn_v.weight"] : tensor<32x64x!transformer.q4_1>
  %v1 = transformer.linear %n1, %v1w : (tensor<?x?x64xf32>, tensor<32x64x!transformer.q4_1>) -> tensor<?x?x32xf32>
  %qr1 = transformer.rotary adjacent %q1, %table head_dim = 16 : tensor<?x?x64xf32>, tensor<128x8x2xf32>
  %kr1 = transformer.rotary adjacent %k1, %table head_dim = 16 : tensor<?x?x32xf32>, tensor<128x8x2xf32>
  %a1 = transformer.attention causal %qr1, %kr1, %v1 heads = 4 kv_heads = 2 scale = 2.5e-01 : tensor<?x?x64xf32>, tensor<?x?x32xf32>
  %o1w = transformer.parameter "m.gguf" ["blk.1.attn_output.weight"] : tensor<64x64x!transformer.q4_1>
  %o1 = transformer.linear %a1, %o1w : (tensor<?x?x64xf32>, tensor<64x64x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %h1 = arith.addf %o1, %x1 : tensor<?x?x64xf32>

  %m1w = transformer.parameter "m.gguf" ["blk.1.ffn_norm.weight"] : tensor<64xf32>
  %m1 = transformer.rms_norm %h1, %m1w epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %g1w = transformer.parameter "m.gguf" ["blk.1.ffn_gate.weight"] : tensor<96x64x!transformer.q4_1>
  %g1 = transformer.linear %m1, %g1w : (tensor<?x?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x?x96xf32>
  %u1w = transformer.parameter "m.gguf" ["blk.1.ffn_up.weight"] : tensor<96x64x!transformer.q4_1>
  %u1 = transformer.linear %m1, %u1w : (tensor<?x?x64xf32>, tensor<96x64x!transformer.q4_1>) -> tensor<?x?x96xf32>
  %s1 = transformer.glu silu %g1, %u1 : tensor<?x?x96xf32>
  %d1w = transformer.parameter "m.gguf" ["blk.1.ffn_down.weight"] : tensor<64x96x!transformer.q4_1>
  %d1 = transformer.linear %s1, %d1w : (tensor<?x?x96xf32>, tensor<64x96x!transformer.q4_1>) -> tensor<?x?x64xf32>
  %x2 = arith.addf %d1, %h1 : tensor<?x?x64xf32>

  %fnw = transformer.parameter "m.gguf" ["output_norm.weight"] : tensor<64xf32>
  %fn = transformer.rms_norm %x2, %fnw epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  %logits = transformer.linear %fn, %emb : (tensor<?x?x64xf32>, tensor<512x64x!transformer.q8_0>) -> tensor<?x?x512xf32>
  return %logits : tensor<?x?x512xf32>
}
