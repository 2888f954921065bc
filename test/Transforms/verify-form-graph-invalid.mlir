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
