// RUN: chorus-opt %s -split-input-file -verify-diagnostics

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

func.func @parameter_of_dynamic_shape() -> tensor<?x64xf32> {
  // expected-error@+1 {{needs a static shape}}
  %r = transformer.parameter "m.gguf" ["w"] : tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @parameter_that_is_empty() -> tensor<0x64xf32> {
  // expected-error@+1 {{shape [0, 64] is not positive or its size wraps}}
  %r = transformer.parameter "m.gguf" ["w"] : tensor<0x64xf32>
  return %r : tensor<0x64xf32>
}

// -----

func.func @parameter_whose_size_wraps() -> tensor<4294967296x4294967296xf32> {
  // expected-error@+1 {{shape [4294967296, 4294967296] is not positive or its size wraps}}
  %r = transformer.parameter "m.gguf" ["w"] : tensor<4294967296x4294967296xf32>
  return %r : tensor<4294967296x4294967296xf32>
}

// -----

func.func @parameter_with_part_of_a_block() -> tensor<4x48x!transformer.q4_0> {
  // expected-error@+1 {{rows must be a multiple of the block of 32}}
  %r = transformer.parameter "m.gguf" ["w"] : tensor<4x48x!transformer.q4_0>
  return %r : tensor<4x48x!transformer.q4_0>
}

// -----

func.func @block_parameter_without_rows() -> tensor<!transformer.q8_0> {
  // expected-error@+1 {{rows must be a multiple of the block of 32}}
  %r = transformer.parameter "m.gguf" ["w"] : tensor<!transformer.q8_0>
  return %r : tensor<!transformer.q8_0>
}

// -----

func.func @parameter_without_name() -> tensor<64xf32> {
  // expected-error@+1 {{needs a tensor name}}
  %r = transformer.parameter "m.gguf" [] : tensor<64xf32>
  return %r : tensor<64xf32>
}

// -----

func.func @two_names_without_layer() -> tensor<64xf32> {
  // expected-error@+1 {{has 2 names but no layer index, expected one}}
  %r = transformer.parameter "m.gguf" ["a", "b"] : tensor<64xf32>
  return %r : tensor<64xf32>
}

// -----

func.func @rotary_table_of_two_dimensions() -> tensor<64x2xf32> {
  // expected-error@+1 {{result has shape [64, 2], expected 3 dimensions}}
  %r = transformer.rotary_table theta = 1.0e+04 : tensor<64x2xf32>
  return %r : tensor<64x2xf32>
}

// -----

func.func @rotary_table_without_ranks() -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.rotary_table theta = 1.0e+04 : tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @rotary_table_of_dynamic_shape() -> tensor<?x32x2xf32> {
  // expected-error@+1 {{result has shape [?, 32, 2], expected static [context, pairs, 2]}}
  %r = transformer.rotary_table theta = 1.0e+04 : tensor<?x32x2xf32>
  return %r : tensor<?x32x2xf32>
}

// -----

func.func @rotary_table_of_triples() -> tensor<64x32x3xf32> {
  // expected-error@+1 {{result has shape [64, 32, 3], expected static [context, pairs, 2]}}
  %r = transformer.rotary_table theta = 1.0e+04 : tensor<64x32x3xf32>
  return %r : tensor<64x32x3xf32>
}

// -----

func.func @theta_of_zero() -> tensor<64x32x2xf32> {
  // expected-error@+1 {{theta must be positive and finite}}
  %r = transformer.rotary_table theta = 0.0 : tensor<64x32x2xf32>
  return %r : tensor<64x32x2xf32>
}

// -----

func.func @theta_that_is_infinite() -> tensor<64x32x2xf32> {
  // expected-error@+1 {{theta must be positive and finite}}
  %r = transformer.rotary_table theta = 0x7FF0000000000000 : tensor<64x32x2xf32>
  return %r : tensor<64x32x2xf32>
}

// -----

func.func @factors_of_other_pairs() -> tensor<64x32x2xf32> {
  %f = transformer.parameter "m.gguf" ["f"] : tensor<16xf32>
  // expected-error@+1 {{factors have shape [16], expected [32] (the pairs of result)}}
  %r = transformer.rotary_table theta = 1.0e+04 factors %f : tensor<16xf32> : tensor<64x32x2xf32>
  return %r : tensor<64x32x2xf32>
}

// -----

func.func @factors_that_are_computed(%f: tensor<32xf32>) -> tensor<64x32x2xf32> {
  // expected-error@+1 {{factors must be a parameter: they are read at compile time}}
  %r = transformer.rotary_table theta = 1.0e+04 factors %f : tensor<32xf32> : tensor<64x32x2xf32>
  return %r : tensor<64x32x2xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Products
//===----------------------------------------------------------------------===//

func.func @embedding_without_ranks(%t: tensor<*xi32>, %w: tensor<512x64xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.embedding %t, %w : tensor<*xi32>, tensor<512x64xf32> -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @embedding_of_a_vector(%t: tensor<?xi32>, %w: tensor<512xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{table has shape [512], expected two static dimensions}}
  %r = transformer.embedding %t, %w : tensor<?xi32>, tensor<512xf32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @embedding_with_part_of_a_block(%t: tensor<?xi32>, %w: tensor<512x48x!transformer.q8_0>) -> tensor<?x48xf32> {
  // expected-error@+1 {{table has rows of 48 values, expected a multiple of the block of 32}}
  %r = transformer.embedding %t, %w : tensor<?xi32>, tensor<512x48x!transformer.q8_0> -> tensor<?x48xf32>
  return %r : tensor<?x48xf32>
}

// -----

func.func @embedding_of_other_width(%t: tensor<?xi32>, %w: tensor<512x64xf32>) -> tensor<?x32xf32> {
  // expected-error@+1 {{result has shape [?, 32], expected a last dimension of 64 (the last dimension of table)}}
  %r = transformer.embedding %t, %w : tensor<?xi32>, tensor<512x64xf32> -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// -----

func.func @embedding_of_other_tokens(%t: tensor<?xi32>, %w: tensor<512x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error@+1 {{result has shape [?, ?, 64], expected the shape of tokens [?] and d_model}}
  %r = transformer.embedding %t, %w : tensor<?xi32>, tensor<512x64xf32> -> tensor<?x?x64xf32>
  return %r : tensor<?x?x64xf32>
}

// -----

func.func @quantize_without_ranks(%x: tensor<*xf32>) -> tensor<*x!transformer.act_q8> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.quantize_activations %x : tensor<*xf32> -> tensor<*x!transformer.act_q8>
  return %r : tensor<*x!transformer.act_q8>
}

// -----

func.func @quantize_dynamic_rows(%x: tensor<4x?xf32>) -> tensor<4x?x!transformer.act_q8> {
  // expected-error@+1 {{input has shape [4, ?], expected a static positive last dimension}}
  %r = transformer.quantize_activations %x : tensor<4x?xf32> -> tensor<4x?x!transformer.act_q8>
  return %r : tensor<4x?x!transformer.act_q8>
}

// -----

func.func @quantize_to_other_shape(%x: tensor<?x64xf32>) -> tensor<?x32x!transformer.act_q8> {
  // expected-error@+1 {{result has shape [?, 32], expected [?, 64] (the shape of input)}}
  %r = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x32x!transformer.act_q8>
  return %r : tensor<?x32x!transformer.act_q8>
}

// -----

func.func @quantize_part_of_a_block(%x: tensor<?x48xf32>) -> tensor<?x48x!transformer.act_q8> {
  // expected-error@+1 {{input has rows of 48 values, expected a multiple of the block of 32}}
  %r = transformer.quantize_activations %x : tensor<?x48xf32> -> tensor<?x48x!transformer.act_q8>
  return %r : tensor<?x48x!transformer.act_q8>
}

// -----

func.func @linear_without_ranks(%x: tensor<*xf32>, %w: tensor<96x64xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.linear %x, %w : (tensor<*xf32>, tensor<96x64xf32>) -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @linear_of_dynamic_rows(%x: tensor<4x?xf32>, %w: tensor<96x64xf32>) -> tensor<4x96xf32> {
  // expected-error@+1 {{input has shape [4, ?], expected a static positive last dimension}}
  %r = transformer.linear %x, %w : (tensor<4x?xf32>, tensor<96x64xf32>) -> tensor<4x96xf32>
  return %r : tensor<4x96xf32>
}

// -----

func.func @linear_without_weights(%x: tensor<?x64xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{needs at least one weight}}
  %r = "transformer.linear"(%x) <{operandSegmentSizes = array<i32: 1, 0, 0>}> : (tensor<?x64xf32>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_of_a_dynamic_weight(%x: tensor<?x64xf32>, %w: tensor<?x64xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{weight has shape [?, 64], expected two static dimensions}}
  %r = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_with_part_of_a_block(%x: tensor<?x48xf32>, %w: tensor<96x48x!transformer.q4_1>) -> tensor<?x96xf32> {
  // expected-error@+1 {{weight has rows of 48 values, expected a multiple of the block of 32}}
  %r = transformer.linear %x, %w : (tensor<?x48xf32>, tensor<96x48x!transformer.q4_1>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_of_two_types(%x: tensor<?x64xf32>, %a: tensor<16x64xf32>, %b: tensor<16x64xf16>) -> tensor<?x32xf32> {
  // expected-error@+1 {{weights of one product must have one element type}}
  %r = transformer.linear %x, %a, %b : (tensor<?x64xf32>, tensor<16x64xf32>, tensor<16x64xf16>) -> tensor<?x32xf32>
  return %r : tensor<?x32xf32>
}

// -----

func.func @linear_of_other_width(%x: tensor<?x64xf32>, %w: tensor<96x32xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{weight has rows of 32 values, expected 64 (the last dimension of input)}}
  %r = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x32xf32>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @rounded_input_of_plain_weights(%x: tensor<?x64x!transformer.act_q8>, %w: tensor<96x64xf16>) -> tensor<?x96xf32> {
  // expected-error@+1 {{act_q8 input needs weights in blocks, found 'f16'}}
  %r = transformer.linear %x, %w : (tensor<?x64x!transformer.act_q8>, tensor<96x64xf16>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_of_other_terms(%x: tensor<?x64x!transformer.act_q8<2>>, %w: tensor<96x64x!transformer.q4_0>) -> tensor<?x96xf32> {
  // expected-error@+1 {{terms has 2 entries, expected 1 (one a weight)}}
  %r = transformer.linear %x, %w terms [1, 2] : (tensor<?x64x!transformer.act_q8<2>>, tensor<96x64x!transformer.q4_0>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_of_more_terms(%x: tensor<?x64x!transformer.act_q8>, %w: tensor<96x64x!transformer.q4_0>) -> tensor<?x96xf32> {
  // expected-error@+1 {{a weight reads 2 terms, the input has 1}}
  %r = transformer.linear %x, %w terms [2] : (tensor<?x64x!transformer.act_q8>, tensor<96x64x!transformer.q4_0>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

func.func @linear_of_other_outputs(%x: tensor<?x64xf32>, %w: tensor<96x64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{result has shape [?, 64], expected a last dimension of 96 (the rows of the weights)}}
  %r = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf32>) -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @linear_of_other_rows(%x: tensor<?x64xf32>, %w: tensor<96x64xf32>) -> tensor<?x?x96xf32> {
  // expected-error@+1 {{result has shape [?, ?, 96], expected the leading dimensions of input [?, 64]}}
  %r = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<96x64xf32>) -> tensor<?x?x96xf32>
  return %r : tensor<?x?x96xf32>
}

// -----

func.func @residual_of_other_shape(%x: tensor<?x64xf32>, %w: tensor<96x64xf32>, %y: tensor<?x64xf32>) -> tensor<?x96xf32> {
  // expected-error@+1 {{residual has type 'tensor<?x64xf32>', expected 'tensor<?x96xf32>'}}
  %r = transformer.linear %x, %w plus %y : (tensor<?x64xf32>, tensor<96x64xf32>, tensor<?x64xf32>) -> tensor<?x96xf32>
  return %r : tensor<?x96xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Norms
//===----------------------------------------------------------------------===//

func.func @norm_without_ranks(%x: tensor<*xf32>, %w: tensor<64xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<*xf32>, tensor<64xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @norm_of_dynamic_rows(%x: tensor<4x?xf32>, %w: tensor<64xf32>) -> tensor<4x?xf32> {
  // expected-error@+1 {{input has shape [4, ?], expected a static positive last dimension}}
  %r = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<4x?xf32>, tensor<64xf32>
  return %r : tensor<4x?xf32>
}

// -----

func.func @norm_of_other_width(%x: tensor<?x64xf32>, %w: tensor<32xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{weight has shape [32], expected [64] (the last dimension of input)}}
  %r = transformer.rms_norm %x, %w epsilon = 1.0e-05 : tensor<?x64xf32>, tensor<32xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @epsilon_of_zero(%x: tensor<?x64xf32>, %w: tensor<64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{epsilon must be positive and finite}}
  %r = transformer.rms_norm %x, %w epsilon = 0.0 : tensor<?x64xf32>, tensor<64xf32>
  return %r : tensor<?x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Attention
//===----------------------------------------------------------------------===//

func.func @rotary_without_ranks(%x: tensor<*xf32>, %t: tensor<8192x32x2xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.rotary halves %x, %t head_dim = 64 : tensor<*xf32>, tensor<8192x32x2xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @rotary_of_dynamic_rows(%x: tensor<4x?xf32>, %t: tensor<8192x32x2xf32>) -> tensor<4x?xf32> {
  // expected-error@+1 {{input has shape [4, ?], expected a static positive last dimension}}
  %r = transformer.rotary halves %x, %t head_dim = 64 : tensor<4x?xf32>, tensor<8192x32x2xf32>
  return %r : tensor<4x?xf32>
}

// -----

func.func @rotary_with_a_flat_table(%x: tensor<?x?x64xf32>, %t: tensor<8192x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error@+1 {{table has shape [8192, 64], expected 3 dimensions}}
  %r = transformer.rotary halves %x, %t head_dim = 64 : tensor<?x?x64xf32>, tensor<8192x64xf32>
  return %r : tensor<?x?x64xf32>
}

// -----

func.func @rotary_of_part_of_a_head(%x: tensor<?x?x96xf32>, %t: tensor<8192x32x2xf32>) -> tensor<?x?x96xf32> {
  // expected-error@+1 {{input has rows of 96 channels, expected a multiple of head_dim 64}}
  %r = transformer.rotary halves %x, %t head_dim = 64 : tensor<?x?x96xf32>, tensor<8192x32x2xf32>
  return %r : tensor<?x?x96xf32>
}

// -----

func.func @rotary_with_too_many_pairs(%x: tensor<?x?x96xf32>, %t: tensor<8192x32x2xf32>) -> tensor<?x?x96xf32> {
  // expected-error@+1 {{table has shape [8192, 32, 2], expected [context, pairs, 2] with 2 * pairs <= 32}}
  %r = transformer.rotary halves %x, %t head_dim = 32 : tensor<?x?x96xf32>, tensor<8192x32x2xf32>
  return %r : tensor<?x?x96xf32>
}

// -----

func.func @rotary_without_seq(%x: tensor<64xf32>, %t: tensor<8192x32x2xf32>) -> tensor<64xf32> {
  // expected-error@+1 {{input has shape [64], expected [.., seq, channels]}}
  %r = transformer.rotary halves %x, %t head_dim = 64 : tensor<64xf32>, tensor<8192x32x2xf32>
  return %r : tensor<64xf32>
}

// -----

func.func @positions_with_a_batch(%x: tensor<?x?x64xf32>, %p: tensor<?xi32>, %t: tensor<8192x32x2xf32>) -> tensor<?x?x64xf32> {
  // expected-error@+1 {{input has shape [?, ?, 64], expected [T, channels]}}
  %r = transformer.rotary halves %x, %t at %p : tensor<?xi32> head_dim = 64 : tensor<?x?x64xf32>, tensor<8192x32x2xf32>
  return %r : tensor<?x?x64xf32>
}

// -----

func.func @positions_of_other_rows(%x: tensor<4x64xf32>, %p: tensor<5xi32>, %t: tensor<8192x32x2xf32>) -> tensor<4x64xf32> {
  // expected-error@+1 {{positions have shape [5], expected one for each row of input}}
  %r = transformer.rotary halves %x, %t at %p : tensor<5xi32> head_dim = 64 : tensor<4x64xf32>, tensor<8192x32x2xf32>
  return %r : tensor<4x64xf32>
}

// -----

func.func @round_to_integers(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{cache type is 'i8', expected f16 or f32}}
  %r = transformer.round_to_cache %x to i8 : tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @attention_without_ranks(%q: tensor<*xf32>, %k: tensor<*xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 1.0 : tensor<*xf32>, tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @query_of_dynamic_rows(%q: tensor<?x?x?xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x?xf32> {
  // expected-error@+1 {{query has shape [?, ?, ?], expected a static positive last dimension}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 1.0 : tensor<?x?x?xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x?xf32>
}

// -----

func.func @key_of_dynamic_rows(%q: tensor<?x?x128xf32>, %k: tensor<?x?x?xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{key has shape [?, ?, ?], expected a static positive last dimension}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x?xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @heads_that_do_not_divide(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{has 2 heads and 3 kv_heads, expected a positive multiple}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 3 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @no_heads(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{has 0 heads and 1 kv_heads, expected a positive multiple}}
  %r = transformer.attention causal %q, %k, %k heads = 0 kv_heads = 1 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @query_of_part_of_a_head(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{query has rows of 128 channels, expected a multiple of 3 heads}}
  %r = transformer.attention causal %q, %k, %k heads = 3 kv_heads = 1 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @key_of_other_heads(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{key has shape [?, ?, 64], expected a last dimension of 128 (kv_heads * head_dim)}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 2 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @scale_that_is_infinite(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{scale must be finite}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 0x7FF0000000000000 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @attention_without_batch(%q: tensor<?x128xf32>, %k: tensor<?x64xf32>) -> tensor<?x128xf32> {
  // expected-error@+1 {{query has shape [?, 128], expected 3 dimensions}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 1.0 : tensor<?x128xf32>, tensor<?x64xf32>
  return %r : tensor<?x128xf32>
}

// -----

func.func @attention_with_cache_and_batch(%q: tensor<?x?x128xf32>, %k: tensor<?x?x64xf32>, %c: !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, %l: index, %p: tensor<?xi32>) -> tensor<?x?x128xf32> {
  // expected-error@+1 {{query has shape [?, ?, 128], expected 2 dimensions}}
  %r = transformer.attention causal %q, %k, %k cache %c[%l] at %p : !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 2 kv_heads = 1 scale = 1.0 : tensor<?x?x128xf32>, tensor<?x?x64xf32>
  return %r : tensor<?x?x128xf32>
}

// -----

func.func @cache_of_other_heads(%q: tensor<?x128xf32>, %k: tensor<?x128xf32>, %c: !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, %l: index, %p: tensor<?xi32>) -> tensor<?x128xf32> {
  // expected-error@+1 {{cache holds 1 heads of 64, expected 2 of 64}}
  %r = transformer.attention causal %q, %k, %k cache %c[%l] at %p : !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 2 kv_heads = 2 scale = 1.0 : tensor<?x128xf32>, tensor<?x128xf32>
  return %r : tensor<?x128xf32>
}

// -----

func.func @full_mask_with_cache(%q: tensor<?x128xf32>, %k: tensor<?x64xf32>, %c: !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, %l: index, %p: tensor<?xi32>) -> tensor<?x128xf32> {
  // expected-error@+1 {{only a causal mask can read a cache}}
  %r = transformer.attention full %q, %k, %k cache %c[%l] at %p : !transformer.state<paged_kv, f16, layers = 2, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 2 kv_heads = 1 scale = 1.0 : tensor<?x128xf32>, tensor<?x64xf32>
  return %r : tensor<?x128xf32>
}

// -----

func.func @key_of_other_positions(%q: tensor<2x5x128xf32>, %k: tensor<2x7x64xf32>) -> tensor<2x5x128xf32> {
  // expected-error@+1 {{key has shape [2, 7, 64], expected the leading dimensions of query [2, 5, 128]}}
  %r = transformer.attention causal %q, %k, %k heads = 2 kv_heads = 1 scale = 1.0 : tensor<2x5x128xf32>, tensor<2x7x64xf32>
  return %r : tensor<2x5x128xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Heads
//===----------------------------------------------------------------------===//

func.func @select_without_ranks(%x: tensor<*xf32>, %i: tensor<?xi32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.select_rows %x, %i : tensor<*xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @select_from_a_batch(%x: tensor<?x?x64xf32>, %i: tensor<?xi32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{input has shape [?, ?, 64], expected 2 dimensions}}
  %r = transformer.select_rows %x, %i : tensor<?x?x64xf32>, tensor<?xi32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @select_by_a_table(%x: tensor<?x64xf32>, %i: tensor<?x?xi32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{rows has shape [?, ?], expected 1 dimensions}}
  %r = transformer.select_rows %x, %i : tensor<?x64xf32>, tensor<?x?xi32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

func.func @select_to_other_shape(%x: tensor<?x64xf32>, %i: tensor<3xi32>) -> tensor<4x64xf32> {
  // expected-error@+1 {{result has type 'tensor<4x64xf32>', expected 'tensor<3x64xf32>'}}
  %r = transformer.select_rows %x, %i : tensor<?x64xf32>, tensor<3xi32> -> tensor<4x64xf32>
  return %r : tensor<4x64xf32>
}

// -----

func.func @log_sum_exp_without_ranks(%x: tensor<*xf32>) -> tensor<*xf32> {
  // expected-error@+1 {{needs ranked tensors}}
  %r = transformer.log_sum_exp %x : tensor<*xf32> -> tensor<*xf32>
  return %r : tensor<*xf32>
}

// -----

func.func @log_sum_exp_of_dynamic_rows(%x: tensor<4x?xf32>) -> tensor<4xf32> {
  // expected-error@+1 {{input has shape [4, ?], expected a static positive last dimension}}
  %r = transformer.log_sum_exp %x : tensor<4x?xf32> -> tensor<4xf32>
  return %r : tensor<4xf32>
}

// -----

func.func @log_sum_exp_to_other_shape(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{result has shape [?, 64], expected the leading dimensions of input [?, 64]}}
  %r = transformer.log_sum_exp %x : tensor<?x64xf32> -> tensor<?x64xf32>
  return %r : tensor<?x64xf32>
}

// -----

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

// expected-error@+1 {{cache element type is 'i8', expected f16 or f32}}
func.func private @state_of_integers(!transformer.state<paged_kv, i8, layers = 2, kv_heads = 1, head_dim = 64>)

// -----

// expected-error@+1 {{layers, kv_heads and head_dim must be positive}}
func.func private @state_without_layers(!transformer.state<paged_kv, f16, layers = 0, kv_heads = 1, head_dim = 64>)

// -----

// expected-error@+1 {{has 3 terms, expected 1 or 2}}
func.func private @three_terms(tensor<4x64x!transformer.act_q8<3>>)

// -----

//===----------------------------------------------------------------------===//
// Requirements
//===----------------------------------------------------------------------===//

func.func @indices_without_rank(%x: tensor<*xi32>, %n: index) {
  // expected-error@+1 {{needs ranked tensors}}
  transformer.require_indices %x below %n : tensor<*xi32>
  return
}

// -----

func.func @indices_of_floats(%x: tensor<?xf32>, %n: index) {
  // expected-error@+1 {{operand #0 must be tensor of signless integer values}}
  transformer.require_indices %x below %n : tensor<?xf32>
  return
}
