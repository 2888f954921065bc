//===- ByteReader.cpp - Bounds-checked reading of binary files ------------===//

#include "chorus_rt/ByteReader.h"

#include <cstdio>

namespace chorus::rt {

std::string FieldPath::str() const {
  std::string text = name;
  if (index >= 0)
    text += "[" + std::to_string(index) + "]";
  if (member)
    text += std::string(".") + member;
  if (memberIndex >= 0)
    text += "[" + std::to_string(memberIndex) + "]";
  return text;
}

std::string ByteReader::place(const FieldPath &field, uint64_t atOffset) const {
  char hex[24];
  std::snprintf(hex, sizeof hex, " @0x%llx",
                static_cast<unsigned long long>(atOffset));
  return fileName + ": " + field.str() + hex;
}

Status ByteReader::refuse(const char *code, const FieldPath &field,
                          uint64_t atOffset, std::string message) const {
  return refused(code, place(field, atOffset), std::move(message));
}

Status ByteReader::endsEarly(const char *code, const FieldPath &field,
                             uint64_t needed) const {
  return refuse(code, field, offset,
                "needs " + std::to_string(needed) + " bytes but " +
                    std::to_string(remaining()) + " remain");
}

Status ByteReader::readBytes(uint64_t count, std::string_view &value,
                             const char *code, const FieldPath &field) {
  if (count > remaining())
    return endsEarly(code, field, count);
  value =
      std::string_view(reinterpret_cast<const char *>(bytes) + offset, count);
  offset += count;
  return {};
}

Status ByteReader::skip(uint64_t count, const char *code,
                        const FieldPath &field) {
  std::string_view skipped;
  return readBytes(count, skipped, code, field);
}

Status ByteReader::checkCount(uint64_t count, uint64_t elementBytes,
                              const char *code, const FieldPath &field,
                              uint64_t atOffset) const {
  if (elementBytes == 0 || count <= remaining() / elementBytes)
    return {};
  return refuse(code, field, atOffset,
                std::to_string(count) + " elements of at least " +
                    std::to_string(elementBytes) + " bytes but " +
                    std::to_string(remaining()) + " bytes remain");
}

} // namespace chorus::rt
