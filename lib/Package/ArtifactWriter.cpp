//===- ArtifactWriter.cpp - Writes a .chorus file -------------------------===//

#include "chorus/Package/ArtifactWriter.h"

#include "chorus_rt/ArtifactFormat.h"

#include <array>
#include <cassert>
#include <cstring>

using namespace chorus;

rt::StatusOr<ArtifactWriter> ArtifactWriter::create(const std::string &path) {
  rt::StatusOr<rt::AtomicFile> file = rt::AtomicFile::create(path);
  if (!file.ok())
    return file.status();
  ArtifactWriter writer(std::move(*file));
  // The header's place; finish() knows its content.
  const std::array<uint8_t, rt::artifact_header::size> zeros = {};
  rt::Status status = writer.file.append(zeros.data(), zeros.size());
  if (!status.ok())
    return status;
  return writer;
}

rt::Status ArtifactWriter::beginSegment(artifact::SegmentKind kind) {
  assert(!inSegment && !finished && "segments do not nest");
  CHORUS_RETURN_IF_ERROR(file.alignTo(rt::artifactAlignment));
  written.push_back({kind, file.size(), 0, {}});
  segmentHash = rt::Sha256();
  inSegment = true;
  return rt::Status();
}

rt::Status ArtifactWriter::append(const void *data, uint64_t sizeBytes) {
  assert(inSegment && "bytes belong to a segment");
  segmentHash.update(data, sizeBytes);
  return file.append(data, sizeBytes);
}

rt::StatusOr<uint32_t> ArtifactWriter::endSegment() {
  assert(inSegment && "no segment was begun");
  rt::StatusOr<rt::Sha256Digest> digest = segmentHash.finish();
  if (!digest.ok())
    return digest.status();
  Segment &segment = written.back();
  segment.size = file.size() - segment.offset;
  segment.sha256 = *digest;
  inSegment = false;
  return static_cast<uint32_t>(written.size() - 1);
}

rt::StatusOr<uint32_t> ArtifactWriter::addSegment(artifact::SegmentKind kind,
                                                  const void *data,
                                                  uint64_t sizeBytes) {
  rt::Status status = beginSegment(kind);
  if (status.ok())
    status = append(data, sizeBytes);
  if (!status.ok())
    return status;
  return endSegment();
}

rt::Status ArtifactWriter::finish(const MetadataFunction &makeMetadata) {
  assert(!inSegment && !finished && "finish comes once, after all segments");
  flatbuffers::FlatBufferBuilder builder;
  std::vector<flatbuffers::Offset<artifact::Segment>> segments;
  for (const Segment &segment : written) {
    auto sha256 =
        builder.CreateVector(segment.sha256.data(), segment.sha256.size());
    segments.push_back(artifact::CreateSegment(
        builder, segment.kind, segment.offset, segment.size, sha256));
  }
  artifact::FinishArtifactBuffer(
      builder, makeMetadata(builder, builder.CreateVector(segments)));
  if (builder.GetSize() > rt::maxArtifactMetadataSize)
    return rt::limitError(
        "limit", "metadata",
        std::to_string(builder.GetSize()) + " bytes, at most " +
            std::to_string(rt::maxArtifactMetadataSize) + " are allowed");

  CHORUS_RETURN_IF_ERROR(file.alignTo(rt::artifactAlignment));
  uint64_t metadataOffset = file.size(), metadataSize = builder.GetSize();
  CHORUS_RETURN_IF_ERROR(file.append(builder.GetBufferPointer(), metadataSize));

  namespace at = rt::artifact_header;
  std::array<uint8_t, at::size> header = {};
  auto put = [&](size_t offset, const auto &value) {
    std::memcpy(header.data() + offset, &value, sizeof value);
  };
  put(at::magic, rt::artifactMagic);
  put(at::majorVersion, rt::artifactMajorVersion);
  put(at::minorVersion, rt::artifactMinorVersion);
  put(at::headerSize, static_cast<uint32_t>(at::size));
  put(at::metadataOffset, metadataOffset);
  put(at::metadataSize, metadataSize);
  rt::Sha256 hash;
  hash.update(header.data(), at::sha256);
  hash.update(builder.GetBufferPointer(), metadataSize);
  rt::StatusOr<rt::Sha256Digest> digest = hash.finish();
  if (!digest.ok())
    return digest.status();
  put(at::sha256, *digest);
  CHORUS_RETURN_IF_ERROR(file.writeAt(0, header.data(), header.size()));
  headerSha256 = rt::toHex(*digest);
  finished = true;
  return rt::Status();
}

rt::Status ArtifactWriter::commit() { return file.commit(); }
