//===- Artifact.cpp - A verified .chorus file -----------------------------===//

#include "chorus_rt/Artifact.h"

#include "ArtifactMetadata.h"
#include "chorus_rt/ArtifactFormat.h"
#include "chorus_rt/ByteReader.h"
#include "chorus_rt/Sha256.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>
#include <sys/stat.h>
#include <system_error>
#include <thread>

using namespace chorus::rt;

/// A file of that size whose blocks on disk hold less than a sixteenth of it is
/// mostly holes: nothing that Chorus wrote, and too long to hash.
static constexpr uint64_t sparseFileSize = uint64_t(64) << 30;

static std::string hexOffset(uint64_t offset) {
  char buffer[24];
  std::snprintf(buffer, sizeof buffer, " @0x%llx",
                static_cast<unsigned long long>(offset));
  return buffer;
}

static std::string bytesText(uint64_t count) {
  return std::to_string(count) + " bytes";
}

static const char *formatOfMagic(const uint8_t *bytes) {
  if (std::memcmp(bytes, "GGUF", 4) == 0)
    return "a GGUF file";
  if (std::memcmp(bytes, "PK\3\4", 4) == 0)
    return "a zip file";
  if (std::memcmp(bytes,
                  "\x7F"
                  "ELF",
                  4) == 0)
    return "an ELF file";
  return nullptr;
}

Status Artifact::checkPages() const {
  if (!mapping.hasLostPages())
    return Status();
  return ioError("A13", escapedPath,
                 "a page can no longer be read: the file was cut while it ran, "
                 "or its device failed");
}

Artifact::Artifact(FileMapping file)
    : filePath(file.path()), escapedPath(escapeForMessage(filePath, 200)),
      mapping(std::move(file)) {}

std::string Artifact::place(const std::string &field) const {
  return escapedPath + ": " + field;
}

/// Magic, versions and the place of the metadata (A01, A02, A03, A05).
Status Artifact::readHeader(const uint8_t *bytes, uint64_t &metadataOffset,
                            uint64_t &metadataSize) {
  namespace at = artifact_header;
  if (std::memcmp(bytes + at::magic, artifactMagic, sizeof artifactMagic) !=
      0) {
    const char *format = formatOfMagic(bytes);
    return refused("A02", place("header.magic @0x0"),
                   format ? std::string("this is ") + format +
                                ", a .chorus file is needed"
                          : "not a .chorus file, or damaged");
  }
  uint32_t headerSize;
  std::memcpy(&major, bytes + at::majorVersion, sizeof major);
  std::memcpy(&minor, bytes + at::minorVersion, sizeof minor);
  std::memcpy(&headerSize, bytes + at::headerSize, sizeof headerSize);
  std::memcpy(&metadataOffset, bytes + at::metadataOffset, 8);
  std::memcpy(&metadataSize, bytes + at::metadataSize, 8);
  if (major != artifactMajorVersion)
    return refused("A03", place("header.major_version @0x8"),
                   "format version " + std::to_string(major) + "." +
                       std::to_string(minor) + ", this version reads " +
                       std::to_string(artifactMajorVersion) +
                       ".x; compile the model again");
  if (headerSize != at::size)
    return refused("A03", place("header.header_size @0xc"),
                   bytesText(headerSize) + ", needed " + bytesText(at::size));

  std::string field = "metadata" + hexOffset(metadataOffset);
  if (metadataOffset % artifactAlignment != 0 ||
      metadataOffset < artifactAlignment)
    return refused("A05", place("header.metadata_offset @0x10"),
                   std::to_string(metadataOffset) +
                       " is not a positive multiple of 4096");
  if (metadataSize > maxArtifactMetadataSize)
    return refused("A05", place("header.metadata_size @0x18"),
                   bytesText(metadataSize) + ", at most " +
                       bytesText(maxArtifactMetadataSize) + " are allowed");
  uint64_t end;
  if (!checkedAdd(metadataOffset, metadataSize, end) || end > mapping.size())
    return refused("A01", place(field),
                   "the file has " + bytesText(mapping.size()) +
                       ", the metadata is at " +
                       std::to_string(metadataOffset) + " and has " +
                       bytesText(metadataSize));
  if (end < mapping.size())
    return refused("A02", place("end" + hexOffset(end)),
                   bytesText(mapping.size() - end) +
                       " after the metadata, none are allowed");
  return Status();
}

/// Segments follow each other in ascending order, each at the next multiple of
/// 4096, with zeros between; the metadata comes last (A02, A05).
Status Artifact::checkLayout(uint64_t metadataOffset) const {
  auto checkZeros = [&](uint64_t begin, uint64_t end) {
    const uint8_t *first = mapping.data() + begin;
    const uint8_t *last = mapping.data() + end;
    const uint8_t *wrong =
        std::find_if(first, last, [](uint8_t byte) { return byte != 0; });
    if (wrong == last)
      return Status();
    return refused("A02",
                   place("padding" + hexOffset(static_cast<uint64_t>(
                                         wrong - mapping.data()))),
                   "a byte that must be zero is not");
  };
  uint64_t end = artifact_header::size;
  for (size_t i = 0; i < content.segments.size(); ++i) {
    const SegmentInfo &segment = content.segments[i];
    std::string field = "segments[" + std::to_string(i) + "]";
    if (segment.offset % artifactAlignment != 0)
      return refused("A05", place(field + ".offset"),
                     std::to_string(segment.offset) +
                         " is not a multiple of 4096");
    if (segment.offset < end)
      return refused("A05", place(field + ".offset"),
                     std::to_string(segment.offset) + " lies inside the " +
                         (i == 0 ? "header" : "segment before") +
                         ", which ends at " + std::to_string(end));
    uint64_t segmentEnd;
    if (!checkedAdd(segment.offset, segment.size, segmentEnd) ||
        segmentEnd > metadataOffset)
      return refused("A05", place(field),
                     bytesText(segment.size) + " at " +
                         std::to_string(segment.offset) +
                         " pass the metadata's start at " +
                         std::to_string(metadataOffset));
    if (segment.offset - end >= artifactAlignment)
      return refused("A05", place(field + ".offset"),
                     "a gap of " + bytesText(segment.offset - end) +
                         " before the segment, less than 4096 are allowed");
    CHORUS_RETURN_IF_ERROR(checkZeros(end, segment.offset));
    end = segmentEnd;
  }
  if (metadataOffset - end >= artifactAlignment)
    return refused("A05", place("header.metadata_offset @0x10"),
                   "a gap of " + bytesText(metadataOffset - end) +
                       " before the metadata, less than 4096 are allowed");
  return checkZeros(end, metadataOffset);
}

const uint8_t *Artifact::segmentData(uint32_t index) const {
  return mapping.data() + content.segments[index].offset;
}

std::string_view Artifact::segmentBytes(uint32_t index) const {
  return {reinterpret_cast<const char *>(segmentData(index)),
          static_cast<size_t>(segmentSize(index))};
}

std::optional<size_t> Artifact::findModel(std::string_view name) const {
  for (size_t i = 0; i < content.models.size(); ++i)
    if (content.models[i].name == name)
      return i;
  return std::nullopt;
}

/// A thread that runs `work`, or none where the system refuses one.
template <typename Work> static std::thread startThread(Work work) {
  try {
    return std::thread(work);
  } catch (const std::system_error &) {
    return std::thread();
  }
}

Status Artifact::verifySegments() const {
  const std::vector<SegmentInfo> &segments = content.segments;
  enum class Outcome : uint8_t { Equal, Differs, NoMemory };
  std::vector<Outcome> outcomes(segments.size());
  // Two threads take segments from the largest down, where that is worth a
  // thread.
  constexpr uint64_t worthAThread = 1 << 20;
  std::vector<size_t> order(segments.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return segments[a].size > segments[b].size;
  });
  std::atomic<size_t> next{0};
  auto work = [&]() noexcept {
    for (size_t taken; (taken = next++) < order.size();) {
      size_t i = order[taken];
      const SegmentInfo &segment = segments[i];
      StatusOr<Sha256Digest> digest =
          sha256(mapping.data() + segment.offset, segment.size);
      outcomes[i] = !digest.ok()                ? Outcome::NoMemory
                    : *digest == segment.sha256 ? Outcome::Equal
                                                : Outcome::Differs;
    }
  };
  std::thread helper;
  if (order.size() > 1 && segments[order[1]].size >= worthAThread)
    helper = startThread(work);
  work();
  if (helper.joinable())
    helper.join();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i] == Outcome::NoMemory)
      return limitError("N10", place("segments"), "out of memory");
    if (outcomes[i] == Outcome::Differs)
      return refused("A02",
                     place("segments[" + std::to_string(i) + "]" +
                           hexOffset(segments[i].offset)),
                     "the SHA-256 of its bytes is not the one in the metadata");
  }
  Status unchanged = mapping.checkUnchanged("A13");
  return unchanged.ok()
             ? unchanged
             : ioError("A13", unchanged.place(), unchanged.message());
}

StatusOr<std::shared_ptr<const Artifact>>
Artifact::open(const std::string &path) try {
  StatusOr<FileMapping> mapping = FileMapping::open(path, "A15");
  if (!mapping.ok()) {
    const Status &status = mapping.status();
    if (status.exitCode() == ExitCode::Limit)
      return refused("A15", status.place(), "too large, " + status.message());
    return status;
  }
  std::shared_ptr<Artifact> artifact(new Artifact(std::move(*mapping)));
  struct stat info;
  if (fstat(artifact->mapping.descriptor(), &info) == 0 &&
      artifact->fileSize() > sparseFileSize &&
      static_cast<uint64_t>(info.st_blocks) * 512 < artifact->fileSize() / 16)
    return refused("A15", artifact->escapedPath,
                   bytesText(artifact->fileSize()) + ", nearly all of it a "
                                                     "hole");

  // Copies of header and metadata of our own: what is checked is what is used,
  // even if the file is overwritten later.
  std::array<uint8_t, artifact_header::size> header;
  if (artifact->fileSize() < header.size())
    return refused("A01", artifact->place("header @0x0"),
                   "the file has " + bytesText(artifact->fileSize()) +
                       ", the header needs " + bytesText(header.size()));
  std::memcpy(header.data(), artifact->mapping.data(), header.size());
  uint64_t offset, size;
  Status status = artifact->readHeader(header.data(), offset, size);
  if (!status.ok())
    return status;
  artifact->metadataBytes.assign(artifact->mapping.data() + offset,
                                 artifact->mapping.data() + offset + size);
  Sha256 hash;
  hash.update(header.data(), artifact_header::sha256);
  hash.update(artifact->metadataBytes.data(), artifact->metadataBytes.size());
  StatusOr<Sha256Digest> digest = hash.finish();
  if (!digest.ok())
    return digest.status();
  if (std::memcmp(digest->data(), header.data() + artifact_header::sha256,
                  digest->size()) != 0)
    return refused("A02", artifact->place("metadata" + hexOffset(offset)),
                   "the SHA-256 of header and metadata is not the one in the "
                   "header");
  artifact->sha256Hex = toHex(*digest);

  StatusOr<ArtifactMetadata> metadata =
      decodeMetadata(artifact->metadataBytes, artifact->escapedPath);
  if (!metadata.ok())
    return metadata.status();
  artifact->content = std::move(*metadata);
  status = artifact->checkLayout(offset);
  if (status.ok())
    status = artifact->verifySegments();
  if (!status.ok())
    return status;
  return std::shared_ptr<const Artifact>(std::move(artifact));
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory while opening the artifact");
}
