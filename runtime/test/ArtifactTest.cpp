//===- ArtifactTest.cpp - Opening good and bad artifacts ------------------===//

#include "chorus_rt/Artifact.h"
#include "ArtifactFixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <map>
#include <random>
#include <sys/stat.h>
#include <unistd.h>

using namespace chorus;
using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

StatusOr<std::shared_ptr<const Artifact>> openBytes(const Bytes &bytes) {
  std::string path = temporaryPath("case.chorus");
  writeBytes(path, bytes);
  return Artifact::open(path);
}

/// The file must be refused with that code, and the line must name `needle`.
void expectRefused(const Bytes &bytes, const std::string &code,
                   const std::string &needle) {
  auto artifact = openBytes(bytes);
  ASSERT_FALSE(artifact.ok()) << "accepted, expected " << code << " " << needle;
  const Status &status = artifact.status();
  EXPECT_EQ(status.code(), code) << status.line("test");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused) << status.line("test");
  EXPECT_NE(status.line("test").find(needle), std::string::npos)
      << status.line("test") << "\nexpected in it: " << needle;
}

void expectChangeRefused(
    const std::function<void(artifact::ArtifactT &)> &change,
    const std::string &code, const std::string &needle) {
  expectRefused(changedFixture(change), code, needle);
}

void setHeader(Bytes &bytes, size_t at, uint64_t value, size_t size) {
  std::memcpy(bytes.data() + at, &value, size);
}

/// After a change of the first 32 bytes, the header's hash is made right again.
Bytes rehashed(const Bytes &bytes) {
  return withMetadataBytes(bytes, metadataBytes(bytes));
}

TEST(Artifact, OpensAndShowsEverything) {
  auto opened = openBytes(fixtureBytes());
  ASSERT_TRUE(opened.ok()) << opened.status().line("test");
  const Artifact &artifact = **opened;
  EXPECT_EQ(artifact.majorVersion(), 1);
  EXPECT_EQ(artifact.minorVersion(), 0);
  EXPECT_EQ(artifact.fileSize(), fixtureBytes().size());
  std::string hex;
  for (size_t i = 32; i < 64; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", fixtureBytes()[i]);
    hex += digits;
  }
  EXPECT_EQ(artifact.artifactSha256(), hex);

  const ArtifactMetadata &metadata = artifact.metadata();
  EXPECT_EQ(metadata.producer, "chorus test");
  EXPECT_EQ(metadata.numericProfile, "test-profile");
  ASSERT_EQ(metadata.options.size(), 1u);
  EXPECT_EQ(metadata.options[0].name, "activations");
  ASSERT_EQ(metadata.segments.size(), 4u);
  EXPECT_EQ(artifact.segmentSize(0), 8u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(artifact.segmentData(0)) % 4096, 0u);

  ASSERT_EQ(artifact.models().size(), 1u);
  EXPECT_EQ(artifact.findModel("tiny"), std::optional<size_t>(0));
  EXPECT_FALSE(artifact.findModel("other"));
  const ModelInfo &model = artifact.models()[0];
  ASSERT_EQ(model.entries.size(), 3u);
  EXPECT_EQ(model.stepEntry(), &model.entries[0]);
  EXPECT_EQ(model.findEntry("double"), &model.entries[1]);
  EXPECT_EQ(model.findEntry("triple"), nullptr);
  const TensorInfo &logits = model.entries[0].outputs[0];
  EXPECT_EQ(logits.name, "logits");
  EXPECT_EQ(logits.dtype, DType::F32);
  EXPECT_TRUE(logits.dims[0].isSymbol());
  EXPECT_EQ(logits.dims[1].fixed, 8);
  ASSERT_EQ(model.states.size(), 1u);
  EXPECT_EQ(model.states[0].pageBytes, 8064u);
  EXPECT_EQ(model.codes[1].target, "x86-64-v4");
  EXPECT_EQ(model.codes[1].features[1], "avx512f");
  EXPECT_EQ(model.tokenizerSegment, std::optional<uint32_t>(3));
  EXPECT_EQ(model.stopIds, (std::vector<uint32_t>{5, 7}));
  ASSERT_TRUE(model.facts.has_value());
  EXPECT_EQ(model.facts.value_or(ModelFacts()).license, "apache-2.0");
  EXPECT_EQ(model.sampling.temperature, std::optional<double>(0.5));
  EXPECT_FALSE(model.sampling.topP);
}

TEST(Artifact, PageBytes) {
  // One layer and head of 64: keys 64 * 32, values 32 * 64, two bytes each.
  EXPECT_EQ(pagedStateBytes(1, 1, 64, DType::F16), 8192u);
  EXPECT_EQ(pagedStateBytes(30, 3, 64, DType::F16), 737280u);
  EXPECT_EQ(pagedStateBytes(1, 1, 1, DType::F32), (32u + 512u) * 4u);
  EXPECT_FALSE(pagedStateBytes(1u << 31, 1u << 31, 1u << 31, DType::F32));
}

TEST(Artifact, MissingFileIsUsage) {
  auto artifact = Artifact::open(temporaryPath("absent.chorus"));
  ASSERT_FALSE(artifact.ok());
  EXPECT_EQ(artifact.status().exitCode(), ExitCode::Usage);
}

TEST(Artifact, GoldenFilesKeepLoading) {
  auto artifact = Artifact::open(CHORUS_SOURCE_DIR
                                 "/test/data/artifacts/format-1.0.chorus");
  ASSERT_TRUE(artifact.ok()) << artifact.status().line("test");
  EXPECT_EQ((*artifact)->models()[0].name, "tiny");
}

TEST(Artifact, A01_CutAtEveryByte) {
  const Bytes &good = fixtureBytes();
  std::string path = temporaryPath("cut.chorus");
  writeBytes(path, good);
  std::map<std::string, size_t> places;
  for (size_t size = good.size(); size-- > 0;) {
    ASSERT_EQ(truncate(path.c_str(), static_cast<off_t>(size)), 0);
    auto artifact = Artifact::open(path);
    ASSERT_FALSE(artifact.ok()) << size;
    ASSERT_EQ(artifact.status().code(), "A01") << size;
    ASSERT_EQ(artifact.status().exitCode(), ExitCode::Refused) << size;
    const std::string &place = artifact.status().place();
    ASSERT_NE(place.find(size < 64 ? ": header" : ": metadata"),
              std::string::npos)
        << place;
  }
}

TEST(Artifact, A02_AnyBitFlipped) {
  const Bytes &good = fixtureBytes();
  ASSERT_LE(good.size(), 65536u);
  std::string path = temporaryPath("flip.chorus");
  writeBytes(path, good);
  ASSERT_TRUE(Artifact::open(path).ok());
  int fd = open(path.c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  size_t accepted = 0;
  for (size_t i = 0; i < good.size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      uint8_t byte = good[i] ^ static_cast<uint8_t>(1 << bit);
      ASSERT_EQ(pwrite(fd, &byte, 1, static_cast<off_t>(i)), 1);
      auto artifact = Artifact::open(path);
      if (artifact.ok())
        ++accepted;
      else
        ASSERT_EQ(artifact.status().exitCode(), ExitCode::Refused)
            << artifact.status().line("test");
      ASSERT_EQ(pwrite(fd, &good[i], 1, static_cast<off_t>(i)), 1);
    }
  close(fd);
  EXPECT_EQ(accepted, 0u) << "of " << good.size() * 8 << " flips";
  EXPECT_TRUE(Artifact::open(path).ok());
}

TEST(Artifact, A02_OtherFormatsAndTrailingBytes) {
  Bytes gguf(4096);
  std::memcpy(gguf.data(), "GGUF\3", 5);
  expectRefused(gguf, "A02", "this is a GGUF file");
  Bytes longer = fixtureBytes();
  longer.push_back(0);
  expectRefused(longer, "A02", "1 bytes after the metadata");
  Bytes damaged = fixtureBytes();
  damaged[4096] ^= 1;
  expectRefused(damaged, "A02", "segments[0] @0x1000");
}

TEST(Artifact, A03_Versions) {
  Bytes major = fixtureBytes();
  setHeader(major, artifact_header::majorVersion, 2, 2);
  expectRefused(rehashed(major), "A03",
                "format version 2.0, this version "
                "reads 1.x");
  Bytes headerSize = fixtureBytes();
  setHeader(headerSize, artifact_header::headerSize, 128, 4);
  expectRefused(rehashed(headerSize), "A03", "header_size");
  expectChangeRefused([](auto &a) { a.required_features = {"warp-drive"}; },
                      "A03", "'warp-drive'");
  expectChangeRefused([](auto &a) { a.abi_version = 3; }, "A03",
                      "step ABI 3, this version runs 1 to 2");
  expectChangeRefused([](auto &a) { a.abi_version = 0; }, "A03", "step ABI 0");
  auto scoredBy = [](uint32_t model) {
    return [model](auto &a) {
      a.scoring = std::make_unique<artifact::ScoringT>();
      a.scoring->model = model;
      a.scoring->template_text = "{{ candidate }}";
      a.scoring->score = "1";
    };
  };
  expectChangeRefused(scoredBy(1), "A08", "scoring.model: 1 of 1");
  auto valued = [](int32_t token, float gain, float bias) {
    return [=](auto &a) {
      a.scoring = std::make_unique<artifact::ScoringT>();
      a.scoring->value_head = std::make_unique<artifact::ValueHeadT>();
      a.scoring->value_head->token = token;
      a.scoring->value_head->gain = gain;
      a.scoring->value_head->bias = bias;
    };
  };
  EXPECT_TRUE(openBytes(changedFixture(valued(7, -2, 3))).ok());
  expectChangeRefused(valued(8, 1, 0), "A08", "scoring.value_head.token: 8 of");
  expectChangeRefused(valued(7, NAN, 0), "A08", "scoring.value_head");
  expectChangeRefused(valued(7, 1, INFINITY), "A08", "scoring.value_head");
  expectChangeRefused(valued(-1, 1, 0), "A07", "needs a third output");
  // An output of another entry is of no use.
  expectChangeRefused(
      [&](auto &a) {
        valued(-1, 1, 0)(a);
        a.models[0]->entries[1]->outputs[0]->name = "value";
      },
      "A07", "needs a third output");
  // Another minor version of the same major one is read.
  Bytes minor = fixtureBytes();
  setHeader(minor, artifact_header::minorVersion, 7, 2);
  EXPECT_TRUE(openBytes(rehashed(minor)).ok());
}

TEST(Artifact, A04_MalformedMetadata) {
  const Bytes good = metadataBytes(fixtureBytes());
  auto refuse = [&](const Bytes &metadata, const char *what) {
    SCOPED_TRACE(what);
    expectRefused(withMetadataBytes(fixtureBytes(), metadata), "A04",
                  "metadata");
  };
  refuse({}, "empty");
  refuse(Bytes(good.begin(), good.begin() + 8), "cut to the identifier");
  Bytes identifier = good;
  identifier[4] = 'X';
  refuse(identifier, "another identifier");
  for (uint32_t root :
       {0u, 1u, 0x7FFFFFFFu, 0xFFFFFFFFu, static_cast<uint32_t>(good.size())}) {
    Bytes bytes = good;
    std::memcpy(bytes.data(), &root, 4);
    refuse(bytes, "root out of place or unaligned");
  }
  // The root table's distance to its vtable.
  uint32_t root;
  std::memcpy(&root, good.data(), 4);
  for (int32_t distance : {0x7FFFFFFF, -0x7FFFFFFF, 3}) {
    Bytes bytes = good;
    std::memcpy(bytes.data() + root, &distance, 4);
    refuse(bytes, "vtable out of place");
  }
  // A list of structs at an address that is no multiple of 8, found by the
  // mutations below.
  {
    flatbuffers::FlatBufferBuilder builder;
    const artifact::Dim dim(1, 0);
    auto name = builder.CreateString("x"); // Stands behind the list.
    auto dims = builder.CreateVectorOfStructs(&dim, 1);
    auto tensor =
        artifact::CreateTensor(builder, name, artifact::DType::F32, dims);
    std::vector<flatbuffers::Offset<artifact::Tensor>> inputs = {tensor};
    std::vector<flatbuffers::Offset<artifact::Entry>> entries = {
        artifact::CreateEntryDirect(builder, "e", artifact::EntryKind::Plain,
                                    "f", nullptr, &inputs)};
    std::vector<flatbuffers::Offset<artifact::Model>> models = {
        artifact::CreateModelDirect(builder, "m", &entries)};
    artifact::FinishArtifactBuffer(
        builder, artifact::CreateArtifactDirect(builder, "", 1, nullptr, "",
                                                nullptr, nullptr, &models));
    Bytes bytes(builder.GetBufferPointer(),
                builder.GetBufferPointer() + builder.GetSize());
    // Moves the tensor's offset to its list by 4: the length is then the low
    // half of the first dimension, 1 as before.
    const artifact::Tensor *found = artifact::GetArtifact(bytes.data())
                                        ->models()
                                        ->Get(0)
                                        ->entries()
                                        ->Get(0)
                                        ->inputs()
                                        ->Get(0);
    auto *offset = reinterpret_cast<uint8_t *>(
        const_cast<void *>(static_cast<const void *>(found)));
    offset += reinterpret_cast<const flatbuffers::Table *>(found)
                  ->GetOptionalFieldOffset(artifact::Tensor::VT_DIMS);
    uint32_t distance;
    std::memcpy(&distance, offset, sizeof distance);
    distance += 4;
    std::memcpy(offset, &distance, sizeof distance);
    expectRefused(withMetadataBytes(fixtureBytes(), bytes), "A04",
                  "inputs[0].dims: unaligned");
  }
  // A string that no zero ends.
  Bytes endless = good;
  const char text[] = "test-profile";
  auto at =
      std::search(endless.begin(), endless.end(), text, text + sizeof text - 1);
  ASSERT_NE(at, endless.end());
  at[sizeof text - 1] = 'x';
  refuse(endless, "string without end");
  // More tables than are ever needed, all the same one.
  flatbuffers::FlatBufferBuilder builder;
  auto option = artifact::CreateCompileOptionDirect(builder, "a", "b");
  std::vector<flatbuffers::Offset<artifact::CompileOption>> options(500000,
                                                                    option);
  artifact::FinishArtifactBuffer(
      builder,
      artifact::CreateArtifactDirect(builder, "", 1, nullptr, "", &options));
  refuse(Bytes(builder.GetBufferPointer(),
               builder.GetBufferPointer() + builder.GetSize()),
         "table bomb");
}

TEST(Artifact, A04_SharedVectorsTakeBoundedTime) {
  // Many tables that share one long vector of names.
  flatbuffers::FlatBufferBuilder builder;
  auto name = builder.CreateString("x");
  auto names = builder.CreateVector(
      std::vector<flatbuffers::Offset<flatbuffers::String>>(500000, name));
  artifact::CodeBuilder code(builder);
  code.add_target(name);
  code.add_features(names);
  std::vector<flatbuffers::Offset<artifact::Code>> codes(20000, code.Finish());
  auto codeList = builder.CreateVector(codes);
  artifact::ModelBuilder model(builder);
  model.add_name(name);
  model.add_codes(codeList);
  std::vector<flatbuffers::Offset<artifact::Model>> models = {model.Finish()};
  artifact::FinishArtifactBuffer(
      builder, artifact::CreateArtifactDirect(builder, "", 1, nullptr, "",
                                              nullptr, nullptr, &models));
  Bytes bytes(builder.GetBufferPointer(),
              builder.GetBufferPointer() + builder.GetSize());
  Bytes file = withMetadataBytes(fixtureBytes(), bytes);
  std::clock_t start = std::clock(); // Of this process: others may be busy.
  expectRefused(file, "A04", "metadata");
  EXPECT_LT(std::clock() - start, CLOCKS_PER_SEC);
}

TEST(Artifact, A04_AbsentFields) {
  auto refuse = [](const std::function<void(artifact::ArtifactT &)> &change,
                   const char *needle) {
    expectChangeRefused(change, "A04", needle);
  };
  refuse([](auto &a) { a.models.clear(); }, "models");
  refuse([](auto &a) { a.models[0]->name.clear(); }, "models[0].name");
  refuse([](auto &a) { a.models[0]->entries.clear(); }, "models[0].entries");
  refuse([](auto &a) { a.models[0]->codes.clear(); }, "models[0].codes");
  refuse([](auto &a) { a.models[0]->entries[1]->function.clear(); },
         "entries[1].function");
  refuse([](auto &a) { a.models[0]->entries[1]->inputs[0]->name.clear(); },
         "entries[1].inputs[0].name");
  refuse([](auto &a) { a.segments[2]->sha256.pop_back(); },
         "segments[2].sha256");
  refuse([](auto &a) { a.models[0]->entries[1]->name.push_back('\0'); },
         "entries[1].name");
}

TEST(Artifact, A05_Segments) {
  auto refuse = [](const std::function<void(artifact::ArtifactT &)> &change,
                   const char *needle) {
    expectChangeRefused(change, "A05", needle);
  };
  refuse([](auto &a) { a.segments[1]->offset = 4096; }, "segment before");
  refuse([](auto &a) { a.segments[0]->offset = 0; }, "inside the header");
  refuse([](auto &a) { a.segments[1]->offset += 64; }, "multiple of 4096");
  refuse([](auto &a) { a.segments[3]->size = ~uint64_t(0); }, "segments[3]");
  refuse([](auto &a) { a.segments[3]->offset = ~uint64_t(4095); },
         "segments[3]");
  refuse([](auto &a) { a.segments[3]->size = 1 << 20; }, "metadata's start");
  refuse([](auto &a) { std::swap(a.segments[1], a.segments[2]); },
         "segments[1]");
  // A segment left out leaves a gap, which could hide bytes.
  refuse(
      [](auto &a) {
        a.segments.pop_back();
        a.models[0]->tokenizer_segment = -1;
      },
      "gap");
  // The same name or target twice.
  refuse([](auto &a) { a.models[0]->codes[1]->target = "x86-64-v3"; },
         "'x86-64-v3' is there twice");
  refuse([](auto &a) { a.models[0]->entries[2]->name = "double"; },
         "'double' is there twice");
  refuse([](auto &a) { a.models[0]->entries[2]->inputs[1]->name = "a"; },
         "'a' is there twice");
  Bytes metadata = fixtureBytes();
  setHeader(metadata, artifact_header::metadataOffset, 0, 8);
  expectRefused(metadata, "A05", "metadata_offset");
  metadata = fixtureBytes();
  setHeader(metadata, artifact_header::metadataSize, uint64_t(1) << 40, 8);
  expectRefused(metadata, "A05", "metadata_size");
  // An empty segment is none of this.
  std::string path = temporaryPath("empty.chorus");
  writeFixture(path, codeVariant("good"), {});
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status().line("test");
  EXPECT_EQ((*artifact)->segmentSize(0), 0u);
}

void addIndexBound(artifact::EntryT &entry, uint32_t input,
                   const artifact::Dim &below) {
  auto bound = std::make_unique<artifact::IndexBoundT>();
  bound->input = input;
  bound->below = std::make_unique<artifact::Dim>(below);
  entry.index_bounds.push_back(std::move(bound));
}

void addSizeBound(artifact::EntryT &entry, const artifact::Dim &size,
                  const artifact::Dim &atMost) {
  auto bound = std::make_unique<artifact::SizeBoundT>();
  bound->size = std::make_unique<artifact::Dim>(size);
  bound->at_most = std::make_unique<artifact::Dim>(atMost);
  entry.size_bounds.push_back(std::move(bound));
}

TEST(Artifact, BoundsOfAnEntry) {
  std::string path = temporaryPath("bounds.chorus");
  writeBytes(path, changedFixture([](auto &a) {
               addIndexBound(*a.models[0]->entries[2], 1, {-1, 0});
               addSizeBound(*a.models[0]->entries[2], {-1, 0}, {7, 0});
             }));
  auto artifact = Artifact::open(path);
  ASSERT_TRUE(artifact.ok()) << artifact.status().line("test");
  const EntryInfo &entry = (*artifact)->metadata().models[0].entries[2];
  ASSERT_EQ(entry.indexBounds.size(), 1u);
  EXPECT_EQ(entry.indexBounds[0].input, 1u);
  EXPECT_TRUE(entry.indexBounds[0].below.isSymbol());
  ASSERT_EQ(entry.sizeBounds.size(), 1u);
  EXPECT_EQ(entry.sizeBounds[0].size.symbol, 0u);
  EXPECT_EQ(entry.sizeBounds[0].atMost.fixed, 7);
}

TEST(Artifact, A07_SizesAreRecomputed) {
  auto refuse = [](const std::function<void(artifact::ModelT &)> &change,
                   const char *needle) {
    expectChangeRefused([&](auto &a) { change(*a.models[0]); }, "A07", needle);
  };
  refuse([](auto &m) { m.weights_bytes = 9; },
         "the code addresses 9 bytes, the segment has 8");
  refuse([](auto &m) { m.states[0]->page_bytes = 8063; }, "8063, needed 8064");
  refuse([](auto &m) { m.states[0]->layers = 0; }, "states[0]");
  refuse([](auto &m) { m.states[0]->head_dim = 0xFFFFFFFF; }, "page_bytes");
  refuse(
      [](auto &m) {
        m.states[0]->layers = m.states[0]->kv_heads = m.states[0]->head_dim =
            0xFFFFFFFF;
      },
      "states[0]");
  refuse([](auto &m) { m.states[0]->page_positions = 16; }, "page_positions");
  refuse([](auto &m) { m.entries[1]->arena[0]->bytes = ~uint64_t(0); },
         "entries[1].arena[0]");
  refuse(
      [](auto &m) {
        m.entries[1]->inputs[0]->dims = {artifact::Dim(1LL << 40, 0),
                                         artifact::Dim(1LL << 40, 0),
                                         artifact::Dim(-1, 0)};
      },
      "entries[1].inputs[0].dims");
  refuse(
      [](auto &m) {
        m.entries[1]->inputs[0]->dims.resize(17, artifact::Dim(1, 0));
      },
      "rank 17");
  // The step entry's arguments are those of the ABI.
  refuse([](auto &m) { m.entries[0]->outputs[0]->dims[1] = {9, 0}; },
         "entries[0].outputs[0]");
  refuse([](auto &m) { m.vocab_size = 9; }, "entries[0].outputs[0]");
  refuse([](auto &m) { m.entries[0]->inputs[0]->dtype = artifact::DType::I64; },
         "entries[0].inputs[0]");
  refuse([](auto &m) { m.entries[0]->inputs.pop_back(); },
         "2 tensors, the step ABI has 3");
  refuse([](auto &m) { m.entries[0]->symbols = {"T", "S"}; }, "symbols");
  refuse([](auto &m) { m.states.clear(); }, "1 state");
  refuse([](auto &m) { m.context_length = 0; }, "context_length");
  // Indices are integers.
  refuse([](auto &m) { addIndexBound(*m.entries[1], 0, {4, 0}); },
         "entries[1].index_bounds[0].input: 'x' has elements of type f32");
  refuse([](auto &m) { m.context_length = 0x80000000; }, "context_length");
}

TEST(Artifact, A08_Indices) {
  auto refuse = [](const std::function<void(artifact::ModelT &)> &change,
                   const char *needle) {
    expectChangeRefused([&](auto &a) { change(*a.models[0]); }, "A08", needle);
  };
  refuse([](auto &m) { m.weights_segment = 999; }, "segment 999 of 4");
  refuse([](auto &m) { m.weights_segment = 1; }, "segment 1 has kind 1");
  refuse([](auto &m) { m.codes[0]->segment = 4; }, "segment 4 of 4");
  refuse([](auto &m) { m.codes[0]->segment = 0; }, "codes[0].segment");
  refuse([](auto &m) { m.tokenizer_segment = 4; }, "segment 4 of 4");
  refuse([](auto &m) { m.tokenizer_segment = -2; }, "tokenizer_segment");
  refuse([](auto &m) { m.entries[1]->inputs[0]->dims[0] = {-1, 1}; },
         "symbol 1 of 1");
  refuse([](auto &m) { m.entries[1]->arena[0]->symbols = {7}; },
         "symbol 7 of 1");
  refuse([](auto &m) { addIndexBound(*m.entries[2], 2, {4, 0}); },
         "entries[2].index_bounds[0].input: input 2 of 2");
  refuse([](auto &m) { addIndexBound(*m.entries[2], 1, {-1, 1}); },
         "entries[2].index_bounds[0].below: symbol 1 of 1");
  refuse([](auto &m) { addSizeBound(*m.entries[1], {-1, 3}, {4, 0}); },
         "entries[1].size_bounds[0].size: symbol 3 of 1");
  refuse([](auto &m) { addSizeBound(*m.entries[1], {-1, 0}, {-1, 1}); },
         "entries[1].size_bounds[0].at_most: symbol 1 of 1");
  refuse([](auto &m) { m.entries[1]->symbols = {"n", "m"}; },
         "'m' is in no input's shape");
  refuse(
      [](auto &m) {
        m.entries[1]->inputs[0]->dtype = static_cast<artifact::DType>(9);
      },
      "element type 9");
  refuse(
      [](auto &m) { m.entries[1]->kind = static_cast<artifact::EntryKind>(2); },
      "kind 2");
  refuse(
      [](auto &m) { m.states[0]->kind = static_cast<artifact::StateKind>(1); },
      "kind 1");
  refuse([](auto &m) { m.states[0]->dtype = artifact::DType::I8; },
         "needed f16 or f32");
  refuse([](auto &m) { m.stop_ids = {5, 8}; }, "id 8 of 8");
  refuse([](auto &m) { m.stop_ids = {5, 5}; }, "not ascending");
  refuse([](auto &m) { m.sampling->temperature = -1.0; }, "temperature");
  refuse(
      [](auto &m) {
        m.sampling->top_p = std::numeric_limits<double>::quiet_NaN();
      },
      "top_p");
}

TEST(Artifact, A15_NotARegularFile) {
  std::string fifo = temporaryPath("fifo");
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  for (const std::string &path :
       {fifo, std::string("/tmp"), std::string("/dev/null"),
        std::string("/dev/zero")}) {
    auto artifact = Artifact::open(path);
    ASSERT_FALSE(artifact.ok()) << path;
    EXPECT_EQ(artifact.status().code(), "A15") << path;
    EXPECT_EQ(artifact.status().exitCode(), ExitCode::Refused) << path;
  }
}

TEST(Artifact, A15_SparseGiant) {
  std::string path = temporaryPath("sparse.chorus");
  writeBytes(path, fixtureBytes());
  // The largest size that this file system allows, 2^60 where it can.
  int power = 60;
  while (power > 36 && truncate(path.c_str(), off_t(1) << power) != 0)
    --power;
  auto artifact = Artifact::open(path);
  ASSERT_FALSE(artifact.ok());
  if (power > 36)
    EXPECT_EQ(artifact.status().code(), "A15") << "2^" << power;
  EXPECT_EQ(artifact.status().exitCode(), ExitCode::Refused);
  unlink(path.c_str());
  // A header that claims it.
  Bytes claims = fixtureBytes();
  setHeader(claims, artifact_header::metadataOffset, uint64_t(1) << 60, 8);
  expectRefused(claims, "A01", "metadata");
}

TEST(Artifact, MutatedMetadataNeverCrashes) {
  // Hashes are right again after each change, so that structure is reached.
  unsigned seed = 20240601;
  std::mt19937 random(seed);
  const Bytes good = metadataBytes(fixtureBytes());
  std::map<std::string, size_t> outcomes;
  for (int round = 0; round < 3000; ++round) {
    Bytes bytes = good;
    for (unsigned n = 1 + random() % 3; n-- > 0;) {
      size_t at = random() % bytes.size();
      switch (random() % 3) {
      case 0:
        bytes[at] = static_cast<uint8_t>(random());
        break;
      case 1:
        bytes[at] ^= static_cast<uint8_t>(1u << random() % 8);
        break;
      default:
        std::memset(bytes.data() + at, random() % 2 ? 0xFF : 0,
                    std::min<size_t>(4, bytes.size() - at));
      }
    }
    auto artifact = openBytes(withMetadataBytes(fixtureBytes(), bytes));
    ++outcomes[artifact.ok() ? "accepted" : artifact.status().code()];
    if (!artifact.ok())
      ASSERT_EQ(artifact.status().exitCode(), ExitCode::Refused);
  }
  for (const auto &[code, count] : outcomes)
    std::printf("%s %zu\n", code.c_str(), count);
  EXPECT_GE(outcomes.size(), 5u);
}

} // namespace
