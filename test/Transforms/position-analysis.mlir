// RUN: chorus-opt %s -chorus-derive-step -remark-format=emitRemark -remarks-filter-analyse=chorus-derive-step -verify-diagnostics

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x64xf32> {transformer.name = "logits"}) {
  // expected-remark @below {{uniform}}
  %c0 = arith.constant 0 : index
  // expected-remark @below {{uniform}}
  %c1 = arith.constant 1 : index
  // expected-remark @below {{uniform}}
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x64xf32>
  // expected-remark @below {{position table}}
  %table = transformer.rotary_table theta = 1.0e+04 : tensor<128x8x2xf32>
  // expected-remark @below {{position table}}
  %scaled = arith.addf %table, %table : tensor<128x8x2xf32>
  // expected-remark @below {{uniform}}
  %n = transformer.parameter "m.gguf" ["n"] : tensor<64xf32>
  // expected-remark @below {{uniform}}
  %n2 = arith.mulf %n, %n : tensor<64xf32>
  // expected-remark @below {{token-wise}}
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x64xf32> -> tensor<?x?x64xf32>
  // expected-remark @below {{token-wise}}
  %h = transformer.rms_norm %x, %n2 epsilon = 1.0e-05 : tensor<?x?x64xf32>, tensor<64xf32>
  // expected-remark @below {{extent}}
  %batch = tensor.dim %h, %c0 : tensor<?x?x64xf32>
  // expected-remark @below {{extent}}
  %seq = tensor.dim %x, %c1 : tensor<?x?x64xf32>
  // expected-remark @below {{token-wise}}
  %k = tensor.extract_slice %h[0, 0, 32] [%batch, %seq, 32] [1, 1, 1] : tensor<?x?x64xf32> to tensor<?x?x32xf32>
  // expected-remark @below {{token-wise}}
  %kr = transformer.rotary halves %k, %scaled head_dim = 16 : tensor<?x?x32xf32>, tensor<128x8x2xf32>
  // expected-remark @below {{token-wise}}
  %v = math.tanh %k : tensor<?x?x32xf32>
  // expected-remark @below {{mixes with the past}}
  %a = transformer.attention causal %x, %kr, %v heads = 4 kv_heads = 2 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x32xf32>
  // expected-remark @below {{token-wise}}
  %y = arith.addf %a, %x : tensor<?x?x64xf32>
  // Nothing depends on this, so it is not classed.
  %dead = transformer.attention full %x, %x, %x heads = 4 kv_heads = 4 scale = 1.0 : tensor<?x?x64xf32>, tensor<?x?x64xf32>
  return %y : tensor<?x?x64xf32>
}
