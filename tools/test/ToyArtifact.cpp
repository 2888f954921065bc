//===- ToyArtifact.cpp - Writes the artifact that tools run in tests ------===//

#include "ToyArtifact.h"

#include "ArtifactTables.h"
#include "ToolProcess.h"

#include "chorus/Package/ArtifactWriter.h"
#include "chorus_rt/TokenizerBuilder.h"
#include "chorus_rt/Utf8.h"
#include "chorus_rt/step_abi.h"
#include "toy_model.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

using namespace chorus;
using rt::test::arenaTerm, rt::test::code, rt::test::stepEntry,
    rt::test::tensor;

static void require(const rt::Status &status) {
  if (status.ok())
    return;
  std::fprintf(stderr, "%s\n", status.line("toy artifact").c_str());
  std::exit(1);
}

static std::unique_ptr<artifact::EntryT> makeEntry(bool reference) {
  using artifact::DType;
  if (!reference) {
    std::unique_ptr<artifact::EntryT> entry = stepEntry(TOY_VOCAB);
    entry->arena.push_back(arenaTerm(8, {0}));
    return entry;
  }
  const artifact::Dim one(1, 0), rows(-1, 0), vocab(TOY_VOCAB, 0);
  auto entry = std::make_unique<artifact::EntryT>();
  entry->name = "main";
  entry->kind = artifact::EntryKind::Plain;
  entry->function = "chorus_main";
  entry->symbols = {"S"};
  entry->inputs.push_back(tensor("tokens", DType::I32, {one, rows}));
  entry->outputs.push_back(tensor("logits", DType::F32, {one, rows, vocab}));
  entry->outputs.push_back(tensor("log_sum_exp", DType::F32, {one, rows}));
  return entry;
}

/// A token for each byte, in the order of the bytes, and the control tokens.
static std::string makeTokenizer() {
  // GPT-2's alphabet: printable Latin-1 stands for itself, other bytes for the
  // code points from 256 on.
  std::vector<std::string> texts;
  char32_t next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    bool printable = (byte >= 33 && byte <= 126) ||
                     (byte >= 161 && byte <= 172) || byte >= 174;
    std::string text;
    rt::appendUtf8(text, printable ? static_cast<char32_t>(byte) : next++);
    texts.push_back(text);
  }
  texts.push_back("<|im_start|>");
  texts.push_back("<|im_end|>");
  rt::TokenizerSource source;
  source.pre = "smollm";
  source.tokens.assign(texts.begin(), texts.end());
  source.kinds.assign(TOY_VOCAB, 1);
  source.kinds[TOY_START] = source.kinds[TOY_END] = 3;
  source.bosId = TOY_START;
  source.eosId = TOY_END;
  source.addBos = false;
  rt::StatusOr<std::string> segment = rt::buildTokenizerSegment(source);
  require(segment.status());
  return *segment;
}

static std::unique_ptr<artifact::ModelT>
makeModel(const test::ToyOptions &options, uint64_t weightsBytes) {
  auto model = std::make_unique<artifact::ModelT>();
  model->name = "toy";
  model->entries.push_back(makeEntry(options.reference));
  if (!options.reference) {
    auto state = std::make_unique<artifact::StateT>();
    state->kind = artifact::StateKind::PagedKV;
    state->dtype = artifact::DType::F32;
    state->layers = state->kv_heads = state->head_dim = 1;
    state->page_positions = CHORUS_PAGE_POSITIONS;
    state->page_bytes = TOY_PAGE_BYTES;
    model->states.push_back(std::move(state));
  }
  model->codes.push_back(code("x86-64-v3", {"sse4_2"}, 1));
  model->codes.push_back(code("x86-64-v4", {"sse4_2"}, 2));
  model->weights_segment = 0;
  model->weights_bytes = weightsBytes;
  model->tokenizer_segment = options.tokenizer ? 3 : -1;
  model->chat_template =
      "{% for message in messages %}<|im_start|>{{ message.role }}\n"
      "{{ message.content }}<|im_end|>\n{% endfor %}"
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
  model->vocab_size = TOY_VOCAB;
  model->context_length = TOY_CONTEXT;
  model->stop_ids = {TOY_END};
  model->facts = std::make_unique<artifact::FactsT>();
  model->facts->name = "Toy";
  model->facts->d_model = 1;
  model->facts->d_ff = options.dFF;
  model->facts->num_layers = model->facts->num_heads =
      model->facts->num_kv_heads = model->facts->head_dim = 1;
  return model;
}

void test::writeToyArtifact(const std::string &path,
                            const ToyOptions &options) {
  std::ifstream in(CHORUS_TOY_MODEL_CODE, std::ios::binary);
  std::string code(std::istreambuf_iterator<char>(in), {});
  rt::StatusOr<ArtifactWriter> writer = ArtifactWriter::create(path);
  require(writer.status());
  auto add = [&](artifact::SegmentKind kind, const std::string &bytes) {
    require(writer->addSegment(kind, bytes.data(), bytes.size()).status());
  };
  std::string weights(65536, 'w');
  add(artifact::SegmentKind::Weights, weights);
  add(artifact::SegmentKind::Code, code);
  add(artifact::SegmentKind::Code, code);
  if (options.tokenizer)
    add(artifact::SegmentKind::Tokenizer, makeTokenizer());
  require(writer->finish([&](flatbuffers::FlatBufferBuilder &builder,
                             ArtifactWriter::SegmentList segments) {
    std::vector<flatbuffers::Offset<artifact::Model>> models = {
        CreateModel(builder, makeModel(options, weights.size()).get())};
    auto producer = builder.CreateString("toy");
    auto profile = builder.CreateString("toy-profile");
    auto modelList = builder.CreateVector(models);
    flatbuffers::Offset<artifact::Scoring> scoring;
    if (options.verifier)
      scoring = artifact::CreateScoringDirect(builder, /*model=*/0,
                                              toyJudgeTemplate, toyScore);
    if (options.valueHead)
      scoring = artifact::CreateScoring(
          builder, /*model=*/0, 0, 0,
          artifact::CreateValueHead(builder, 'y', toyGain, toyBias));
    return artifact::CreateArtifact(builder, producer, CHORUS_STEP_ABI_VERSION,
                                    0, profile, 0, segments, modelList,
                                    scoring);
  }));
  require(writer->commit());
}

std::string test::toyArtifact(const ToyOptions &options) {
  std::string path = temporaryFolder() + "/toy" +
                     (options.reference ? "-reference" : "") +
                     (options.tokenizer ? "" : "-ids") +
                     (options.verifier ? "-verifier" : "") +
                     (options.valueHead ? "-value" : "") + "-" +
                     std::to_string(options.dFF) + ".chorus";
  static std::set<std::string> written;
  if (written.insert(path).second)
    writeToyArtifact(path, options);
  return path;
}
