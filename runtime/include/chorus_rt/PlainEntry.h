//===- PlainEntry.h - Calls of entries with plain tensors -------*- C++ -*-===//

#ifndef CHORUS_RT_PLAINENTRY_H
#define CHORUS_RT_PLAINENTRY_H

#include "chorus_rt/Program.h"
#include "chorus_rt/Status.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// A dense, row-major tensor that the caller holds.
struct PlainInput {
  std::string_view name;
  DType dtype;
  std::vector<int64_t> shape;
  /// Product of the shape times the element size bytes, at any alignment.
  const void *data;
};

/// A dense, row-major tensor that a call made.
struct PlainOutput {
  struct Free {
    void operator()(uint8_t *memory) const { std::free(memory); }
  };

  std::string_view name; ///< Lives as long as the Program.
  DType dtype;
  std::vector<int64_t> shape;
  uint64_t sizeBytes;
  std::unique_ptr<uint8_t[], Free> data; ///< Aligned to 64.
};

/// Calls a plain entry. The inputs, in any order, must be those of the entry;
/// symbolic dimensions take their values from the inputs' shapes. Usage error,
/// naming the tensor, what was found and what is needed, if they do not fit or
/// contradict each other; N14, with the place and what is allowed, if an index
/// or a size lies outside the entry's bounds; limit error if memory runs out.
/// `source` stands before the tensors' names in messages, for instance the file
/// that they come from. `api`: not null.
StatusOr<std::vector<PlainOutput>>
callPlainEntry(const Program &program, const Program::Entry &entry,
               const std::vector<PlainInput> &inputs,
               const chorus_runtime_api *api, const std::string &source);

/// Calls the plain entry of that name with the tensors of a safetensors file
/// and writes its outputs to another, which appears whole or not at all.
/// Usage error if there is no such entry or if it is a step entry.
Status runPlainEntry(const Program &program, std::string_view entryName,
                     const std::string &inputsPath,
                     const std::string &outputsPath,
                     const chorus_runtime_api *api);

} // namespace chorus::rt

#endif // CHORUS_RT_PLAINENTRY_H
