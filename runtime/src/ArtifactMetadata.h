//===- ArtifactMetadata.h - The checked metadata of an artifact -*- C++ -*-===//
//
// From FlatBuffers bytes to ArtifactMetadata, with every field checked.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SRC_ARTIFACTMETADATA_H
#define CHORUS_RT_SRC_ARTIFACTMETADATA_H

#include "chorus_rt/Artifact.h"

namespace chorus::rt {

/// Verifies the structure of `bytes` (A04), versions and features (A03), sizes
/// (A07) and indices (A08). The result points into `bytes`. Where segments lie
/// in the file is left to the caller. `file`: for messages.
StatusOr<ArtifactMetadata> decodeMetadata(const std::vector<uint8_t> &bytes,
                                          const std::string &file);

} // namespace chorus::rt

#endif // CHORUS_RT_SRC_ARTIFACTMETADATA_H
