//===- TinyLlama.h - A small Llama file whose parts tests change *- C++ -*-===//

#ifndef CHORUS_TEST_UNITTESTS_IMPORT_TINYLLAMA_H
#define CHORUS_TEST_UNITTESTS_IMPORT_TINYLLAMA_H

#include "GGUFBuilder.h"

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace chorus::gguf::test {

/// Two layers of width 64 with 4 query and 2 key-value heads of 16, a tied
/// embedding and a vocabulary of 16 tokens. Tests add, replace and erase keys
/// and tensors before `builder()`.
class TinyLlama {
public:
  struct TensorSource {
    std::vector<uint64_t> dims; // GGUF order.
    TensorType type = TensorType::F32;
    std::string data; // Made from the type if empty.
  };
  std::map<std::string, std::function<void(GGUFBuilder &, std::string)>> keys;
  std::map<std::string, TensorSource> tensors;

  TinyLlama() {
    set("general.architecture", "llama");
    set("general.name", "Tiny");
    set("general.license", "apache-2.0");
    set("llama.block_count", uint32_t(2));
    set("llama.context_length", uint32_t(128));
    set("llama.embedding_length", uint32_t(64));
    set("llama.feed_forward_length", uint32_t(96));
    set("llama.attention.head_count", uint32_t(4));
    set("llama.attention.head_count_kv", uint32_t(2));
    set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
    set("llama.rope.freq_base", 50000.0f);
    set("tokenizer.ggml.model", "gpt2");
    set("tokenizer.ggml.pre", "smollm");
    setTokens({"<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "c",
               "d", "e", "f", "g", "h", "i", "j", "ab", "cd", "<|eot_id|>"},
              {3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3});
    set("tokenizer.ggml.merges", std::vector<std::string>{"a b", "c d"});
    set("tokenizer.ggml.bos_token_id", uint32_t(1));
    set("tokenizer.ggml.eos_token_id", uint32_t(2));
    set("tokenizer.chat_template", "{{ messages[0].content }}");
    tensors["token_embd.weight"] = {{64, 16}, TensorType::Q8_0, ""};
    tensors["output_norm.weight"] = {{64}, TensorType::F32, ""};
    for (int layer = 0; layer < 2; ++layer) {
      std::string prefix = "blk." + std::to_string(layer) + ".";
      auto matrix = [&](const char *name, uint64_t out, uint64_t in) {
        tensors[prefix + name] = {{in, out}, TensorType::Q4_1, ""};
      };
      tensors[prefix + "attn_norm.weight"] = {{64}, TensorType::F32, ""};
      matrix("attn_q.weight", 64, 64);
      matrix("attn_k.weight", 32, 64);
      matrix("attn_v.weight", 32, 64);
      matrix("attn_output.weight", 64, 64);
      tensors[prefix + "ffn_norm.weight"] = {{64}, TensorType::F32, ""};
      matrix("ffn_gate.weight", 96, 64);
      matrix("ffn_up.weight", 96, 64);
      matrix("ffn_down.weight", 64, 96);
    }
  }

  template <typename T> void set(const std::string &key, T value) {
    keys[key] = [value](GGUFBuilder &builder, std::string name) {
      builder.add(std::move(name), value);
    };
  }
  void setTokens(const std::vector<std::string> &texts,
                 const std::vector<int32_t> &kinds) {
    set("tokenizer.ggml.tokens", texts);
    set("tokenizer.ggml.token_type", kinds);
  }

  GGUFBuilder builder() const {
    GGUFBuilder result;
    for (const auto &[name, add] : keys)
      add(result, name);
    for (const auto &[name, tensor] : tensors)
      if (tensor.data.empty())
        result.addTensor(name, tensor.dims, tensor.type);
      else
        result.addTensor(name, tensor.dims, tensor.type, tensor.data);
    return result;
  }
};

} // namespace chorus::gguf::test

#endif // CHORUS_TEST_UNITTESTS_IMPORT_TINYLLAMA_H
