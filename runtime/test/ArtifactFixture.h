//===- ArtifactFixture.h - Small artifacts for tests ------------*- C++ -*-===//
//
// A valid artifact of under 64 KB with one model: a step entry, two plain
// entries, code for two targets, a tokenizer. Tests take its metadata apart,
// change it, and put it together again with hashes recomputed, as someone who
// wants to harm would.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RUNTIME_TEST_ARTIFACTFIXTURE_H
#define CHORUS_RUNTIME_TEST_ARTIFACTFIXTURE_H

#include "chorus_rt/ArtifactFormat.h"
#include "chorus_rt/schema/artifact_generated.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace chorus::rt::test {

using Bytes = std::vector<uint8_t>;

Bytes readBytes(const std::string &path);
void writeBytes(const std::string &path, const Bytes &bytes);

/// A shared object that the build made of code/entries.c: "good", or the name
/// of a variant in CMakeLists.txt.
Bytes codeVariant(const std::string &name);

/// Path of a new file in a folder of this test program's own.
std::string temporaryPath(const std::string &name);

/// Writes the fixture through ArtifactWriter with that code for both targets.
/// Stops the test program on failure.
void writeFixture(const std::string &path, const Bytes &code,
                  const std::vector<float> &weights = {0.25f, -1.0f});
/// The fixture's bytes, with the good code.
const Bytes &fixtureBytes();

/// The metadata of artifact bytes, in a form that can be changed.
artifact::ArtifactT unpackMetadata(const Bytes &file);
/// The file with other metadata and right hashes of header and metadata; the
/// hash of a segment that still lies inside the file is recomputed too.
Bytes withMetadata(const Bytes &file, artifact::ArtifactT metadata);
/// The same for metadata of any bytes.
Bytes withMetadataBytes(const Bytes &file, const Bytes &metadata);
/// The fixture after a change of its metadata.
Bytes changedFixture(const std::function<void(artifact::ArtifactT &)> &change);

uint64_t metadataOffset(const Bytes &file);
Bytes metadataBytes(const Bytes &file);

} // namespace chorus::rt::test

#endif // CHORUS_RUNTIME_TEST_ARTIFACTFIXTURE_H
