// RUN: chorus-opt %s -split-input-file -chorus-verify-form=form=fused | FileCheck %s

!kv = !transformer.state<paged_kv, f16, layers = 5, kv_heads = 4, head_dim = 16>

// Layers of a loop, of a loop with two layers a period, and one by itself.
// CHECK-LABEL: func @step
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %y = scf.for %l = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    %n = transformer.parameter "m.gguf" ["n.0", "n.1"][%l] : tensor<64xf32>
    %h = transformer.rms_norm %z, %n epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<64xf32>
    %q = transformer.rotary halves %h, %table at %positions : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
    %k = transformer.round_to_cache %h to f16 : tensor<?x64xf32>
    %first = arith.muli %l, %c2 : index
    %a = transformer.attention causal %q, %k, %k cache %cache[%first] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
    %second = arith.addi %first, %c1 : index
    %b = transformer.attention causal %a, %k, %k cache %cache[%second] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
    %t = math.tanh %b : tensor<?x64xf32>
    scf.yield %t : tensor<?x64xf32>
  }
  %k = transformer.round_to_cache %y to f16 : tensor<?x64xf32>
  %a = transformer.attention causal %y, %k, %k cache %cache[%c4] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %a, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// Beside the step program stand plain entries in graph form.
// CHECK: func @plain
func.func @plain(%x: tensor<4x?x64xf32>) -> tensor<4x?x64xf32> {
  %y = linalg.exp ins(%x : tensor<4x?x64xf32>) outs(%x : tensor<4x?x64xf32>) -> tensor<4x?x64xf32>
  return %y : tensor<4x?x64xf32>
}

// -----

// An f32 cache holds what it is given.
!kv32 = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// CHECK-LABEL: func @step
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv32 {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv32, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %a, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}
