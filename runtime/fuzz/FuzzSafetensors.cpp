//===- FuzzSafetensors.cpp - libFuzzer target of the safetensors reader ---===//

#include "chorus_rt/Safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto file = chorus::rt::SafetensorsFile::parse(data, size, "fuzz");
  if (!file.ok()) {
    if (file.status().line("fuzz").size() > 512)
      __builtin_trap();
    return 0;
  }
  // What was accepted is used: every byte of every tensor.
  volatile uint64_t sum = 0;
  for (const chorus::rt::SafetensorsTensor &tensor : file->tensors()) {
    if (file->find(tensor.name) != &tensor)
      __builtin_trap();
    for (uint64_t i = 0; i < tensor.sizeBytes; ++i)
      sum = sum + tensor.data[i];
  }
  return 0;
}
