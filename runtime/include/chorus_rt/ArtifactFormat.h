//===- ArtifactFormat.h - The fixed bytes of a .chorus file -----*- C++ -*-===//
//
// The 64-byte header and the numbers that the writer and the loader must agree
// on. docs/Artifact.md describes the whole file; the metadata's schema is
// runtime/schema/artifact.fbs.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_ARTIFACTFORMAT_H
#define CHORUS_RT_ARTIFACTFORMAT_H

#include <cstddef>
#include <cstdint>

namespace chorus::rt {

/// A byte above 0x7F, CR LF, ^Z and LF: a transfer that changes line ends, cuts
/// at ^Z or drops the eighth bit breaks the magic.
inline constexpr uint8_t artifactMagic[8] = {0xC7, 'C',  'H',  'R',
                                             '\r', '\n', 0x1A, '\n'};

/// Files of another major version are refused; minor versions only append.
inline constexpr uint16_t artifactMajorVersion = 1;
inline constexpr uint16_t artifactMinorVersion = 0;

/// Segments and the metadata start at multiples of this.
inline constexpr uint64_t artifactAlignment = 4096;

/// Little-endian offsets of the header's fields, in bytes.
namespace artifact_header {
inline constexpr size_t magic = 0;           // [8]
inline constexpr size_t majorVersion = 8;    // u16
inline constexpr size_t minorVersion = 10;   // u16
inline constexpr size_t headerSize = 12;     // u32, 64
inline constexpr size_t metadataOffset = 16; // u64
inline constexpr size_t metadataSize = 24;   // u64
inline constexpr size_t sha256 = 32;         // [32], over [0, 32) and metadata
inline constexpr size_t size = 64;
} // namespace artifact_header

/// Largest metadata that is read. A model's metadata is a few KB; its largest
/// part is the chat template.
inline constexpr uint64_t maxArtifactMetadataSize = 4u << 20;

} // namespace chorus::rt

#endif // CHORUS_RT_ARTIFACTFORMAT_H
