//===- Safetensors.h - Reading and writing .safetensors ---------*- C++ -*-===//
//
// The file: length of the header (8 bytes, little endian), a JSON object that
// gives each tensor's dtype, shape and byte range, then the tensors' bytes.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SAFETENSORS_H
#define CHORUS_RT_SAFETENSORS_H

#include "chorus_rt/FileMapping.h"
#include "chorus_rt/NameIndex.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus::rt {

/// Element types of the format, in the order by which writers sort tensors.
enum class SafetensorsDtype : uint8_t {
  BOOL,
  F4,
  F6_E2M3,
  F6_E3M2,
  U8,
  I8,
  F8_E5M2,
  F8_E4M3,
  F8_E8M0,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  C64,
  F64,
  I64,
  U64,
};

/// The name in the file, for instance "F32".
const char *safetensorsDtypeName(SafetensorsDtype dtype);
/// Bits of one element: 4 to 64.
unsigned safetensorsDtypeBits(SafetensorsDtype dtype);

/// One tensor of an open file. `data` lives as long as the file; it is aligned
/// to the element size only if the file's header was padded to it, so read it
/// with memcpy.
struct SafetensorsTensor {
  std::string name;
  SafetensorsDtype dtype = SafetensorsDtype::U8;
  std::vector<int64_t> shape; // Empty: a scalar.
  const uint8_t *data = nullptr;
  uint64_t sizeBytes = 0;
};

/// A file whose header has been checked in full: names unique, ranges inside
/// the file, without holes or overlaps, sizes equal to shape times element
/// size. Refusals carry the codes S01 to S13, file changes during reading G26.
class SafetensorsFile {
public:
  static StatusOr<SafetensorsFile> open(const std::string &path);
  /// Reads bytes that outlive the result; `name` is the file name in messages.
  static StatusOr<SafetensorsFile> parse(const uint8_t *data, uint64_t size,
                                         std::string_view name);

  /// In the order of the header.
  const std::vector<SafetensorsTensor> &tensors() const {
    return contents->tensors;
  }
  /// Null if there is none of that name.
  const SafetensorsTensor *find(std::string_view name) const;
  /// The pairs of `__metadata__`, in the order of the header.
  const std::vector<std::pair<std::string, std::string>> &metadata() const {
    return contents->metadata;
  }
  /// The file's mapping; null after `parse`.
  const FileMapping *mapping() const { return contents->mapping.get(); }

private:
  struct Contents {
    std::unique_ptr<FileMapping> mapping;
    std::vector<SafetensorsTensor> tensors;
    std::vector<std::pair<std::string, std::string>> metadata;
    NameIndex names;
  };
  friend class SafetensorsParser;

  std::unique_ptr<Contents> contents;
};

/// A tensor to write; `data` has shape times element size bytes.
struct SafetensorsOutput {
  std::string name;
  SafetensorsDtype dtype = SafetensorsDtype::U8;
  std::vector<int64_t> shape;
  const void *data = nullptr;
  uint64_t sizeBytes = 0;
};

/// Writes a file that appears whole or not at all (see AtomicFile.h). The bytes
/// depend only on the tensors and pairs given, not on their order: larger
/// element types come first, then names in byte order. Names must be unique,
/// well-formed UTF-8 and not `__metadata__`, sizes must fit the shapes, else
/// the call fails with exit code 70 and writes nothing.
Status writeSafetensors(
    const std::string &path, std::vector<SafetensorsOutput> tensors,
    std::vector<std::pair<std::string, std::string>> metadata = {});

} // namespace chorus::rt

#endif // CHORUS_RT_SAFETENSORS_H
