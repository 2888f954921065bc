// RUN: chorus-opt %s -convert-transformer-to-kernels -split-input-file -verify-diagnostics

func.func @no_kernel(%x: tensor<?x?x64xf32>) -> tensor<?x?x64xf32> {
  // expected-error@+1 {{has no kernel in this form}}
  %o = transformer.attention causal %x, %x, %x heads = 2 kv_heads = 2 scale = 1.25e-01 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %o : tensor<?x?x64xf32>
}

// -----

func.func @not_decomposed(%x: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // expected-error@+1 {{is neither a linalg op nor has a kernel}}
  %o = arith.mulf %x, %x : tensor<?x64xf32>
  return %o : tensor<?x64xf32>
}

// -----

// expected-error@+1 {{argument 0 has elements of type '!transformer.act_q8', which an entry cannot take}}
func.func @rounded_argument(%x: tensor<?x64x!transformer.act_q8>) -> tensor<?x16xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<16x64x!transformer.q8_0>
  %y = transformer.linear %x, %w : (tensor<?x64x!transformer.act_q8>, tensor<16x64x!transformer.q8_0>) -> tensor<?x16xf32>
  return %y : tensor<?x16xf32>
}

// -----

// expected-error@+1 {{result 0 has type 'tensor<?x64x!transformer.act_q8>', which an entry cannot give}}
func.func @rounded_result(%x: tensor<?x64xf32>) -> tensor<?x64x!transformer.act_q8> {
  %q = transformer.quantize_activations %x : tensor<?x64xf32> -> tensor<?x64x!transformer.act_q8>
  return %q : tensor<?x64x!transformer.act_q8>
}

// -----

func.func @rows_of_slice(%x: tensor<?x64xf32>) -> tensor<2x64xf32> {
  // expected-error@+1 {{only columns of whole rows can be sliced}}
  %s = tensor.extract_slice %x[0, 0] [2, 64] [1, 1] : tensor<?x64xf32> to tensor<2x64xf32>
  return %s : tensor<2x64xf32>
}

// -----

func.func @slice_of_parameter() -> tensor<16x32xf32> {
  %w = transformer.parameter "m.gguf" ["w"] : tensor<16x64xf32>
  // expected-error@+1 {{a parameter can only be read as it is}}
  %s = tensor.extract_slice %w[0, 0] [16, 32] [1, 1] : tensor<16x64xf32> to tensor<16x32xf32>
  return %s : tensor<16x32xf32>
}

// -----

func.func @different_sizes(%x: tensor<2x64xf32>, %y: tensor<3x64xf32>) -> tensor<?x64xf32> {
  %a = tensor.cast %x : tensor<2x64xf32> to tensor<?x64xf32>
  %b = tensor.cast %y : tensor<3x64xf32> to tensor<?x64xf32>
  // expected-error@+1 {{dimensions 2 and 3 must be equal}}
  %s = arith.addf %a, %b : tensor<?x64xf32>
  return %s : tensor<?x64xf32>
}

// -----

// Ids that are computed cannot be checked before a call.
func.func @computed_ids(%x: tensor<?xi32>) -> tensor<?x64xf32> {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<512x64xf16>
  %vocab = arith.constant 512 : index
  %s = linalg.add ins(%x, %x : tensor<?xi32>, tensor<?xi32>) outs(%x : tensor<?xi32>) -> tensor<?xi32>
  // expected-error@+1 {{indices must be an argument of the function, so that they can be checked before it runs}}
  transformer.require_indices %s below %vocab : tensor<?xi32>
  %y = transformer.embedding %s, %e : tensor<?xi32>, tensor<512x64xf16> -> tensor<?x64xf32>
  return %y : tensor<?x64xf32>
}

// -----

func.func @too_long(%x: tensor<?xf32>) -> tensor<?xf32> {
  %c9 = arith.constant 9 : index
  %c8 = arith.constant 8 : index
  // expected-error@+1 {{a size of 9 is read from one of 8}}
  transformer.require_size %c9 at_most %c8
  return %x : tensor<?xf32>
}

// -----

// Dynamic loops: only a loop's own index stays inside for sure.
func.func @shifted(%x: tensor<?xf32>, %out: tensor<?xf32>) -> tensor<?xf32> {
  // expected-error@+1 {{operand 0 is read at d0 + 3, which may lie outside of it}}
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0 + 3)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<?xf32>) outs(%out : tensor<?xf32>) {
  ^bb0(%a: f32, %unused: f32):
    linalg.yield %a : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}

// -----

// MLIR looks at none of the places where one loop is dynamic.
func.func @shifted_beside_dynamic(%x: tensor<?x8xf32>, %out: tensor<?x6xf32>) -> tensor<?x6xf32> {
  // expected-error@+1 {{operand 0 is read at d1 + 3, which may lie outside of it}}
  %r = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1 + 3)>, affine_map<(d0, d1) -> (d0, d1)>],
                       iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<?x8xf32>) outs(%out : tensor<?x6xf32>) {
  ^bb0(%a: f32, %unused: f32):
    linalg.yield %a : f32
  } -> tensor<?x6xf32>
  return %r : tensor<?x6xf32>
}
