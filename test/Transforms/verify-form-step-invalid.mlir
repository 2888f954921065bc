// RUN: chorus-opt %s -split-input-file -chorus-verify-form=form=step -verify-diagnostics

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op argument #2 has type 'tensor<?xi64>', expected tensor<?xi32>}}
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi64> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = arith.addf %x, %x : tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op argument #2 is not named "output_rows"}}
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op result #1 is not named "log_sum_exp"}}
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "sums"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

// expected-error @below {{'func.func' op is a step program, expected one block, 4 arguments and 2 or 3 results}}
func.func @step(%x: tensor<?xi32>) -> tensor<?xi32> attributes {transformer.step} {
  return %x : tensor<?xi32>
}

// -----

// expected-error @below {{'func.func' op argument #3 has type 'tensor<?xi32>', expected a state}}
func.func @step(%a: tensor<?xi32>, %b: tensor<?xi32>, %c: tensor<?xi32>, %d: tensor<?xi32>) -> (tensor<?xi32>, tensor<?xi32>) attributes {transformer.step} {
  return %a, %b : tensor<?xi32>, tensor<?xi32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op result #0 has type 'tensor<?xi32>', expected tensor<?xVxf32>}}
func.func @step(%a: tensor<?xi32>, %b: tensor<?xi32>, %c: tensor<?xi32>, %d: !kv) -> (tensor<?xi32>, tensor<?xi32>) attributes {transformer.step} {
  return %a, %b : tensor<?xi32>, tensor<?xi32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op result #1 has type 'tensor<?xi32>', expected tensor<?xf32>}}
func.func @step(%a: tensor<?xi32>, %b: tensor<?xi32>, %c: tensor<?xi32>, %d: !kv) -> (tensor<?x64xf32>, tensor<?xi32>) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %a, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  return %x, %b : tensor<?x64xf32>, tensor<?xi32>
}

// -----

// Each layer of the cache belongs to one attention.
!kv = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  // expected-error @below {{'transformer.attention' op uses layer 0, as another attention does}}
  %b = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  // expected-error @below {{'transformer.attention' op uses layer 1 of a cache of 1}}
  %a = transformer.attention causal %x, %x, %x cache %cache[%c1] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 2, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op has a cache of 2 layers, of which its attentions use 1}}
func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %a = transformer.attention causal %x, %x, %x cache %cache[%c1] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  %sum = arith.addi %c0, %c0 : index
  // expected-error @below {{'transformer.attention' op expected a layer that is a constant}}
  %a = transformer.attention causal %x, %x, %x cache %cache[%sum] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  // expected-error @below {{'transformer.attention' op expected the cache and the positions of the step program}}
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %rows : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f16, layers = 1, kv_heads = 4, head_dim = 16>

func.func @step(%tokens: tensor<?xi32> {transformer.name = "tokens"}, %positions: tensor<?xi32> {transformer.name = "positions"},
                %rows: tensor<?xi32> {transformer.name = "output_rows"}, %cache: !kv {transformer.name = "cache"})
    -> (tensor<?x64xf32> {transformer.name = "logits"}, tensor<?xf32> {transformer.name = "log_sum_exp"}) attributes {transformer.step} {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf16>
  %x = transformer.embedding %tokens, %e : tensor<?xi32>, tensor<64x64xf16> -> tensor<?x64xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  // expected-error @below {{'transformer.attention' op expected keys and values rounded to 'f16', the type of the cache; run -chorus-round-keys-and-values first}}
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  %t = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  // expected-error @below {{'transformer.rotary' op expected the positions of the step program}}
  %r = transformer.rotary halves %x, %t at %tokens : tensor<?xi32> head_dim = 16 : tensor<?x64xf32>, tensor<128x8x2xf32>
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  %n = tensor.dim %x, %c0 : tensor<?x64xf32>
  // expected-error @below {{'tensor.extract_slice' op expected columns with static bounds of [T, d] rows}}
  %r = tensor.extract_slice %x[1, 0] [%n, 32] [1, 1] : tensor<?x64xf32> to tensor<?x32xf32>
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  // expected-error @below {{'scf.for' op is not part of the step form}}
  %y = scf.for %i = %c0 to %c2 step %c1 iter_args(%z = %x) -> (tensor<?x64xf32>) {
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
  // expected-error @below {{'transformer.parameter' op picks a layer by an index outside a loop over layers}}
  %w = transformer.parameter "m.gguf" ["a", "b"][%c0] : tensor<64xf32>
  %a = transformer.attention causal %x, %x, %x cache %cache[%c0] at %positions : !kv, tensor<?xi32> heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
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
  // expected-error @below {{'tensor.cast' op is not part of the step form}}
  %y = tensor.cast %x : tensor<?x64xf32> to tensor<3x64xf32>
  %s = transformer.select_rows %x, %rows : tensor<?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  %lse = transformer.log_sum_exp %s : tensor<?x64xf32> -> tensor<?xf32>
  return %s, %lse : tensor<?x64xf32>, tensor<?xf32>
}

// -----

!kv = !transformer.state<paged_kv, f32, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op result #2 has type 'tensor<?x2xf32>', expected tensor<?x1xf32>}}
func.func @step(%a: tensor<?xi32>, %b: tensor<?xi32>, %c: tensor<?xi32>, %d: !kv) -> (tensor<?x64xf32>, tensor<?xf32>, tensor<?x2xf32>) attributes {transformer.step} {
  %c0 = arith.constant 0 : index
  %t = tensor.dim %a, %c0 : tensor<?xi32>
  %x = tensor.empty(%t) : tensor<?x64xf32>
  %s = tensor.empty(%t) : tensor<?xf32>
  %v = tensor.empty(%t) : tensor<?x2xf32>
  return %x, %s, %v : tensor<?x64xf32>, tensor<?xf32>, tensor<?x2xf32>
}
