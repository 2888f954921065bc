//===- ByteReader.h - Bounds-checked reading of binary files ----*- C++ -*-===//
//
// The one way in which Chorus reads a binary format. A reader walks a span of
// bytes; every read says which field it reads and with which code it refuses,
// so that a failure names file, field and byte offset. Counts are compared
// with the bytes that remain before anything is allocated for them.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_BYTEREADER_H
#define CHORUS_RT_BYTEREADER_H

#include "chorus_rt/Status.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

namespace chorus::rt {

/// a + b, a * b, and `value` rounded up to a multiple of `alignment` (> 0).
/// False, with `result` unspecified, if that does not fit 64 bits.
[[nodiscard]] inline bool checkedAdd(uint64_t a, uint64_t b, uint64_t &result) {
  return !__builtin_add_overflow(a, b, &result);
}
[[nodiscard]] inline bool checkedMultiply(uint64_t a, uint64_t b,
                                          uint64_t &result) {
  return !__builtin_mul_overflow(a, b, &result);
}
[[nodiscard]] inline bool checkedAlignUp(uint64_t value, uint64_t alignment,
                                         uint64_t &result) {
  uint64_t rest = value % alignment;
  return checkedAdd(value, rest == 0 ? 0 : alignment - rest, result);
}

/// Name of a field for messages: `name[index].member[memberIndex]`, parts left
/// out where unset. Made into text only when there is an error.
struct FieldPath {
  const char *name = "";
  int64_t index = -1;
  const char *member = nullptr;
  int64_t memberIndex = -1;

  FieldPath(const char *name) : name(name) {}
  FieldPath(const char *name, int64_t index, const char *member = nullptr,
            int64_t memberIndex = -1)
      : name(name), index(index), member(member), memberIndex(memberIndex) {}

  std::string str() const;
};

/// Walks a span of bytes, which must outlive it, from front to back. Values are
/// little endian. A failed read leaves the position as it was.
class ByteReader {
public:
  /// `file` is the name in messages; it is escaped here.
  ByteReader(const uint8_t *data, uint64_t size, std::string_view file)
      : bytes(data), length(size), fileName(escapeForMessage(file, 200)) {}

  const uint8_t *data() const { return bytes; }
  uint64_t size() const { return length; }
  uint64_t position() const { return offset; }
  uint64_t remaining() const { return length - offset; }
  /// File name, escaped.
  const std::string &file() const { return fileName; }

  /// `FILE: FIELD @0xOFFSET`.
  std::string place(const FieldPath &field, uint64_t atOffset) const;
  /// A refusal (exit code 3) at that place.
  Status refuse(const char *code, const FieldPath &field, uint64_t atOffset,
                std::string message) const;

  /// Reads an integer or a float. Refuses with `code` if the span ends first.
  template <typename T>
  Status read(T &value, const char *code, const FieldPath &field) {
    static_assert(std::is_arithmetic_v<T>);
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                  "readers copy little-endian values as they are");
    if (sizeof(T) > remaining())
      return endsEarly(code, field, sizeof(T));
    std::memcpy(&value, bytes + offset, sizeof(T));
    offset += sizeof(T);
    return {};
  }

  /// Reads `count` bytes as a view into the span.
  Status readBytes(uint64_t count, std::string_view &value, const char *code,
                   const FieldPath &field);
  /// Moves past `count` bytes.
  Status skip(uint64_t count, const char *code, const FieldPath &field);
  /// Refuses unless `count` elements of at least `elementBytes` each can follow
  /// the position: the check before memory is taken for them. `atOffset` is
  /// where the count itself stands.
  Status checkCount(uint64_t count, uint64_t elementBytes, const char *code,
                    const FieldPath &field, uint64_t atOffset) const;

private:
  Status endsEarly(const char *code, const FieldPath &field,
                   uint64_t needed) const;

  const uint8_t *bytes;
  uint64_t length;
  uint64_t offset = 0;
  std::string fileName;
};

} // namespace chorus::rt

#endif // CHORUS_RT_BYTEREADER_H
