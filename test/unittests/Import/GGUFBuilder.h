//===- GGUFBuilder.h - Small .gguf files for tests --------------*- C++ -*-===//

#ifndef CHORUS_TEST_UNITTESTS_IMPORT_GGUFBUILDER_H
#define CHORUS_TEST_UNITTESTS_IMPORT_GGUFBUILDER_H

#include "chorus/Import/GGUF/GGUFFile.h"

#include <cassert>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::gguf::test {

/// Bytes of a number as the file holds it.
template <typename T> std::string bytesOf(T value) {
  return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

/// A length and the bytes.
inline std::string lengthPrefixed(std::string_view text) {
  return bytesOf<uint64_t>(text.size()).append(text);
}

/// The same byte `count` times, as tensor data.
inline std::string filled(size_t count, uint8_t byte = 0x11) {
  return std::string(count, static_cast<char>(byte));
}

/// Collects keys and tensors and lays them out as a file. Nothing is checked,
/// so that wrong files can be made; `offsetOf` says where a field came to lie,
/// by the name that messages use.
class GGUFBuilder {
public:
  uint32_t version = 3;
  /// Used for the layout; `addAlignment` also writes the key.
  uint64_t alignment = 32;
  /// Writers may or may not pad the last tensor.
  bool padLastTensor = true;

  /// `value` as it stands in the file, of the type numbered `type`.
  GGUFBuilder &addRaw(std::string key, uint32_t type, std::string value) {
    keys.push_back({std::move(key), type, std::move(value)});
    return *this;
  }
  GGUFBuilder &add(std::string key, uint8_t v) { return addNumber(key, 0, v); }
  GGUFBuilder &add(std::string key, int8_t v) { return addNumber(key, 1, v); }
  GGUFBuilder &add(std::string key, uint16_t v) { return addNumber(key, 2, v); }
  GGUFBuilder &add(std::string key, int16_t v) { return addNumber(key, 3, v); }
  GGUFBuilder &add(std::string key, uint32_t v) { return addNumber(key, 4, v); }
  GGUFBuilder &add(std::string key, int32_t v) { return addNumber(key, 5, v); }
  GGUFBuilder &add(std::string key, float v) { return addNumber(key, 6, v); }
  GGUFBuilder &add(std::string key, bool v) {
    return addNumber<uint8_t>(key, 7, v ? 1 : 0);
  }
  GGUFBuilder &add(std::string key, uint64_t v) {
    return addNumber(key, 10, v);
  }
  GGUFBuilder &add(std::string key, int64_t v) { return addNumber(key, 11, v); }
  GGUFBuilder &add(std::string key, double v) { return addNumber(key, 12, v); }
  GGUFBuilder &add(std::string key, std::string_view text) {
    return addRaw(std::move(key), 8, lengthPrefixed(text));
  }
  GGUFBuilder &add(std::string key, const char *text) {
    return add(std::move(key), std::string_view(text));
  }
  GGUFBuilder &add(std::string key, const std::vector<std::string> &texts) {
    std::string elements;
    for (const std::string &text : texts)
      elements += lengthPrefixed(text);
    return addArray(std::move(key), 8, texts.size(), elements);
  }
  GGUFBuilder &add(std::string key, const std::vector<int32_t> &values) {
    return addNumbers(std::move(key), 5, values);
  }
  GGUFBuilder &add(std::string key, const std::vector<uint32_t> &values) {
    return addNumbers(std::move(key), 4, values);
  }
  GGUFBuilder &add(std::string key, const std::vector<uint64_t> &values) {
    return addNumbers(std::move(key), 10, values);
  }
  GGUFBuilder &add(std::string key, const std::vector<float> &values) {
    return addNumbers(std::move(key), 6, values);
  }
  /// An array whose length field says `count`, whatever `elements` holds.
  GGUFBuilder &addArray(std::string key, uint32_t elementType, uint64_t count,
                        std::string_view elements) {
    return addRaw(std::move(key), 9,
                  (bytesOf(elementType) + bytesOf(count)).append(elements));
  }
  GGUFBuilder &addAlignment(uint32_t value) {
    alignment = value;
    return add("general.alignment", value);
  }

  /// `dims` in GGUF order, the row's length first. Without `data`, as many
  /// bytes as the type needs, all 0x11 (finite in every type).
  GGUFBuilder &addTensor(std::string name, std::vector<uint64_t> dims,
                         TensorType type) {
    const TensorTypeInfo &info = tensorTypeInfo(type);
    uint64_t elements = 1;
    for (uint64_t dim : dims)
      elements *= dim;
    assert(elements % info.blockElements == 0);
    return addTensor(std::move(name), std::move(dims), type,
                     filled(elements / info.blockElements * info.blockBytes));
  }
  GGUFBuilder &addTensor(std::string name, std::vector<uint64_t> dims,
                         TensorType type, std::string data) {
    tensors.push_back({std::move(name), std::move(dims),
                       static_cast<uint32_t>(type), std::move(data)});
    return *this;
  }

  /// The file's bytes; sets the offsets.
  std::string build() {
    offsets.clear();
    std::string out = "GGUF";
    offsets["magic"] = 0;
    put(out, "version", bytesOf(version));
    put(out, "tensor_count", bytesOf<uint64_t>(tensors.size()));
    put(out, "metadata_kv_count", bytesOf<uint64_t>(keys.size()));
    for (size_t i = 0; i < keys.size(); ++i) {
      std::string field = "metadata_kv[" + std::to_string(i) + "]";
      put(out, field + ".key", lengthPrefixed(keys[i].key));
      put(out, field + ".type", bytesOf(keys[i].type));
      put(out, field + ".value", keys[i].value);
    }
    uint64_t offset = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorToWrite &tensor = tensors[i];
      std::string field = "tensor_infos[" + std::to_string(i) + "]";
      put(out, field + ".name", lengthPrefixed(tensor.name));
      put(out, field + ".n_dims", bytesOf<uint32_t>(tensor.dims.size()));
      offsets[field + ".dims"] = out.size();
      for (size_t j = 0; j < tensor.dims.size(); ++j)
        put(out, field + ".dims[" + std::to_string(j) + "]",
            bytesOf(tensor.dims[j]));
      put(out, field + ".type", bytesOf(tensor.type));
      put(out, field + ".offset", bytesOf(offset));
      offset = roundUp(offset + tensor.data.size());
    }
    metadataEnd = out.size();
    for (size_t i = 0; i < tensors.size(); ++i) {
      out.resize(roundUp(out.size()));
      put(out, "tensor_data[" + std::to_string(i) + "]", tensors[i].data);
    }
    if (padLastTensor)
      out.resize(roundUp(out.size()));
    return out;
  }

  /// Writes the file to `path`.
  void write(const std::string &path) {
    std::string bytes = build();
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  /// Where the last `build` put a field: "version", "metadata_kv[0].value",
  /// "tensor_infos[1].dims[0]", "tensor_data[1]".
  uint64_t offsetOf(const std::string &field) const {
    return offsets.at(field);
  }
  const std::map<std::string, uint64_t> &fields() const { return offsets; }
  /// Where descriptions end and padding before the data begins.
  uint64_t endOfMetadata() const { return metadataEnd; }

private:
  struct KeyToWrite {
    std::string key;
    uint32_t type;
    std::string value;
  };
  struct TensorToWrite {
    std::string name;
    std::vector<uint64_t> dims;
    uint32_t type;
    std::string data;
  };

  template <typename T>
  GGUFBuilder &addNumber(std::string &key, uint32_t type, T value) {
    return addRaw(std::move(key), type, bytesOf(value));
  }
  template <typename T>
  GGUFBuilder &addNumbers(std::string key, uint32_t type,
                          const std::vector<T> &values) {
    std::string elements;
    for (T value : values)
      elements += bytesOf(value);
    return addArray(std::move(key), type, values.size(), elements);
  }
  void put(std::string &out, const std::string &field, std::string_view bytes) {
    offsets[field] = out.size();
    out.append(bytes);
  }
  uint64_t roundUp(uint64_t value) const {
    return (value + alignment - 1) / alignment * alignment;
  }

  std::vector<KeyToWrite> keys;
  std::vector<TensorToWrite> tensors;
  std::map<std::string, uint64_t> offsets;
  uint64_t metadataEnd = 0;
};

} // namespace chorus::gguf::test

#endif // CHORUS_TEST_UNITTESTS_IMPORT_GGUFBUILDER_H
