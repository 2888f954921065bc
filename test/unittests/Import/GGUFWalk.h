//===- GGUFWalk.h - Using everything an accepted .gguf offers ---*- C++ -*-===//

#ifndef CHORUS_TEST_UNITTESTS_IMPORT_GGUFWALK_H
#define CHORUS_TEST_UNITTESTS_IMPORT_GGUFWALK_H

#include "chorus/Import/GGUF/Dequantize.h"
#include "chorus/Import/GGUF/GGUFFile.h"

#include <cstdint>
#include <string>
#include <vector>

namespace chorus::gguf::test {

/// Calls every accessor on every key and tensor and reads every byte they point
/// to, so that sanitizers see what a user of the file would touch. Returns a
/// sum that depends on all of it.
inline uint64_t walk(const GGUFFile &file) {
  uint64_t sum = file.version() + file.alignment();
  for (uint32_t i = 0; i < file.numKeyValues(); ++i) {
    KeyValue keyValue = file.keyValue(i);
    std::string_view key = keyValue.key;
    sum += file.has(key) + file.placeOf(keyValue).size();
    if (auto value = file.getUnsigned(key, "G21"); value.ok())
      sum += *value;
    if (auto value = file.getFloat(key, "G21"); value.ok())
      sum += *value > 0;
    if (auto value = file.getBool(key, "G21"); value.ok())
      sum += *value;
    if (auto value = file.getString(key, "G21"); value.ok())
      sum += std::string(*value).size();
    if (auto values = file.getStrings(key, "G24"); values.ok())
      for (std::string_view text : values->toVector())
        sum += std::string(text).size();
    if (auto values = file.getIntegers(key, "G24"); values.ok())
      for (uint64_t j = 0; j < values->size(); ++j)
        sum += static_cast<uint64_t>((*values)[j]);
    if (auto values = file.getFloats(key, "G24"); values.ok())
      for (uint64_t j = 0; j < values->size(); ++j)
        sum += (*values)[j] > 0;
  }
  for (const Tensor &tensor : file.tensors()) {
    sum += file.findTensor(tensor.name) == &tensor;
    sum += file.placeOf(tensor).size() + file.checkFinite(tensor).ok();
    for (uint64_t i = 0; i < tensor.sizeBytes; ++i)
      sum += tensor.data[i];
    if (tensorTypeInfo(tensor.type).supported) {
      std::vector<float> row(tensor.rowElements());
      for (uint64_t i = 0; i < tensor.numRows(); ++i) {
        dequantize(tensor.type, tensor.data + i * tensor.rowBytes(), row.size(),
                   row.data());
        sum += row.back() > 0;
      }
    }
    file.release(tensor);
  }
  return sum + file.checkUnchanged().ok();
}

} // namespace chorus::gguf::test

#endif // CHORUS_TEST_UNITTESTS_IMPORT_GGUFWALK_H
