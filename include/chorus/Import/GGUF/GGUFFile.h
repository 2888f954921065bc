//===- GGUFFile.h - Reading .gguf files -------------------------*- C++ -*-===//
//
// The container: header, key-value metadata, tensor descriptions, tensor data.
// Versions 2 and 3, little endian. Everything about structure is checked at
// opening (rows G01 to G20 and G26 of the bad-input catalogue, which are also
// the codes of the refusals); what the values mean is the importer's business.
// Links no MLIR.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_IMPORT_GGUF_GGUFFILE_H
#define CHORUS_IMPORT_GGUF_GGUFFILE_H

#include "chorus/Import/GGUF/TensorType.h"
#include "chorus_rt/FileMapping.h"
#include "chorus_rt/NameIndex.h"
#include "chorus_rt/Status.h"

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::gguf {

using rt::Status;
using rt::StatusOr;

/// Types of metadata values; the numbers are those in the file.
enum class ValueType : uint32_t {
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  Bool,
  String,
  Array,
  U64,
  I64,
  F64,
};

/// "u8", "string", ...
const char *valueTypeName(ValueType type);

/// One key and where its value stands. Views into the file.
struct KeyValue {
  std::string_view key;
  ValueType type = ValueType::U8;
  /// Element type of an array; `type` for anything else.
  ValueType elementType = ValueType::U8;
  /// Elements of an array; 1 for anything else.
  uint64_t count = 0;
  /// First byte of the value; of an array, of its first element.
  const uint8_t *value = nullptr;
  /// Position among the file's keys, and of the value's type in the file.
  uint32_t index = 0;
  uint64_t offset = 0;
};

/// An array of strings as it lies in the file; iterating reads each length in
/// turn, nothing is copied. `toVector()` gives random access.
class StringArray {
public:
  class Iterator {
  public:
    Iterator(const uint8_t *at, uint64_t left) : at(at), left(left) {}
    std::string_view operator*() const {
      return {reinterpret_cast<const char *>(at) + sizeof(uint64_t), length()};
    }
    Iterator &operator++() {
      at += sizeof(uint64_t) + length();
      --left;
      return *this;
    }
    bool operator!=(const Iterator &other) const { return left != other.left; }

  private:
    uint64_t length() const {
      uint64_t value;
      std::memcpy(&value, at, sizeof value);
      return value;
    }
    const uint8_t *at;
    uint64_t left;
  };

  StringArray(const uint8_t *first, uint64_t count)
      : first(first), count(count) {}
  uint64_t size() const { return count; }
  Iterator begin() const { return {first, count}; }
  Iterator end() const { return {nullptr, 0}; }
  std::vector<std::string_view> toVector() const;

private:
  const uint8_t *first;
  uint64_t count;
};

/// An array of integers of any width, or of bools, read in place. All values
/// fit int64.
class IntegerArray {
public:
  IntegerArray(const uint8_t *first, uint64_t count, ValueType elementType)
      : first(first), count(count), elementType(elementType) {}
  uint64_t size() const { return count; }
  int64_t operator[](uint64_t i) const;

private:
  const uint8_t *first;
  uint64_t count;
  ValueType elementType;
};

/// An array of f32 or f64, read in place.
class FloatArray {
public:
  FloatArray(const uint8_t *first, uint64_t count, ValueType elementType)
      : first(first), count(count), elementType(elementType) {}
  uint64_t size() const { return count; }
  double operator[](uint64_t i) const;

private:
  const uint8_t *first;
  uint64_t count;
  ValueType elementType;
};

/// One tensor. `name` and `data` lie in the file.
struct Tensor {
  std::string_view name;
  TensorType type = TensorType::F32;
  uint32_t numDims = 0;
  /// In GGUF order: dims[0] is the length of a row, whose elements are
  /// contiguous. Unused ones are 1.
  std::array<uint64_t, 4> dims = {1, 1, 1, 1};
  /// `sizeBytes` bytes, aligned to the file's alignment relative to its start.
  const uint8_t *data = nullptr;
  uint64_t sizeBytes = 0;
  /// Of the description in the file.
  uint64_t infoOffset = 0;

  uint64_t rowElements() const { return dims[0]; }
  uint64_t numRows() const { return dims[1] * dims[2] * dims[3]; }
  uint64_t numElements() const { return dims[0] * numRows(); }
  uint64_t rowBytes() const { return sizeBytes / numRows(); }
};

/// An open file whose structure has been checked. Movable; views and pointers
/// into it stay valid. Reading from several threads is fine.
class GGUFFile {
public:
  /// A missing path is a usage error (exit code 2), a bad file refused (3); a
  /// file of several shards has the code `unsupported`. More than 2^20 keys or
  /// tensors, or 2^24 strings in an array, exceed a limit (4).
  static StatusOr<GGUFFile> open(const std::string &path);
  /// Reads bytes that outlive the result; `name` is the file name in messages.
  static StatusOr<GGUFFile> parse(const uint8_t *data, uint64_t size,
                                  std::string_view name);

  uint32_t version() const { return contents->version; }
  uint64_t alignment() const { return contents->alignment; }

  // Metadata.

  uint64_t numKeyValues() const { return contents->keys.size(); }
  KeyValue keyValue(uint32_t index) const;
  std::optional<KeyValue> find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key).has_value(); }

  // The value of a key. Where the key is missing or its type is another, a
  // refusal with `code` that names the key. Integers may have any width, floats
  // either.

  StatusOr<uint64_t> getUnsigned(std::string_view key, const char *code) const;
  StatusOr<double> getFloat(std::string_view key, const char *code) const;
  StatusOr<bool> getBool(std::string_view key, const char *code) const;
  StatusOr<std::string_view> getString(std::string_view key,
                                       const char *code) const;
  StatusOr<StringArray> getStrings(std::string_view key,
                                   const char *code) const;
  StatusOr<IntegerArray> getIntegers(std::string_view key,
                                     const char *code) const;
  StatusOr<FloatArray> getFloats(std::string_view key, const char *code) const;

  // Tensors.

  /// In the order of the file.
  const std::vector<Tensor> &tensors() const { return contents->tensors; }
  const Tensor *findTensor(std::string_view name) const;

  /// See FiniteCheck.h.
  Status checkFinite(const Tensor &tensor) const;
  /// Gives back the memory of a tensor's pages.
  void release(const Tensor &tensor) const;

  // Places for messages: `FILE: metadata_kv[3] 'KEY' @0x1a` and alike.

  std::string placeOf(const KeyValue &keyValue) const;
  std::string placeOf(const Tensor &tensor) const;
  /// The file's name, escaped.
  const std::string &name() const { return contents->name; }

  /// Refuses (G26) if the file changed since it was opened. Call it after the
  /// last byte was read and before anything made from the file is kept.
  Status checkUnchanged() const;
  /// Null after `parse`.
  const rt::FileMapping *mapping() const { return contents->mapping.get(); }

private:
  /// Where a key lies: 16 bytes, since there may be a million.
  struct KeyPlace {
    uint64_t offset; // Of its first byte.
    uint32_t length;
    ValueType type;
  };
  struct Contents {
    std::unique_ptr<rt::FileMapping> mapping;
    std::string name;
    const uint8_t *data = nullptr;
    uint32_t version = 0;
    uint64_t alignment = 32;
    std::vector<KeyPlace> keys;
    rt::NameIndex keyIndex;
    std::vector<Tensor> tensors;
    rt::NameIndex tensorIndex;

    std::string_view key(uint32_t i) const {
      return {reinterpret_cast<const char *>(data) + keys[i].offset,
              keys[i].length};
    }
  };
  friend class GGUFParser;

  StatusOr<KeyValue> get(std::string_view key, const char *code) const;
  Status wrongType(const KeyValue &keyValue, const char *code,
                   const char *wanted) const;

  std::unique_ptr<Contents> contents;
};

} // namespace chorus::gguf

#endif // CHORUS_IMPORT_GGUF_GGUFFILE_H
