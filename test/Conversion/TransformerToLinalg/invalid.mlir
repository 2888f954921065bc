// RUN: chorus-opt %s -convert-transformer-to-linalg -split-input-file -verify-diagnostics

func.func @attention_with_cache(%x: tensor<?x64xf32>, %p: tensor<?xi32>, %layer: index,
                                %c: !transformer.state<paged_kv, f16, layers = 1, kv_heads = 1, head_dim = 64>) -> tensor<?x64xf32> {
  // expected-error@+1 {{reads a cache and has no definition in linalg: decompose the stateless form}}
  %o = transformer.attention causal %x, %x, %x cache %c[%layer] at %p : !transformer.state<paged_kv, f16, layers = 1, kv_heads = 1, head_dim = 64>, tensor<?xi32> heads = 1 kv_heads = 1 scale = 1.0 : tensor<?x64xf32>, tensor<?x64xf32>
  return %o : tensor<?x64xf32>
}

// -----

func.func @blocks_as_argument(%x: tensor<?x64xf32>, %w: tensor<32x64x!transformer.q8_0>) -> tensor<?x32xf32> {
  // expected-error@+1 {{has weights in blocks that are no parameter}}
  %y = transformer.linear %x, %w : (tensor<?x64xf32>, tensor<32x64x!transformer.q8_0>) -> tensor<?x32xf32>
  return %y : tensor<?x32xf32>
}
