//===- GoldenFile.h - Reads reference data in tests -------------*- C++ -*-===//

#ifndef CHORUS_RT_TEST_GOLDENFILE_H
#define CHORUS_RT_TEST_GOLDENFILE_H

#include <nlohmann/json.hpp>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

/// Tensors of a trusted safetensors file of the reference data.
class GoldenFile {
public:
  explicit GoldenFile(const std::string &path) {
    std::ifstream stream(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(stream), {});
    if (bytes.size() < 8)
      return;
    uint64_t headerSize;
    std::memcpy(&headerSize, bytes.data(), 8);
    header = nlohmann::json::parse(bytes.substr(8, headerSize));
    data = 8 + headerSize;
  }

  /// Whether the file was there.
  bool ok() const { return data != 0; }

  bool has(const std::string &name) const { return header.contains(name); }

  std::vector<int64_t> shape(const std::string &name) const {
    return header.at(name).at("shape");
  }

  std::string metadata(const std::string &name) const {
    return header.at("__metadata__").at(name);
  }

  /// The elements of a tensor whose dtype is that of T.
  template <typename T> std::vector<T> read(const std::string &name) const {
    const nlohmann::json &offsets = header.at(name).at("data_offsets");
    size_t begin = offsets[0], end = offsets[1];
    std::vector<T> values((end - begin) / sizeof(T));
    std::memcpy(values.data(), bytes.data() + data + begin, end - begin);
    return values;
  }

private:
  std::string bytes;
  nlohmann::json header;
  size_t data = 0;
};

#endif // CHORUS_RT_TEST_GOLDENFILE_H
