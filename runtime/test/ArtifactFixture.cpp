//===- ArtifactFixture.cpp - Small artifacts for tests --------------------===//

#include "ArtifactFixture.h"

#include "ArtifactTables.h"
#include "chorus/Package/ArtifactWriter.h"
#include "chorus_rt/schema/tokenizer_generated.h"
#include "chorus_rt/step_abi.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <unistd.h>

using namespace chorus;
using namespace chorus::rt;
using namespace chorus::rt::test;

static void require(const Status &status) {
  if (status.ok())
    return;
  std::fprintf(stderr, "%s\n", status.line("fixture").c_str());
  std::exit(1);
}

Bytes test::readBytes(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    require(ioError("io", path, "cannot read"));
  return Bytes(std::istreambuf_iterator<char>(in), {});
}

void test::writeBytes(const std::string &path, const Bytes &bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char *>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  if (!out.flush())
    require(ioError("io", path, "cannot write"));
}

Bytes test::codeVariant(const std::string &name) {
  return readBytes(std::string(CHORUS_TEST_CODE_DIR) + "/" + name + ".so");
}

std::string test::temporaryPath(const std::string &name) {
  // Removed with all files when the program ends.
  struct Folder {
    std::filesystem::path path;
    Folder() {
      // In memory where possible: some tests open a file 100,000 times.
      std::filesystem::path parent = "/dev/shm";
      if (access(parent.c_str(), W_OK) != 0)
        parent = std::filesystem::temp_directory_path();
      std::string pattern = (parent / "chorus-XXXXXX").string();
      if (!mkdtemp(pattern.data()))
        require(ioError("io", pattern, "cannot make a folder"));
      path = pattern;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static Folder folder;
  return (folder.path / name).string();
}

static std::unique_ptr<artifact::EntryT> doubleEntry() {
  const artifact::Dim n(-1, 0);
  auto entry = std::make_unique<artifact::EntryT>();
  entry->name = "double";
  entry->kind = artifact::EntryKind::Plain;
  entry->function = "chorus_double";
  entry->symbols = {"n"};
  entry->inputs.push_back(tensor("x", artifact::DType::F32, {n}));
  entry->outputs.push_back(tensor("y", artifact::DType::F32, {n}));
  entry->arena.push_back(arenaTerm(4, {0}));
  return entry;
}

static std::unique_ptr<artifact::EntryT> selectEntry() {
  const artifact::Dim n(-1, 0), two(2, 0);
  auto entry = std::make_unique<artifact::EntryT>();
  entry->name = "select";
  entry->kind = artifact::EntryKind::Plain;
  entry->function = "chorus_select";
  entry->symbols = {"n"};
  entry->inputs.push_back(tensor("a", artifact::DType::F32, {n, two}));
  entry->inputs.push_back(tensor("which", artifact::DType::Bool, {n}));
  entry->outputs.push_back(tensor("out", artifact::DType::F32, {n, two}));
  return entry;
}

/// Tokens "a" to "f", "ab", and the control token "<|end|>".
static std::string tokenizerSegment() {
  artifact::TokenizerT tokenizer;
  tokenizer.pre = "smollm";
  tokenizer.offsets.push_back(0);
  for (const char *token : {"a", "b", "c", "d", "e", "f", "ab", "<|end|>"}) {
    tokenizer.text.insert(tokenizer.text.end(), token,
                          token + std::strlen(token));
    tokenizer.offsets.push_back(static_cast<uint32_t>(tokenizer.text.size()));
    tokenizer.kinds.push_back(token[0] == '<' ? artifact::TokenKind::Control
                                              : artifact::TokenKind::Normal);
  }
  tokenizer.merges = {0, 1, 6};
  tokenizer.eos_id = 7;
  flatbuffers::FlatBufferBuilder builder;
  artifact::FinishTokenizerBuffer(builder,
                                  CreateTokenizer(builder, &tokenizer));
  return {reinterpret_cast<const char *>(builder.GetBufferPointer()),
          builder.GetSize()};
}

static std::unique_ptr<artifact::ModelT> fixtureModel(uint64_t weightsBytes) {
  auto model = std::make_unique<artifact::ModelT>();
  model->name = "tiny";
  auto step = stepEntry(8);
  step->arena.push_back(arenaTerm(100, {}));
  step->arena.push_back(arenaTerm(12, {0}));
  step->arena.push_back(arenaTerm(3, {0, 1}));
  model->entries.push_back(std::move(step));
  model->entries.push_back(doubleEntry());
  model->entries.push_back(selectEntry());
  auto state = std::make_unique<artifact::StateT>();
  state->kind = artifact::StateKind::PagedKV;
  state->dtype = artifact::DType::F16;
  state->layers = 2;
  state->kv_heads = 3;
  state->head_dim = 5;
  state->page_positions = 32;
  // 2 layers * 3 heads * (keys 5 * 32 + values 32 * 16) * 2 bytes.
  state->page_bytes = 8064;
  model->states.push_back(std::move(state));
  // The code is plain x86-64; these only steer the choice.
  model->codes.push_back(code("x86-64-v3", {"sse4_2", "popcnt"}, 1));
  model->codes.push_back(code("x86-64-v4", {"sse4_2", "avx512f"}, 2));
  model->weights_segment = 0;
  model->weights_bytes = weightsBytes;
  model->tokenizer_segment = 3;
  model->chat_template = "{{ messages[0].content }}";
  model->vocab_size = 8;
  model->context_length = 64;
  model->stop_ids = {5, 7};
  model->facts = std::make_unique<artifact::FactsT>();
  model->facts->name = "Tiny";
  model->facts->architecture = "llama";
  model->facts->license = "apache-2.0";
  model->facts->num_layers = 2;
  model->sampling = std::make_unique<artifact::SamplingDefaultsT>();
  model->sampling->temperature = 0.5;
  return model;
}

void test::writeFixture(const std::string &path, const Bytes &codeBytes,
                        const std::vector<float> &weights) {
  StatusOr<ArtifactWriter> writer = ArtifactWriter::create(path);
  require(writer.status());
  uint64_t weightsBytes = weights.size() * sizeof(float);
  auto add = [&](artifact::SegmentKind kind, const void *data, size_t size) {
    require(writer->addSegment(kind, data, size).status());
  };
  add(artifact::SegmentKind::Weights, weights.data(), weightsBytes);
  add(artifact::SegmentKind::Code, codeBytes.data(), codeBytes.size());
  add(artifact::SegmentKind::Code, codeBytes.data(), codeBytes.size());
  std::string tokenizer = tokenizerSegment();
  add(artifact::SegmentKind::Tokenizer, tokenizer.data(), tokenizer.size());
  require(writer->finish([&](flatbuffers::FlatBufferBuilder &builder,
                             ArtifactWriter::SegmentList segments) {
    std::vector<flatbuffers::Offset<artifact::Model>> models = {
        CreateModel(builder, fixtureModel(weightsBytes).get())};
    std::vector<flatbuffers::Offset<artifact::CompileOption>> options = {
        artifact::CreateCompileOptionDirect(builder, "activations", "int8")};
    auto producer = builder.CreateString("chorus test");
    auto profile = builder.CreateString("test-profile");
    auto optionList = builder.CreateVector(options);
    return artifact::CreateArtifact(builder, producer, CHORUS_STEP_ABI_VERSION,
                                    0, profile, optionList, segments,
                                    builder.CreateVector(models));
  }));
  require(writer->commit());
}

const Bytes &test::fixtureBytes() {
  static const Bytes bytes = [] {
    std::string path = temporaryPath("fixture.chorus");
    writeFixture(path, codeVariant("good"));
    return readBytes(path);
  }();
  return bytes;
}

static uint64_t headerField(const Bytes &file, size_t at) {
  uint64_t value;
  std::memcpy(&value, file.data() + at, sizeof value);
  return value;
}

uint64_t test::metadataOffset(const Bytes &file) {
  return headerField(file, artifact_header::metadataOffset);
}

Bytes test::metadataBytes(const Bytes &file) {
  auto begin = file.begin() + static_cast<ptrdiff_t>(metadataOffset(file));
  return Bytes(begin, begin + static_cast<ptrdiff_t>(headerField(
                                  file, artifact_header::metadataSize)));
}

artifact::ArtifactT test::unpackMetadata(const Bytes &file) {
  artifact::ArtifactT metadata;
  artifact::GetArtifact(metadataBytes(file).data())->UnPackTo(&metadata);
  return metadata;
}

Bytes test::withMetadataBytes(const Bytes &file, const Bytes &metadata) {
  Bytes result(file.begin(),
               file.begin() + static_cast<ptrdiff_t>(metadataOffset(file)));
  result.insert(result.end(), metadata.begin(), metadata.end());
  uint64_t size = metadata.size();
  std::memcpy(result.data() + artifact_header::metadataSize, &size,
              sizeof size);
  Sha256 hash;
  hash.update(result.data(), artifact_header::sha256);
  hash.update(metadata.data(), metadata.size());
  Sha256Digest digest = *hash.finish();
  std::memcpy(result.data() + artifact_header::sha256, digest.data(),
              digest.size());
  return result;
}

Bytes test::withMetadata(const Bytes &file, artifact::ArtifactT metadata) {
  for (auto &segment : metadata.segments) {
    uint64_t end = segment->offset + segment->size;
    if (end < segment->offset || end > file.size() ||
        segment->sha256.size() != sizeof(Sha256Digest))
      continue;
    Sha256Digest digest = *sha256(file.data() + segment->offset, segment->size);
    segment->sha256.assign(digest.begin(), digest.end());
  }
  flatbuffers::FlatBufferBuilder builder;
  artifact::FinishArtifactBuffer(builder, CreateArtifact(builder, &metadata));
  return withMetadataBytes(
      file, Bytes(builder.GetBufferPointer(),
                  builder.GetBufferPointer() + builder.GetSize()));
}

Bytes test::changedFixture(
    const std::function<void(artifact::ArtifactT &)> &change) {
  artifact::ArtifactT metadata = unpackMetadata(fixtureBytes());
  change(metadata);
  return withMetadata(fixtureBytes(), std::move(metadata));
}
