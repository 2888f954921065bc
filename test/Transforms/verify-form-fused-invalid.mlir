// RUN: chorus-opt %s -split-input-file -chorus-verify-form=form=fused -verify-diagnostics

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  // expected-error @below {{'tensor.cast' op is not part of the fused form}}
  %y = tensor.cast %x : tensor<?x64xf32> to tensor<3x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  // expected-error @below {{'scf.for' op expected constant bounds from 0 in steps of 1}}
  %y = scf.for %i = %c1 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    %u = arith.addf %z, %z : tensor<?x64xf32>
    scf.yield %u : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  // expected-error @below {{'scf.for' op expected constant bounds from 0 in steps of 1}}
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    %u = arith.addf %z, %z : tensor<?x64xf32>
    scf.yield %u : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    // expected-error @below {{'scf.for' op expected a loop over layers that is in no other}}
    %v = scf.for %j = %c0 to %c2 step %c1 iter_args(%u = %z) -> (tensor<?x64xf32>) {
      scf.yield %u : tensor<?x64xf32>
    }
    scf.yield %v : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    // expected-error @below {{'transformer.parameter' op expected 2 names, picked by the index of the loop around it}}
    %w = transformer.parameter "m.gguf" ["a", "b", "c"][%i] : tensor<64xf32>
    scf.yield %z : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    // expected-error @below {{'transformer.parameter' op expected 2 names, picked by the index of the loop around it}}
    %w = transformer.parameter "m.gguf" ["a", "b"][%c1] : tensor<64xf32>
    scf.yield %z : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

// The second iteration would overwrite the layer of the first.
!kv = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    // expected-error @below {{'transformer.attention' op uses layer 1, as another attention does}}
    %a = transformer.attention causal %z, %z, %z cache %cache[%c1] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
    scf.yield %a : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    %l = arith.addi %i, %c1 : index
    // expected-error @below {{'transformer.attention' op uses layer 2 of a cache of 2}}
    %a = transformer.attention causal %z, %z, %z cache %cache[%l] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
    scf.yield %a : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
    %l = tensor.dim %z, %c0 : tensor<?x64xf32>
    // expected-error @below {{'transformer.attention' op expected a layer that is a constant or affine in the index of the loop around it}}
    %a = transformer.attention causal %z, %z, %z cache %cache[%l] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
    scf.yield %a : tensor<?x64xf32>
  }
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}
