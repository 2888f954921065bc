//===- Llama.cpp - Llama, Mistral, SmolLM ---------------------------------===//
//
// GGUF's `llama` stores the rows of query and key weights permuted, so that
// rotary turns adjacent channels. Llama 3.1's scaling of RoPE frequencies is a
// tensor of divisors, `rope_freqs.weight`. Without `output.weight` the
// embedding is also the vocabulary product.
//
//===----------------------------------------------------------------------===//

#include "../GGUF/ModelKeys.h"
#include "../GGUF/TensorChecklist.h"
#include "../GraphBuilder.h"
#include "chorus/Import/Families/Family.h"
#include "chorus/Import/ModelMetadata.h"

#include <cmath>

using namespace chorus;
using mlir::Value;

namespace {

struct LlamaSizes {
  int64_t layers, dModel, dFF, heads, kvHeads, headDim, rotaryDims, context;
  int64_t vocab;
  double epsilon, theta;
};

std::string layerTensor(int64_t layer, const char *name) {
  return "blk." + std::to_string(layer) + "." + name;
}

/// Keys that say nothing that the tensors or other keys do not say, or only
/// how a file came about.
void knowHarmlessKeys(ModelKeys &keys) {
  for (const char *key :
       {"vocab_size", "tensor_data_layout", "expert_used_count",
        "attention.layer_norm_epsilon", "rope.scaling.original_context_length",
        "rope.scaling.finetuned"})
    keys.know(key);
}

/// Keys that switch on what this family does not do, with the value that
/// leaves it off.
rt::Status refuseFeatures(ModelKeys &keys, int64_t context) {
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("expert_count", 0, "mixtures of experts"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("attention.clamp_kqv", 0, "clamped keys and values"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("attention.max_alibi_bias", 0, "ALiBi"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("attn_logit_softcapping", 0, "capped logits"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("final_logit_softcapping", 0, "capped logits"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("logit_scale", 1, "scaled logits", /*orZero=*/true));
  CHORUS_RETURN_IF_ERROR(keys.requireNeutral(
      "residual_scale", 1, "scaled residuals", /*orZero=*/true));
  CHORUS_RETURN_IF_ERROR(keys.requireNeutral(
      "embedding_scale", 1, "scaled embeddings", /*orZero=*/true));
  CHORUS_RETURN_IF_ERROR(keys.requireNeutral("attention.causal", 1,
                                             "attention that is not causal"));
  CHORUS_RETURN_IF_ERROR(
      keys.requireNeutral("use_parallel_residual", 0, "parallel residuals"));
  CHORUS_RETURN_IF_ERROR(keys.requireNeutral("rope.scaling.factor", 1,
                                             "linear scaling of RoPE",
                                             /*orZero=*/true));
  CHORUS_RETURN_IF_ERROR(keys.requireNeutral("rope.scale_linear", 1,
                                             "linear scaling of RoPE",
                                             /*orZero=*/true));
  // A window that holds the whole context hides nothing.
  int64_t window = 0;
  CHORUS_RETURN_IF_ERROR(keys.count("attention.sliding_window", window,
                                    /*absent=*/0, /*least=*/0));
  if (window != 0 && window < context)
    return keys.unsupportedFeature("attention.sliding_window",
                                   std::to_string(window),
                                   "sliding-window attention");
  std::string scaling = "none";
  CHORUS_RETURN_IF_ERROR(keys.text("rope.scaling.type", scaling));
  // "linear" scales by rope.scaling.factor, which is 1 here.
  if (scaling != "none" && scaling != "linear")
    return keys.unsupportedFeature("rope.scaling.type", scaling,
                                   "this kind of RoPE scaling");
  return {};
}

rt::Status readSizes(ModelKeys &keys, LlamaSizes &sizes) {
  CHORUS_RETURN_IF_ERROR(keys.count("block_count", sizes.layers));
  CHORUS_RETURN_IF_ERROR(keys.count("embedding_length", sizes.dModel));
  CHORUS_RETURN_IF_ERROR(keys.count("feed_forward_length", sizes.dFF));
  CHORUS_RETURN_IF_ERROR(keys.count("attention.head_count", sizes.heads));
  CHORUS_RETURN_IF_ERROR(
      keys.count("attention.head_count_kv", sizes.kvHeads, sizes.heads));
  CHORUS_RETURN_IF_ERROR(keys.contextLength(sizes.context));
  if (sizes.heads % sizes.kvHeads != 0)
    return keys.conflict("attention.head_count", sizes.heads,
                         "is not a multiple of", "attention.head_count_kv",
                         sizes.kvHeads);
  CHORUS_RETURN_IF_ERROR(
      keys.count("attention.key_length", sizes.headDim, /*absent=*/0));
  if (sizes.headDim == 0) {
    if (sizes.dModel % sizes.heads != 0)
      return keys.conflict("embedding_length", sizes.dModel,
                           "is not a multiple of", "attention.head_count",
                           sizes.heads);
    sizes.headDim = sizes.dModel / sizes.heads;
  }
  int64_t valueDim = sizes.headDim;
  CHORUS_RETURN_IF_ERROR(
      keys.count("attention.value_length", valueDim, valueDim));
  if (valueDim != sizes.headDim)
    return keys.unsupportedFeature("attention.value_length",
                                   std::to_string(valueDim),
                                   "values of another length than keys (" +
                                       std::to_string(sizes.headDim) + ")");
  CHORUS_RETURN_IF_ERROR(
      keys.count("rope.dimension_count", sizes.rotaryDims, sizes.headDim));
  if (sizes.rotaryDims > sizes.headDim)
    return keys.conflict(
        "rope.dimension_count", sizes.rotaryDims,
        "is more than the head size by",
        keys.has("attention.key_length") ? "attention.key_length"
                                         : "attention.head_count",
        keys.has("attention.key_length") ? sizes.headDim : sizes.heads);
  if (sizes.rotaryDims % 2 != 0)
    return keys.refuse("rope.dimension_count",
                       std::to_string(sizes.rotaryDims) +
                           " is odd; channels rotate in pairs");
  CHORUS_RETURN_IF_ERROR(
      keys.positiveReal("attention.layer_norm_rms_epsilon", sizes.epsilon));
  CHORUS_RETURN_IF_ERROR(
      keys.positiveReal("rope.freq_base", sizes.theta, /*absent=*/10000.0));
  knowHarmlessKeys(keys);
  return refuseFeatures(keys, sizes.context);
}

rt::Status checkTensors(TensorChecklist &tensors, LlamaSizes &sizes) {
  int64_t queryWidth = sizes.heads * sizes.headDim;
  int64_t keyWidth = sizes.kvHeads * sizes.headDim;
  sizes.vocab = tensors.rowsOf("token_embd.weight");
  tensors.matrix("token_embd.weight", sizes.vocab, sizes.dModel);
  tensors.vector("output_norm.weight", sizes.dModel);
  if (tensors.has("output.weight"))
    tensors.matrix("output.weight", sizes.vocab, sizes.dModel);
  if (tensors.has("rope_freqs.weight"))
    tensors.vector("rope_freqs.weight", sizes.rotaryDims / 2);
  CHORUS_RETURN_IF_ERROR(tensors.checkLayerCount("blk.", sizes.layers));
  for (int64_t layer = 0; layer < sizes.layers; ++layer) {
    auto name = [&](const char *suffix) { return layerTensor(layer, suffix); };
    tensors.vector(name("attn_norm.weight"), sizes.dModel);
    tensors.matrix(name("attn_q.weight"), queryWidth, sizes.dModel);
    tensors.matrix(name("attn_k.weight"), keyWidth, sizes.dModel);
    tensors.matrix(name("attn_v.weight"), keyWidth, sizes.dModel);
    tensors.matrix(name("attn_output.weight"), sizes.dModel, queryWidth);
    tensors.vector(name("ffn_norm.weight"), sizes.dModel);
    tensors.matrix(name("ffn_gate.weight"), sizes.dFF, sizes.dModel);
    tensors.matrix(name("ffn_up.weight"), sizes.dFF, sizes.dModel);
    tensors.matrix(name("ffn_down.weight"), sizes.dModel, sizes.dFF);
  }
  // What converters of old wrote beside the weights: the frequencies that
  // RoPE's base gives anyway.
  tensors.ignore([](llvm::StringRef name) {
    return name == "rope_freqs" || name.contains("inv_freq") ||
           name.contains("attn_rot_embd");
  });
  tensors.refuseFeature("biases", [](llvm::StringRef name) {
    return name.starts_with("blk.") && name.ends_with(".bias");
  });
  return tensors.finish();
}

Value buildLayer(GraphBuilder &graph, const LlamaSizes &sizes, int64_t layer,
                 Value hidden, Value rotaryTable) {
  auto name = [&](const char *suffix) { return layerTensor(layer, suffix); };
  auto rotary = [&](Value heads) {
    return graph.rotary(RotaryPairing::adjacent, heads, rotaryTable,
                        sizes.headDim);
  };
  Value normed = graph.rmsNorm(hidden, name("attn_norm.weight"), sizes.epsilon);
  Value query = rotary(graph.linear(normed, name("attn_q.weight")));
  Value key = rotary(graph.linear(normed, name("attn_k.weight")));
  Value value = graph.linear(normed, name("attn_v.weight"));
  Value mixed = graph.causalAttention(
      query, key, value, sizes.heads, sizes.kvHeads,
      1.0 / std::sqrt(static_cast<double>(sizes.headDim)));
  hidden = graph.add(graph.linear(mixed, name("attn_output.weight")), hidden);

  normed = graph.rmsNorm(hidden, name("ffn_norm.weight"), sizes.epsilon);
  Value gate = graph.linear(normed, name("ffn_gate.weight"));
  Value up = graph.linear(normed, name("ffn_up.weight"));
  return graph.add(
      graph.linear(graph.swiglu(gate, up), name("ffn_down.weight")), hidden);
}

rt::Status buildLlama(FamilyImport &import) {
  LlamaSizes sizes;
  CHORUS_RETURN_IF_ERROR(readSizes(import.keys, sizes));
  CHORUS_RETURN_IF_ERROR(checkTensors(import.tensors, sizes));
  import.metadata.vocabSize = static_cast<uint32_t>(sizes.vocab);
  import.metadata.contextLength = static_cast<uint32_t>(sizes.context);
  ModelDimensions &dimensions = import.metadata.dimensions;
  dimensions.dModel = static_cast<uint32_t>(sizes.dModel);
  dimensions.dFF = static_cast<uint32_t>(sizes.dFF);
  dimensions.numLayers = static_cast<uint32_t>(sizes.layers);
  dimensions.numHeads = static_cast<uint32_t>(sizes.heads);
  dimensions.numKVHeads = static_cast<uint32_t>(sizes.kvHeads);
  dimensions.headDim = static_cast<uint32_t>(sizes.headDim);

  GraphBuilder &graph = import.graph;
  Value rotaryTable = graph.rotaryTable(
      sizes.context, sizes.rotaryDims / 2, sizes.theta,
      import.tensors.has("rope_freqs.weight") ? "rope_freqs.weight" : "");
  Value hidden = graph.embedding(graph.tokens(), "token_embd.weight");
  for (int64_t layer = 0; layer < sizes.layers; ++layer)
    hidden = buildLayer(graph, sizes, layer, hidden, rotaryTable);
  hidden = graph.rmsNorm(hidden, "output_norm.weight", sizes.epsilon);
  bool tied = !import.tensors.has("output.weight");
  graph.setLogits(
      graph.linear(hidden, tied ? "token_embd.weight" : "output.weight"));
  return {};
}

} // namespace

const Family chorus::llamaFamily = {"llama", "Llama 2 and 3, Mistral, SmolLM",
                                    buildLlama};
