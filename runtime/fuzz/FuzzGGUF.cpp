//===- FuzzGGUF.cpp - libFuzzer target of the GGUF reader -----------------===//

#include "GGUFWalk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  auto file = chorus::gguf::GGUFFile::parse(data, size, "fuzz.gguf");
  // What was accepted is used as an importer would.
  if (file.ok())
    chorus::gguf::test::walk(*file);
  else if (file.status().line("fuzz").size() > 512)
    __builtin_trap();
  return 0;
}
