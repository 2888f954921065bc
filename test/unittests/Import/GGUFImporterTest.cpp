//===- GGUFImporterTest.cpp - Rows G21 to G24, families, vocabulary -------===//
//
// Each case changes one thing in a file that is imported without complaint.
//
//===----------------------------------------------------------------------===//

#include "ScratchFolder.h"
#include "TinyLlama.h"

#include "chorus/Dialect/Transformer/TransformerOps.h"
#include "chorus/Import/Import.h"

#include <cmath>
#include <limits>

using namespace chorus;
using namespace chorus::gguf;
using namespace chorus::gguf::test;
using chorus::test::ScratchFolder;

namespace {

struct Imported {
  ScratchFolder folder;
  mlir::MLIRContext context;
  rt::StatusOr<ImportedModel> model = rt::refused("none", "", "");

  explicit Imported(const TinyLlama &source, ImportOptions options = {}) {
    GGUFBuilder builder = source.builder();
    builder.write(folder.path("tiny.gguf"));
    model = importModel(folder.path("tiny.gguf"), options, context);
  }
  ~Imported() { model = rt::refused("none", "", ""); }

  const ModelMetadata &metadata() const { return model->metadata; }
  template <typename OpTy> std::vector<OpTy> ops() {
    std::vector<OpTy> found;
    (*model->module)->walk([&](OpTy op) { found.push_back(op); });
    return found;
  }
};

void expectRefused(const TinyLlama &source, const std::string &code,
                   const std::vector<std::string> &parts) {
  Imported imported(source);
  ASSERT_FALSE(imported.model.ok());
  const rt::Status &status = imported.model.status();
  EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused);
  EXPECT_EQ(status.code(), code) << status.line("test");
  for (const std::string &part : parts)
    EXPECT_NE(status.line("test").find(part), std::string::npos)
        << "'" << part << "' is not in: " << status.line("test");
}

void expectAccepted(const TinyLlama &source) {
  Imported imported(source);
  EXPECT_TRUE(imported.model.ok()) << imported.model.status().line("test");
}

//===----------------------------------------------------------------------===//
// The graph and the facts
//===----------------------------------------------------------------------===//

TEST(GGUFImporter, BuildsEachLayer) {
  Imported imported((TinyLlama()));
  ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
  auto attention = imported.ops<transformer::AttentionOp>();
  ASSERT_EQ(attention.size(), 2u);
  EXPECT_EQ(attention[0].getNumHeads(), 4u);
  EXPECT_EQ(attention[0].getNumKvHeads(), 2u);
  EXPECT_EQ(attention[0].getScale().convertToDouble(), 0.25);
  auto rotary = imported.ops<transformer::RotaryOp>();
  ASSERT_EQ(rotary.size(), 4u);
  for (transformer::RotaryOp op : rotary)
    EXPECT_EQ(op.getPairing(), transformer::RotaryPairing::adjacent);
  auto table = imported.ops<transformer::RotaryTableOp>();
  ASSERT_EQ(table.size(), 1u);
  EXPECT_EQ(table[0].getTheta().convertToDouble(), 50000.0);
  EXPECT_FALSE(table[0].getFactors());
  EXPECT_EQ(imported.ops<transformer::LinearOp>().size(), 2u * 7 + 1);
  // Tied: one parameter for the embedding and the vocabulary product.
  EXPECT_EQ(imported.ops<transformer::ParameterOp>().size(), 2u * 9 + 2);
}

TEST(GGUFImporter, TellsFacts) {
  Imported imported((TinyLlama()));
  ASSERT_TRUE(imported.model.ok());
  const ModelMetadata &metadata = imported.metadata();
  EXPECT_EQ(metadata.name, "Tiny");
  EXPECT_EQ(metadata.architecture, "llama");
  EXPECT_EQ(metadata.license, "apache-2.0");
  EXPECT_EQ(metadata.sourceSha256.size(), 64u);
  EXPECT_EQ(metadata.sourceBytes,
            std::filesystem::file_size(imported.folder.path("tiny.gguf")));
  EXPECT_EQ(metadata.numParameters, 16u * 64 + 64 +
                                        2 * (64 + 64 * 64 + 32 * 64 + 32 * 64 +
                                             64 * 64 + 64 + 3 * 96 * 64));
  EXPECT_EQ(metadata.dimensions.dModel, 64u);
  EXPECT_EQ(metadata.dimensions.dFF, 96u);
  EXPECT_EQ(metadata.dimensions.numLayers, 2u);
  EXPECT_EQ(metadata.dimensions.numHeads, 4u);
  EXPECT_EQ(metadata.dimensions.numKVHeads, 2u);
  EXPECT_EQ(metadata.dimensions.headDim, 16u);
  EXPECT_EQ(metadata.vocabSize, 16u);
  EXPECT_EQ(metadata.contextLength, 128u);
  EXPECT_EQ(metadata.chatTemplate, "{{ messages[0].content }}");
  EXPECT_FALSE(metadata.tokenizerSegment.empty());
  EXPECT_TRUE(metadata.warnings.empty());
}

TEST(GGUFImporter, NamesTheFileWhereTheModelHasNoName) {
  TinyLlama source;
  source.keys.erase("general.name");
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok());
  EXPECT_EQ(imported.metadata().name, "tiny");
}

TEST(GGUFImporter, UntiedOutputWithRopeFactors) {
  TinyLlama source;
  source.tensors["output.weight"] = {{64, 16}, TensorType::F16, ""};
  source.tensors["rope_freqs.weight"] = {{8}, TensorType::F32, ""};
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
  EXPECT_EQ(imported.ops<transformer::ParameterOp>().size(), 2u * 9 + 4);
  auto table = imported.ops<transformer::RotaryTableOp>();
  ASSERT_EQ(table.size(), 1u);
  ASSERT_TRUE(table[0].getFactors());
  auto last = imported.ops<transformer::LinearOp>().back();
  EXPECT_TRUE(mlir::cast<mlir::RankedTensorType>(last.getWeights()[0].getType())
                  .getElementType()
                  .isF16());
}

TEST(GGUFImporter, PartialRotaryAndHeadsOfTheirOwnSize) {
  TinyLlama source;
  source.set("llama.attention.key_length", uint32_t(24));
  source.set("llama.attention.value_length", uint32_t(24));
  source.set("llama.rope.dimension_count", uint32_t(16));
  for (int layer = 0; layer < 2; ++layer) {
    std::string prefix = "blk." + std::to_string(layer) + ".";
    source.tensors[prefix + "attn_q.weight"].dims = {64, 96};
    source.tensors[prefix + "attn_k.weight"].dims = {64, 48};
    source.tensors[prefix + "attn_v.weight"].dims = {64, 48};
    source.tensors[prefix + "attn_output.weight"].dims = {96, 64};
  }
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
  EXPECT_EQ(imported.ops<transformer::AttentionOp>()[0].getHeadDim(), 24);
  EXPECT_EQ(
      imported.ops<transformer::AttentionOp>()[0].getScale().convertToDouble(),
      1.0 / std::sqrt(24.0));
  auto table = mlir::cast<mlir::RankedTensorType>(
      imported.ops<transformer::RotaryTableOp>()[0].getResult().getType());
  EXPECT_EQ(table.getShape(), llvm::ArrayRef<int64_t>({128, 8, 2}));
}

TEST(GGUFImporter, ThetaDefaultsToTenThousand) {
  TinyLlama source;
  source.keys.erase("llama.rope.freq_base");
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok());
  EXPECT_EQ(imported.ops<transformer::RotaryTableOp>()[0]
                .getTheta()
                .convertToDouble(),
            10000.0);
}

TEST(GGUFImporter, EveryTensorType) {
  for (TensorType type :
       {TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::Q8_0,
        TensorType::Q4_0, TensorType::Q4_1}) {
    TinyLlama source;
    for (auto &[name, tensor] : source.tensors)
      if (tensor.dims.size() == 2)
        tensor.type = type;
    expectAccepted(source);
  }
}

TEST(GGUFImporter, SamplingDefaults) {
  TinyLlama source;
  source.set("general.sampling.temp", 0.6f);
  source.set("general.sampling.top_k", int32_t(20));
  source.set("general.sampling.top_p", 0.0f);
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok());
  const SamplingDefaults &sampling = imported.metadata().sampling;
  EXPECT_EQ(sampling.temperature, static_cast<double>(0.6f));
  EXPECT_EQ(sampling.topK, 20u);
  EXPECT_EQ(sampling.topP, 1.0); // 0 is "off" there.
  EXPECT_FALSE(sampling.minP);
  source.set("general.sampling.top_p", 2.0f);
  expectRefused(source, "G21", {"general.sampling.top_p"});
}

TEST(GGUFImporter, UnknownKeysAreToldOnce) {
  TinyLlama source;
  source.set("llama.twist", uint32_t(1));
  source.set("llama.vocab_size", uint32_t(16));
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok());
  ASSERT_EQ(imported.metadata().warnings.size(), 1u);
  EXPECT_NE(imported.metadata().warnings[0].find("llama.twist"),
            std::string::npos);
}

//===----------------------------------------------------------------------===//
// Valid, but not built
//===----------------------------------------------------------------------===//

TEST(GGUFImporter, UnsupportedFamily) {
  TinyLlama source;
  source.set("general.architecture", "rwkv9");
  expectRefused(source, "unsupported",
                {"general.architecture", "'rwkv9'", "supported are llama"});
}

TEST(GGUFImporter, UnsupportedTensorType) {
  TinyLlama source;
  source.tensors["blk.1.ffn_up.weight"] = {
      {64, 96}, TensorType::Q5_0, filled(96 * 2 * 22)};
  expectRefused(source, "unsupported",
                {"blk.1.ffn_up.weight", "Q5_0", "supported are", "Q4_1"});
  source = TinyLlama();
  source.tensors["output_norm.weight"].type = TensorType::F16;
  expectRefused(source, "unsupported", {"output_norm.weight", "F16"});
}

TEST(GGUFImporter, UnsupportedFeatures) {
  struct {
    const char *key;
    std::function<void(TinyLlama &, const char *)> set;
  } cases[] = {
      {"llama.expert_count",
       [](TinyLlama &s, const char *k) { s.set(k, uint32_t(8)); }},
      {"llama.attention.sliding_window",
       [](TinyLlama &s, const char *k) { s.set(k, uint32_t(64)); }},
      {"llama.rope.scaling.type",
       [](TinyLlama &s, const char *k) { s.set(k, "yarn"); }},
      {"llama.rope.scaling.factor",
       [](TinyLlama &s, const char *k) { s.set(k, 4.0f); }},
      {"llama.attention.value_length",
       [](TinyLlama &s, const char *k) { s.set(k, uint32_t(32)); }},
      {"llama.logit_scale",
       [](TinyLlama &s, const char *k) { s.set(k, 0.5f); }},
      {"llama.attention.causal",
       [](TinyLlama &s, const char *k) { s.set(k, false); }},
      {"llama.attention.head_count_kv",
       [](TinyLlama &s, const char *k) {
         s.set(k, std::vector<uint32_t>{2, 4});
       }},
      {"blk.0.attn_q.bias",
       [](TinyLlama &s, const char *k) {
         s.tensors[k] = {{64}, TensorType::F32, ""};
       }},
  };
  for (const auto &entry : cases) {
    TinyLlama source;
    entry.set(source, entry.key);
    expectRefused(source, "unsupported", {entry.key});
  }
}

TEST(GGUFImporter, NeutralFeaturesAreAccepted) {
  TinyLlama source;
  source.set("llama.expert_count", uint32_t(0));
  source.set("llama.attention.sliding_window", uint32_t(128)); // The context.
  source.set("llama.rope.scaling.type", "none");
  source.set("llama.rope.scaling.factor", 1.0f);
  source.set("llama.attention.value_length", uint32_t(16));
  source.set("llama.attention.head_count_kv", std::vector<uint32_t>{2, 2});
  source.set("llama.logit_scale", 1.0f);
  source.set("llama.attention.causal", true);
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
  EXPECT_TRUE(imported.metadata().warnings.empty());
}

//===----------------------------------------------------------------------===//
// G21: sizes
//===----------------------------------------------------------------------===//

TEST(GGUF, G21_Zeros) {
  for (const char *key :
       {"llama.block_count", "llama.attention.head_count",
        "llama.attention.head_count_kv", "llama.embedding_length",
        "llama.feed_forward_length", "llama.context_length",
        "llama.rope.dimension_count"}) {
    TinyLlama source;
    source.set(key, uint32_t(0));
    expectRefused(source, "G21", {key, "is 0"});
  }
}

TEST(GGUF, G21_Missing) {
  for (const char *key :
       {"llama.block_count", "llama.attention.head_count",
        "llama.embedding_length", "llama.feed_forward_length",
        "llama.context_length", "llama.attention.layer_norm_rms_epsilon",
        "general.architecture"}) {
    TinyLlama source;
    source.keys.erase(key);
    expectRefused(source, "G21", {key, "is missing"});
  }
  // Multi-head attention leaves it out.
  TinyLlama source;
  source.keys.erase("llama.attention.head_count_kv");
  expectRefused(source, "G22", {"blk.0.attn_k.weight [32, 64]", "[64, 64]"});
}

TEST(GGUF, G21_WrongType) {
  TinyLlama source;
  source.set("llama.block_count", "two");
  expectRefused(source, "G21", {"llama.block_count", "string", "integer"});
  source = TinyLlama();
  source.set("llama.rope.freq_base", uint32_t(10000));
  expectRefused(source, "G21", {"llama.rope.freq_base", "u32"});
  source = TinyLlama();
  source.set("llama.block_count", uint64_t(2)); // Any width will do.
  expectAccepted(source);
}

TEST(GGUF, G21_WidthIsNoMultipleOfHeads) {
  TinyLlama source;
  source.set("llama.attention.head_count", uint32_t(6));
  expectRefused(source, "G21",
                {"llama.embedding_length",
                 "64 is not a multiple of llama.attention.head_count = 6"});
}

TEST(GGUF, G21_HeadsAreNoMultipleOfKeyHeads) {
  TinyLlama source;
  source.set("llama.attention.head_count_kv", uint32_t(3));
  expectRefused(source, "G21",
                {"llama.attention.head_count",
                 "4 is not a multiple of llama.attention.head_count_kv = 3"});
}

TEST(GGUF, G21_ContextTooLong) {
  TinyLlama source;
  source.set("llama.context_length", uint64_t(1) << 40);
  expectRefused(source, "G21", {"llama.context_length", "1099511627776"});
  source.set("llama.context_length", uint32_t(131072));
  expectAccepted(source);
}

TEST(GGUF, G21_RopeDimensions) {
  TinyLlama source;
  source.set("llama.rope.dimension_count", uint32_t(32));
  expectRefused(
      source, "G21",
      {"llama.rope.dimension_count", "32", "llama.attention.head_count = 4"});
  source.set("llama.rope.dimension_count", uint32_t(15));
  expectRefused(source, "G21", {"llama.rope.dimension_count", "15 is odd"});
  source.set("llama.rope.dimension_count", uint32_t(16));
  expectAccepted(source);
}

TEST(GGUF, G21_FloatsThatAreNoNumbers) {
  for (const char *key :
       {"llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base"})
    for (float value : {std::numeric_limits<float>::quiet_NaN(),
                        std::numeric_limits<float>::infinity(), 0.0f, -1.0f}) {
      TinyLlama source;
      source.set(key, value);
      expectRefused(source, "G21", {key, "positive"});
    }
}

//===----------------------------------------------------------------------===//
// G22: tensors
//===----------------------------------------------------------------------===//

TEST(GGUF, G22_Missing) {
  TinyLlama source;
  source.tensors.erase("blk.1.ffn_up.weight");
  expectRefused(source, "G22", {"1 missing tensors: blk.1.ffn_up.weight"});
  for (const char *name : {"token_embd.weight", "output_norm.weight"}) {
    source = TinyLlama();
    source.tensors.erase(name);
    expectRefused(source, "G22", {"missing tensors", name});
  }
}

TEST(GGUF, G22_ManyMissing) {
  TinyLlama source;
  source.set("llama.block_count", uint32_t(4));
  expectRefused(source, "G22",
                {"18 missing tensors: blk.2.attn_norm.weight",
                 "blk.2.ffn_up.weight, .."});
}

TEST(GGUF, G22_MoreLayersThanTensors) {
  TinyLlama source;
  source.set("llama.block_count", uint32_t(2000000000));
  expectRefused(source, "G22", {"2000000000 layers", "blk.1999999999"});
}

TEST(GGUF, G22_UnknownExtra) {
  TinyLlama source;
  source.tensors["blk.0.twist.weight"] = {{64}, TensorType::F32, ""};
  expectRefused(source, "G22", {"1 unknown tensors: blk.0.twist.weight"});
  source = TinyLlama();
  source.set("llama.block_count", uint32_t(1));
  expectRefused(source, "G22", {"9 unknown tensors", ".."});
}

TEST(GGUF, G22_OldRotaryTensorsAreIgnored) {
  TinyLlama source;
  source.tensors["blk.0.attn_rot_embd"] = {{8}, TensorType::F32, ""};
  source.tensors["blk.1.attn.rotary_emb.inv_freq"] = {{8}, TensorType::F32, ""};
  Imported imported(source);
  ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
  EXPECT_FALSE(imported.ops<transformer::RotaryTableOp>()[0].getFactors());
}

TEST(GGUF, G22_WrongShape) {
  TinyLlama source;
  source.tensors["blk.0.ffn_down.weight"].dims = {64, 96};
  expectRefused(source, "G22",
                {"1 tensors of another shape: blk.0.ffn_down.weight [96, 64], "
                 "needed is [64, 96]"});
  source = TinyLlama();
  source.tensors["output_norm.weight"].dims = {64, 1};
  expectRefused(source, "G22", {"output_norm.weight [1, 64]", "[64]"});
  source = TinyLlama();
  source.tensors["rope_freqs.weight"] = {{16}, TensorType::F32, ""};
  expectRefused(source, "G22", {"rope_freqs.weight [16], needed is [8]"});
}

//===----------------------------------------------------------------------===//
// G23: numbers
//===----------------------------------------------------------------------===//

/// F32 values, all 1 but for one.
std::string valuesWith(size_t count, size_t at, float value) {
  std::string data;
  for (size_t i = 0; i < count; ++i)
    data += bytesOf(i == at ? value : 1.0f);
  return data;
}

TEST(GGUF, G23_NonfiniteWeights) {
  for (float value : {std::numeric_limits<float>::quiet_NaN(),
                      -std::numeric_limits<float>::infinity()}) {
    TinyLlama source;
    source.tensors["blk.1.attn_k.weight"] = {
        {64, 32}, TensorType::F32, valuesWith(64 * 32, 64 * 5 + 3, value)};
    expectRefused(source, "G23", {"blk.1.attn_k.weight", "5", "1"});
    Imported allowed(source, ImportOptions{/*allowNonfinite=*/true});
    EXPECT_TRUE(allowed.model.ok()) << allowed.model.status().line("test");
  }
}

TEST(GGUF, G23_NonfiniteScale) {
  TinyLlama source;
  std::string blocks = filled(64 / 32 * 64 * 20);
  blocks[20 * 7] = 0x00; // An f16 infinity as the scale of block 7: row 3.
  blocks[20 * 7 + 1] = 0x7c;
  source.tensors["blk.0.attn_q.weight"].data = blocks;
  expectRefused(source, "G23", {"blk.0.attn_q.weight", "3"});
  blocks[20 * 7 + 1] = 0x7b; // The largest finite scale.
  source.tensors["blk.0.attn_q.weight"].data = blocks;
  expectAccepted(source);
}

//===----------------------------------------------------------------------===//
// G24: vocabulary
//===----------------------------------------------------------------------===//

TEST(GGUF, G24_ByteTokens) {
  // Byte tokens are checked whether or not the kind is built.
  for (const char *kind : {"gpt2", "llama"})
    for (const char *text : {"<0x-1>", "<0xZZ>", "<0x100>", "<0x4>", "a"}) {
      TinyLlama source;
      source.set("tokenizer.ggml.model", kind);
      std::vector<std::string> tokens = {"<|endoftext|>", "<s>", "</s>", text};
      std::vector<int32_t> kinds = {3, 3, 3, 6};
      for (char c = 'e'; tokens.size() < 16; ++c) {
        tokens.push_back(std::string(1, c));
        kinds.push_back(1);
      }
      source.keys.erase("tokenizer.ggml.merges");
      source.setTokens(tokens, kinds);
      expectRefused(source, "G24", {"tokenizer.ggml.tokens", "3", text});
      tokens[3] = "<0x0A>";
      source.setTokens(tokens, kinds);
      expectAccepted(source);
    }
}

TEST(GGUF, G24_TokenCount) {
  TinyLlama source;
  source.setTokens({"a", "b"}, {1, 1});
  expectRefused(source, "G24",
                {"tokenizer.ggml.tokens", "2 tokens", "16 rows"});
}

TEST(GGUF, G24_IdsOutOfRange) {
  for (const char *name : {"bos", "eos", "eot", "eom", "padding", "unknown"}) {
    std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
    TinyLlama source;
    source.set(key, uint32_t(16));
    expectRefused(source, "G24", {key, "16 tokens"});
    source.set(key, uint32_t(15));
    expectAccepted(source);
  }
}

TEST(GGUF, G24_LengthsOfArrays) {
  for (const char *kind : {"gpt2", "llama"}) {
    TinyLlama source;
    source.set("tokenizer.ggml.model", kind);
    source.set("tokenizer.ggml.scores", std::vector<float>(15, 0.0f));
    expectRefused(source, "G24", {"tokenizer.ggml.scores", "15", "16"});
    source.set("tokenizer.ggml.scores", std::vector<float>(16, 0.0f));
    expectAccepted(source);
    source.set("tokenizer.ggml.token_type", std::vector<int32_t>(17, 1));
    expectRefused(source, "G24", {"tokenizer.ggml.token_type", "17", "16"});
    source.set("tokenizer.ggml.token_type", std::vector<int32_t>(16, 9));
    expectRefused(source, "G24", {"tokenizer.ggml.token_type", "9"});
  }
}

TEST(GGUFImporter, StopIds) {
  // eos (2), and the control tokens 0 and 15 by their texts.
  Imported imported((TinyLlama()));
  ASSERT_TRUE(imported.model.ok());
  EXPECT_EQ(imported.metadata().stopIds, (std::vector<uint32_t>{0, 2, 15}));

  TinyLlama source;
  source.set("tokenizer.ggml.eot_token_id", uint32_t(5));
  source.set("tokenizer.ggml.eom_token_id", uint32_t(7));
  Imported named(source);
  ASSERT_TRUE(named.model.ok());
  EXPECT_EQ(named.metadata().stopIds, (std::vector<uint32_t>{0, 2, 5, 7, 15}));
}

TEST(GGUFImporter, TokenizersThatAreNotBuiltGiveOneWarning) {
  struct {
    const char *model, *pre, *named;
  } cases[] = {{"llama", nullptr, "'llama'"},
               {"none", nullptr, "'none'"},
               {"gpt2", "qwen2", "'qwen2'"},
               {"gpt2", nullptr, "'default'"},
               {nullptr, nullptr, "'none'"}};
  for (const auto &entry : cases) {
    TinyLlama source;
    source.keys.erase("tokenizer.ggml.model");
    source.keys.erase("tokenizer.ggml.pre");
    if (entry.model)
      source.set("tokenizer.ggml.model", entry.model);
    if (entry.pre)
      source.set("tokenizer.ggml.pre", entry.pre);
    Imported imported(source);
    ASSERT_TRUE(imported.model.ok()) << imported.model.status().line("test");
    EXPECT_TRUE(imported.metadata().tokenizerSegment.empty());
    ASSERT_EQ(imported.metadata().warnings.size(), 1u);
    EXPECT_NE(imported.metadata().warnings[0].find(entry.named),
              std::string::npos)
        << imported.metadata().warnings[0];
    EXPECT_EQ(imported.metadata().stopIds, (std::vector<uint32_t>{0, 2, 15}));
  }
}

TEST(GGUFImporter, BrokenMergesAreRefused) {
  TinyLlama source;
  source.set("tokenizer.ggml.merges", std::vector<std::string>{"a b", "a q"});
  expectRefused(source, "T03", {"tiny.gguf", "tokenizer.ggml.merges[1]"});
}

//===----------------------------------------------------------------------===//
// G26
//===----------------------------------------------------------------------===//

TEST(GGUF, G26_ChangedAfterImport) {
  Imported imported((TinyLlama()));
  ASSERT_TRUE(imported.model.ok());
  EXPECT_TRUE(imported.model->parameters->checkUnchanged().ok());
  std::ofstream(imported.folder.path("tiny.gguf"), std::ios::app) << "x";
  rt::Status status = imported.model->parameters->checkUnchanged();
  EXPECT_EQ(status.code(), "G26");
  EXPECT_EQ(status.exitCode(), rt::ExitCode::Refused);
}

//===----------------------------------------------------------------------===//
// The model that scripts/setup fetches
//===----------------------------------------------------------------------===//

TEST(GGUFImporter, SmolLM2) {
  std::string path =
      CHORUS_SOURCE_DIR "/models/smollm2-135m-instruct-q4_1.gguf";
  ASSERT_TRUE(std::filesystem::exists(path)) << path << ": run scripts/setup";
  mlir::MLIRContext context;
  rt::StatusOr<ImportedModel> model = importModel(path, {}, context);
  ASSERT_TRUE(model.ok()) << model.status().line("test");
  const ModelMetadata &metadata = model->metadata;
  EXPECT_TRUE(metadata.warnings.empty());
  EXPECT_EQ(metadata.dimensions.numLayers, 30u);
  EXPECT_EQ(metadata.dimensions.numHeads, 9u);
  EXPECT_EQ(metadata.dimensions.numKVHeads, 3u);
  EXPECT_EQ(metadata.dimensions.headDim, 64u);
  EXPECT_EQ(metadata.vocabSize, 49152u);
  EXPECT_EQ(metadata.contextLength, 8192u);
  EXPECT_EQ(metadata.numParameters, 134515008u);
  EXPECT_EQ(metadata.license, "apache-2.0");
  EXPECT_EQ(metadata.sourceBytes, 98362432u);
  EXPECT_EQ(metadata.sourceSha256, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15"
                                   "e5bc70ea373728110db53");
  // What llama.cpp's llama_vocab_is_eog says: <|endoftext|>, <|im_end|> and
  // <reponame>.
  EXPECT_EQ(metadata.stopIds, (std::vector<uint32_t>{0, 2, 4}));
  EXPECT_FALSE(metadata.tokenizerSegment.empty());
  EXPECT_NE(metadata.chatTemplate.find("<|im_start|>"), std::string::npos);
  unsigned attention = 0, parameters = 0;
  (*model->module)->walk([&](transformer::AttentionOp) { ++attention; });
  (*model->module)->walk([&](transformer::ParameterOp) { ++parameters; });
  EXPECT_EQ(attention, 30u);
  EXPECT_EQ(parameters, 272u); // All tensors, the embedding once.
}

} // namespace
