//===- ArtifactWriterTest.cpp - Writing artifacts -------------------------===//

#include "chorus/Package/ArtifactWriter.h"
#include "ArtifactFixture.h"
#include "chorus_rt/Artifact.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

using namespace chorus;
using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

/// Number of files in the folder, whatever their names.
size_t filesIn(const std::string &folder) {
  size_t count = 0;
  for ([[maybe_unused]] const auto &entry :
       std::filesystem::directory_iterator(folder))
    ++count;
  return count;
}

std::string newFolder(const std::string &name) {
  std::string folder = temporaryPath(name);
  std::filesystem::create_directory(folder);
  return folder;
}

flatbuffers::Offset<artifact::Artifact>
emptyMetadata(flatbuffers::FlatBufferBuilder &builder,
              ArtifactWriter::SegmentList segments) {
  return artifact::CreateArtifact(builder, 0, 1, 0, 0, 0, segments);
}

TEST(ArtifactWriter, BytesAreAsDocumented) {
  std::string path = temporaryPath("bytes.chorus");
  auto writer = ArtifactWriter::create(path);
  ASSERT_TRUE(writer.ok()) << writer.status().line("test");
  ASSERT_TRUE(writer->beginSegment(artifact::SegmentKind::Weights).ok());
  ASSERT_TRUE(writer->append("abc", 3).ok());
  ASSERT_TRUE(writer->append("", 0).ok());
  ASSERT_TRUE(writer->append("de", 2).ok());
  EXPECT_EQ(*writer->endSegment(), 0u);
  EXPECT_EQ(*writer->addSegment(artifact::SegmentKind::Code, "", 0), 1u);
  EXPECT_EQ(*writer->addSegment(artifact::SegmentKind::Tokenizer, "f", 1), 2u);
  ASSERT_EQ(writer->segments().size(), 3u);
  ASSERT_TRUE(writer->finish(emptyMetadata).ok());
  ASSERT_TRUE(writer->commit().ok());

  Bytes bytes = readBytes(path);
  EXPECT_EQ(std::memcmp(bytes.data(),
                        "\xC7"
                        "CHR\r\n\x1A\n",
                        8),
            0);
  // Major 1, minor 0, header size 64, metadata at 12288.
  const uint8_t fixed[] = {1, 0, 0, 0, 64, 0, 0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(std::memcmp(bytes.data() + 8, fixed, sizeof fixed), 0);
  EXPECT_EQ(std::memcmp(bytes.data() + 4096, "abcde\0", 6), 0);
  EXPECT_EQ(bytes[8192], 'f');
  EXPECT_EQ(bytes.size(), 12288 + metadataBytes(bytes).size());

  artifact::ArtifactT metadata = unpackMetadata(bytes);
  ASSERT_EQ(metadata.segments.size(), 3u);
  EXPECT_EQ(metadata.segments[0]->size, 5u);
  EXPECT_EQ(metadata.segments[1]->offset, 8192u);
  EXPECT_EQ(metadata.segments[1]->size, 0u);
  EXPECT_EQ(metadata.segments[2]->offset, 8192u);
  // sha256sum of "abcde".
  Sha256Digest digest;
  std::copy(metadata.segments[0]->sha256.begin(),
            metadata.segments[0]->sha256.end(), digest.begin());
  EXPECT_EQ(toHex(digest), "36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8"
                           "ad2c0c44ca42c");
  std::string header;
  for (size_t i = 32; i < 64; ++i) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", bytes[i]);
    header += digits;
  }
  EXPECT_EQ(writer->artifactSha256(), header);
}

TEST(ArtifactWriter, EqualInputGivesEqualBytes) {
  std::string path = temporaryPath("again.chorus");
  writeFixture(path, codeVariant("good"));
  EXPECT_EQ(readBytes(path), fixtureBytes());
  auto artifact = Artifact::open(path);
  EXPECT_TRUE(artifact.ok()) << artifact.status().line("test");
}

TEST(ArtifactWriter, NothingIsLeftWithoutCommit) {
  std::string folder = newFolder("uncommitted");
  std::string path = folder + "/m.chorus";
  {
    auto writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer.ok());
    Bytes block(1 << 20, 7);
    ASSERT_TRUE(writer
                    ->addSegment(artifact::SegmentKind::Weights, block.data(),
                                 block.size())
                    .ok());
  }
  EXPECT_EQ(filesIn(folder), 0u);
  // A file that was there before stays.
  writeBytes(path, {1, 2, 3});
  {
    auto writer = ArtifactWriter::create(path);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->finish(emptyMetadata).ok());
  }
  EXPECT_EQ(filesIn(folder), 1u);
  EXPECT_EQ(readBytes(path), (Bytes{1, 2, 3}));
}

TEST(ArtifactWriter, MetadataThatNobodyCouldLoadIsRefused) {
  auto writer = ArtifactWriter::create(temporaryPath("large.chorus"));
  ASSERT_TRUE(writer.ok());
  Status status = writer->finish([](flatbuffers::FlatBufferBuilder &builder,
                                    ArtifactWriter::SegmentList segments) {
    auto producer =
        builder.CreateString(std::string(maxArtifactMetadataSize, 'x'));
    return artifact::CreateArtifact(builder, producer, 1, 0, 0, 0, segments);
  });
  EXPECT_EQ(status.exitCode(), ExitCode::Limit);
}

} // namespace
