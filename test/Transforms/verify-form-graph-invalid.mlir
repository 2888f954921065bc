// RUN: chorus-opt %s -split-input-file -chorus-verify-form=form=graph -verify-diagnostics

!kv = !transformer.state<paged_kv, f16, layers = 1, kv_heads = 4, head_dim = 16>

// expected-error @below {{'func.func' op uses a state, but the graph form is stateless}}
func.func @state_argument(%cache: !kv) {
  return
}

// -----

// expected-error @below {{'func.func' op has no body}}
func.func private @declaration()

// -----

func.func @layer_index(%layer: index) -> tensor<64xf32> {
  // expected-error @below {{'transformer.parameter' op picks a layer by an index, but layers of the graph form are unrolled}}
  %w = transformer.parameter "m.gguf" ["a", "b"][%layer] : tensor<64xf32>
  return %w : tensor<64xf32>
}

// -----

func.func @other_dialect(%n: index, %x: tensor<?xf32>) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  // expected-error @below {{'scf.for' op is not part of the graph form, whose dialects are transformer, linalg, tensor, arith, math and func}}
  %y = scf.for %i = %c0 to %n step %c1 iter_args(%z = %x) -> (tensor<?xf32>) {
    %s = arith.addf %z, %z : tensor<?xf32>
    scf.yield %s : tensor<?xf32>
  }
  return %y : tensor<?xf32>
}

// -----

// expected-error @below {{'memref.global' op is not part of a model, which consists of functions}}
memref.global @g : memref<4xf32>

// -----

// Ids are checked against the vocabulary, which is the width of the logits.
func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x65xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<64x65xf32>
  // expected-error @below {{'transformer.embedding' op has a table of 64 rows, expected at least the 65 of the logits}}
  %x = transformer.embedding %tokens, %e : tensor<?x?xi32>, tensor<64x65xf32> -> tensor<?x?x65xf32>
  return %x : tensor<?x?x65xf32>
}

// -----

func.func @main(%tokens: tensor<?x?xi32> {transformer.name = "tokens"}) -> (tensor<?x?x65xf32> {transformer.name = "logits"}) {
  %e = transformer.parameter "m.gguf" ["e"] : tensor<65x65xf32>
  %twice = arith.addi %tokens, %tokens : tensor<?x?xi32>
  // expected-error @below {{'transformer.embedding' op expected the model's own tokens}}
  %x = transformer.embedding %twice, %e : tensor<?x?xi32>, tensor<65x65xf32> -> tensor<?x?x65xf32>
  return %x : tensor<?x?x65xf32>
}

// -----

func.func @division(%x: tensor<?xi32>, %y: tensor<?xi32>) -> tensor<?xi32> {
  // expected-error @below {{'arith.divsi' op divides by what is no constant, or by 0 or -1, which may trap}}
  %z = arith.divsi %x, %y : tensor<?xi32>
  return %z : tensor<?xi32>
}

// -----

func.func @remainder(%x: tensor<4xi32>) -> tensor<4xi32> {
  %seven = arith.constant dense<7> : tensor<4xi32>
  %zero = arith.constant dense<0> : tensor<4xi32>
  %y = arith.remsi %x, %seven : tensor<4xi32>
  // expected-error @below {{'arith.remui' op divides by what is no constant, or by 0 or -1, which may trap}}
  %z = arith.remui %y, %zero : tensor<4xi32>
  return %z : tensor<4xi32>
}

// -----

#id = affine_map<(d0) -> (d0)>
func.func @division_in_a_body(%x: tensor<?xi32>, %out: tensor<?xi32>) -> tensor<?xi32> {
  %minus = arith.constant -1 : i32
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%x : tensor<?xi32>) outs(%out : tensor<?xi32>) {
  ^bb0(%a: i32, %unused: i32):
    // expected-error @below {{'arith.divsi' op divides by what is no constant, or by 0 or -1, which may trap}}
    %q = arith.divsi %a, %minus : i32
    linalg.yield %q : i32
  } -> tensor<?xi32>
  return %r : tensor<?xi32>
}
