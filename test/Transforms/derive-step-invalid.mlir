// RUN: chorus-opt %s -split-input-file -chorus-derive-step -verify-diagnostics

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  // expected-error @below {{'transformer.attention' op mixes with the future (mask full), so no step program can be derived; a language model needs a causal mask}}
  %a = transformer.attention full %x, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %a : tensor<?x?x64xf32>
}

// -----

// Rows that move against each other are not token-wise.
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %batch = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %seq = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  // expected-error @below {{'tensor.extract_slice' op slices [batch, seq], expected a slice with static bounds of the last dimension only}}
  %s = tensor.extract_slice %x[0, 1, 0] [%batch, %seq, 64] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x64xf32>
  return %s : tensor<?x?x64xf32>
}

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %batch = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  %seq = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  // expected-error @below {{'tensor.extract_slice' op slices [batch, seq], expected}}
  %s = tensor.extract_slice %x[0, 0, 0] [%seq, %batch, 64] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x64xf32>
  return %s : tensor<?x?x64xf32>
}

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %c0 = arith.constant 0 : index
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %batch = tensor.dim %x, %c0 : tensor<?x?x64xf32>
  // expected-error @below {{'arith.addi' op operand #0 depends on positions: extent, expected rows of tokens or a parameter}}
  %sum = arith.addi %batch, %c0 : index
  %y = tensor.extract_slice %x[0, 0, 0] [%sum, %sum, 64] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  // expected-error @below {{'tensor.cast' op depends on positions in an unknown way, so no step program can be derived}}
  %y = tensor.cast %x : tensor<?x?x64xf32> to tensor<?x5x64xf32>
  %z = tensor.cast %y : tensor<?x5x64xf32> to tensor<?x?x64xf32>
  return %z : tensor<?x?x64xf32>
}

// -----

// An op with an effect counts even if its results are not used.
func.func private @observe(tensor<?x?x64xf32>)
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  // expected-error @below {{'func.call' op depends on positions in an unknown way}}
  func.call @observe(%x) : (tensor<?x?x64xf32>) -> ()
  return %x : tensor<?x?x64xf32>
}

// -----

// Half-derived models are not stateless.
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %c0 = arith.constant 0 : index
  // expected-error @below {{'transformer.parameter' op picks a layer by an index, expected a stateless model with unrolled layers}}
  %e = transformer.parameter "m.gguf" ["e", "f"][%c0] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}

// -----

// The table of the first is rotated by tokens, that of the second is no table.
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %table = transformer.rotary_table theta = 1.0e+05 : tensor<128x8x2xf32>
  %p = transformer.parameter "m.gguf" ["p"] : tensor<2x5x64xf32>
  // expected-error @below {{'transformer.rotary' op expected rows [batch, seq, channels] of tokens and a position table}}
  %r = transformer.rotary halves %p, %table head_dim = 16 : tensor<2x5x64xf32>, tensor<128x8x2xf32>
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  %y = tensor.cast %r : tensor<2x5x64xf32> to tensor<?x?x64xf32>
  %z = arith.addf %x, %y : tensor<?x?x64xf32>
  return %z : tensor<?x?x64xf32>
}

// -----

// One cache holds layers of one shape.
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  // expected-note @below {{the first attention is here}}
  %a = transformer.attention causal %x, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  // expected-error @below {{'transformer.attention' op has 8 kv_heads of 8, expected 4 of 16 in all layers of one cache}}
  %b = transformer.attention causal %a, %x, %x heads = 8 kv_heads = 8 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %b : tensor<?x?x64xf32>
}

// -----

// expected-error @below {{'func.func' op is a language model without attention, so it has no state to derive a step program for}}
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}

// -----

// expected-error @below {{'func.func' op is a language model without a body of one block, expected straight-line code}}
func.func private @main(tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"})

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}
// expected-error @below {{'func.func' op has the name of the step program, which is derived from @main; rename it}}
func.func @step() {
  return
}

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}
func.func @twice(%tokens: tensor<?x?xi32>) -> tensor<?x?x64xf32> {
  // expected-error @below {{'func.call' op uses @main, which becomes the step program and cannot be called}}
  %x = func.call @main(%tokens) : (tensor<?x?xi32>) -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}

// -----

// expected-remark @below {{has the types of a language model, but its argument and result are not named "tokens" and "logits"; compiled as a plain entry}}
func.func @main(%tokens: tensor<?x?xi32>) -> (tensor<?x?x64xf32>) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  return %x : tensor<?x?x64xf32>
}
