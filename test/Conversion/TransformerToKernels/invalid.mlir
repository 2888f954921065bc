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
