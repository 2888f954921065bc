//===- ArtifactWriter.h - Writes a .chorus file -----------------*- C++ -*-===//
//
// Segments are streamed to disk and hashed as they come, so that packed weights
// are never held; the metadata follows them, when their hashes are known.
// docs/Artifact.md describes the bytes.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_PACKAGE_ARTIFACTWRITER_H
#define CHORUS_PACKAGE_ARTIFACTWRITER_H

#include "chorus_rt/AtomicFile.h"
#include "chorus_rt/Sha256.h"
#include "chorus_rt/schema/artifact_generated.h"

#include <functional>
#include <string>
#include <vector>

namespace chorus {

/// Writes one file:
///
///     auto writer = ArtifactWriter::create("m.chorus");
///     writer->beginSegment(artifact::SegmentKind::Weights);
///     writer->append(panel, panelBytes);             // any number of times
///     auto weights = writer->endSegment();           // index of the segment
///     writer->finish([&](auto &builder, auto segments) {
///       return artifact::CreateArtifact(builder, ..., segments, models);
///     });
///     writer->commit();
///
/// The target appears at commit(), whole; without it nothing is left behind.
/// Equal calls give equal bytes. After an error only destruction is allowed.
class ArtifactWriter {
public:
  /// What finish() adds to the metadata's segment list.
  struct Segment {
    artifact::SegmentKind kind;
    uint64_t offset;
    uint64_t size;
    rt::Sha256Digest sha256;
  };

  using SegmentList = flatbuffers::Offset<
      flatbuffers::Vector<flatbuffers::Offset<artifact::Segment>>>;
  /// Makes the root table; `segments` goes into its field of that name.
  using MetadataFunction =
      std::function<flatbuffers::Offset<artifact::Artifact>(
          flatbuffers::FlatBufferBuilder &builder, SegmentList segments)>;

  /// Errors of AtomicFile::create.
  static rt::StatusOr<ArtifactWriter> create(const std::string &path);

  /// Starts a segment at the next multiple of 4096.
  rt::Status beginSegment(artifact::SegmentKind kind);
  /// Adds bytes to the segment that was begun. Exit code 5 if the disk is full
  /// or fails.
  rt::Status append(const void *data, uint64_t sizeBytes);
  /// Ends the segment, which may be empty; its index in segments().
  rt::StatusOr<uint32_t> endSegment();
  /// The three calls above for bytes that are at hand.
  rt::StatusOr<uint32_t> addSegment(artifact::SegmentKind kind,
                                    const void *data, uint64_t sizeBytes);

  const std::vector<Segment> &segments() const { return written; }
  /// Bytes written so far, header and padding included.
  uint64_t size() const { return file.size(); }

  /// Writes metadata and header. Exit code 4 if the metadata is too large to be
  /// loaded.
  rt::Status finish(const MetadataFunction &makeMetadata);
  /// Hexadecimal hash of header and metadata, after finish().
  const std::string &artifactSha256() const { return headerSha256; }

  /// Puts the finished file in its place. A process that forks may create and
  /// flush() before, finish() and flush() in the child, and commit() after.
  rt::Status commit();

  /// For a process that forks: see AtomicFile.
  rt::Status flush() { return file.flush(); }

private:
  explicit ArtifactWriter(rt::AtomicFile file) : file(std::move(file)) {}

  rt::AtomicFile file;
  std::vector<Segment> written;
  rt::Sha256 segmentHash;
  bool inSegment = false;
  bool finished = false;
  std::string headerSha256;
};

} // namespace chorus

#endif // CHORUS_PACKAGE_ARTIFACTWRITER_H
