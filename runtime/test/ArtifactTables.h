//===- ArtifactTables.h - Parts of metadata for tests -----------*- C++ -*-===//
//
// Metadata as tests write it by hand, in the form that can be changed.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RUNTIME_TEST_ARTIFACTTABLES_H
#define CHORUS_RUNTIME_TEST_ARTIFACTTABLES_H

#include "chorus_rt/schema/artifact_generated.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt::test {

inline std::unique_ptr<artifact::TensorT>
tensor(const std::string &name, artifact::DType dtype,
       std::vector<artifact::Dim> dims) {
  auto result = std::make_unique<artifact::TensorT>();
  result->name = name;
  result->dtype = dtype;
  result->dims = std::move(dims);
  return result;
}

inline std::unique_ptr<artifact::ArenaTermT>
arenaTerm(uint64_t bytes, std::vector<uint32_t> symbols) {
  auto result = std::make_unique<artifact::ArenaTermT>();
  result->bytes = bytes;
  result->symbols = std::move(symbols);
  return result;
}

/// The step entry as compilers write it, without an arena.
inline std::unique_ptr<artifact::EntryT> stepEntry(int64_t vocabSize) {
  using artifact::DType;
  const artifact::Dim t(-1, 0), r(-1, 1), vocab(vocabSize, 0);
  auto entry = std::make_unique<artifact::EntryT>();
  entry->name = "step";
  entry->kind = artifact::EntryKind::Step;
  entry->function = "chorus_step";
  entry->symbols = {"T", "R"};
  entry->inputs.push_back(tensor("tokens", DType::I32, {t}));
  entry->inputs.push_back(tensor("positions", DType::I32, {t}));
  entry->inputs.push_back(tensor("output_rows", DType::I32, {r}));
  entry->outputs.push_back(tensor("logits", DType::F32, {r, vocab}));
  entry->outputs.push_back(tensor("log_sum_exp", DType::F32, {r}));
  return entry;
}

inline std::unique_ptr<artifact::CodeT> code(const std::string &target,
                                             std::vector<std::string> features,
                                             uint32_t segment) {
  auto result = std::make_unique<artifact::CodeT>();
  result->target = target;
  result->features = std::move(features);
  result->segment = segment;
  return result;
}

} // namespace chorus::rt::test

#endif // CHORUS_RUNTIME_TEST_ARTIFACTTABLES_H
