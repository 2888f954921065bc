//===- PlainEntry.cpp - Calls of entries with plain tensors ---------------===//

#include "chorus_rt/PlainEntry.h"

#include "chorus_rt/ByteReader.h"
#include "chorus_rt/Safetensors.h"
#include "chorus_rt/ThreadPool.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <optional>

using namespace chorus::rt;

namespace {

using Memory = std::unique_ptr<uint8_t[], PlainOutput::Free>;

constexpr uint64_t maxTensorBytes = uint64_t(1) << 48;

/// At least one byte, aligned for compiled code; null if there is no memory.
Memory allocate(uint64_t bytes) {
  uint64_t size;
  if (!checkedAlignUp(std::max<uint64_t>(bytes, 1), CHORUS_BUFFER_ALIGNMENT,
                      size))
    return nullptr;
  return Memory(static_cast<uint8_t *>(
      std::aligned_alloc(CHORUS_BUFFER_ALIGNMENT, size)));
}

/// "[2, 3]" of a call.
std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size() && i < 16; ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() > 16 ? ", ...]" : "]");
}

/// "[n, 3]" of an entry's type.
std::string shapeText(const EntryInfo &entry, const TensorInfo &tensor) {
  std::string text = "[";
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    const DimInfo &dim = tensor.dims[i];
    text += i ? ", " : "";
    text += dim.isSymbol() ? escapeForMessage(entry.symbols[dim.symbol], 16)
                           : std::to_string(dim.fixed);
  }
  return text + "]";
}

/// Values of an entry's symbols, and which dimension of which input first gave
/// them.
struct Binding {
  std::vector<int64_t> values;
  std::vector<const TensorInfo *> from;
  std::vector<size_t> dimension;
};

int64_t loadInteger(DType dtype, const uint8_t *data, uint64_t index) {
  auto load = [&](auto value) {
    std::memcpy(&value, data + index * sizeof value, sizeof value);
    return static_cast<int64_t>(value);
  };
  switch (dtype) {
  case DType::I64:
    return load(int64_t());
  case DType::I32:
    return load(int32_t());
  case DType::I8:
    return load(int8_t());
  default:
    return load(uint8_t());
  }
}

/// "[1, 3]", the place of element `index` in row-major order.
std::string placeText(const std::vector<int64_t> &shape, uint64_t index) {
  std::string text;
  for (size_t i = shape.size(); i-- > 0;) {
    auto size = static_cast<uint64_t>(shape[i]);
    text.insert(0, std::to_string(index % size) + (text.empty() ? "" : ", "));
    index /= size;
  }
  return "[" + text + "]";
}

class Call {
public:
  Call(const Program::Entry &entry, const std::string &source)
      : entry(*entry.info), loaded(entry), source(source) {}

  Status bind(const std::vector<PlainInput> &inputs);
  Status prepareInputs();
  Status prepareOutputs();
  Status run(const Program &program, const chorus_runtime_api *api);
  std::vector<PlainOutput> takeOutputs() { return std::move(outputs); }

private:
  Status error(std::string_view tensor, const std::string &message) const {
    std::string text = source.empty() ? "" : source + ": ";
    return usageError(text + "tensor '" + escapeForMessage(tensor) + "' " +
                      message);
  }
  /// An input of the right type and shape whose content is refused.
  Status refusal(std::string_view tensor, const std::string &message) const {
    return refused("N14",
                   (source.empty() ? "" : source + ": ") + "tensor '" +
                       escapeForMessage(tensor) + "'",
                   message);
  }
  int64_t valueOf(const DimInfo &dim) const {
    return dim.isSymbol() ? binding.values[dim.symbol] : dim.fixed;
  }
  Status bindShape(const TensorInfo &tensor, const PlainInput &input);
  Status checkSizes() const;
  Status checkIndices(size_t number, const uint8_t *data) const;

  const EntryInfo &entry;
  const Program::Entry &loaded;
  const std::string &source;
  std::vector<const PlainInput *> ordered; // As in the entry.
  Binding binding;
  std::vector<Memory> copies;
  std::vector<const void *> inputData;
  std::vector<PlainOutput> outputs;
};

Status Call::bindShape(const TensorInfo &tensor, const PlainInput &input) {
  auto mismatch = [&](const std::string &detail = "") {
    return error(tensor.name, "has shape " + shapeText(input.shape) +
                                  ", needed " + shapeText(entry, tensor) +
                                  detail);
  };
  if (input.shape.size() != tensor.dims.size())
    return mismatch();
  for (size_t i = 0; i < tensor.dims.size(); ++i) {
    const DimInfo &dim = tensor.dims[i];
    int64_t size = input.shape[i];
    if (size < 0)
      return mismatch();
    if (!dim.isSymbol()) {
      if (size != dim.fixed)
        return mismatch();
      continue;
    }
    const TensorInfo *&from = binding.from[dim.symbol];
    int64_t &value = binding.values[dim.symbol];
    if (from && value != size)
      return mismatch(" with " + escapeForMessage(entry.symbols[dim.symbol]) +
                      " = " + std::to_string(value) + " as in '" +
                      escapeForMessage(from->name) + "'");
    if (!from) {
      from = &tensor;
      value = size;
      binding.dimension[dim.symbol] = i;
    }
  }
  return Status();
}

Status Call::checkSizes() const {
  for (const SizeBoundInfo &bound : entry.sizeBounds) {
    if (valueOf(bound.size) <= valueOf(bound.atMost))
      continue;
    bool tooLong = bound.size.isSymbol();
    if (!tooLong && !bound.atMost.isSymbol())
      return refusal(entry.name, "needs a size that no call can have");
    uint32_t symbol = tooLong ? bound.size.symbol : bound.atMost.symbol;
    return refusal(
        binding.from[symbol]->name,
        "has a size of " + std::to_string(binding.values[symbol]) +
            " in dimension " + std::to_string(binding.dimension[symbol]) +
            ", allowed is " +
            (tooLong ? "at most " + std::to_string(valueOf(bound.atMost))
                     : std::to_string(valueOf(bound.size)) + " and up"));
  }
  return Status();
}

/// `data`: the elements of input `number`.
Status Call::checkIndices(size_t number, const uint8_t *data) const {
  const PlainInput &input = *ordered[number];
  uint64_t count = 1;
  for (int64_t size : input.shape)
    count *= static_cast<uint64_t>(size);
  for (const IndexBoundInfo &bound : entry.indexBounds) {
    if (bound.input != number)
      continue;
    int64_t below = valueOf(bound.below);
    for (uint64_t i = 0; i < count; ++i) {
      int64_t value = loadInteger(input.dtype, data, i);
      if (value < 0 || value >= below)
        return refusal(input.name,
                       "holds " + std::to_string(value) + " at " +
                           placeText(input.shape, i) + ", allowed is " +
                           (below > 0 ? "0 to " + std::to_string(below - 1)
                                      : "no element"));
    }
  }
  return Status();
}

Status Call::bind(const std::vector<PlainInput> &inputs) {
  auto byName = [](const std::vector<PlainInput> &list, std::string_view name) {
    auto found =
        std::find_if(list.begin(), list.end(),
                     [&](const PlainInput &t) { return t.name == name; });
    return found == list.end() ? nullptr : &*found;
  };
  binding.values.resize(entry.symbols.size());
  binding.from.resize(entry.symbols.size());
  binding.dimension.resize(entry.symbols.size());
  for (const TensorInfo &tensor : entry.inputs) {
    const PlainInput *input = byName(inputs, tensor.name);
    std::string needed =
        std::string(dtypeName(tensor.dtype)) + " " + shapeText(entry, tensor);
    if (!input)
      return error(tensor.name, "is absent, needed " + needed);
    if (input->dtype != tensor.dtype)
      return error(tensor.name,
                   "has type " + std::string(dtypeName(input->dtype)) +
                       ", needed " + std::string(dtypeName(tensor.dtype)));
    CHORUS_RETURN_IF_ERROR(bindShape(tensor, *input));
    ordered.push_back(input);
  }
  for (const PlainInput &input : inputs)
    if (std::find(ordered.begin(), ordered.end(), &input) == ordered.end()) {
      std::string names;
      for (const TensorInfo &tensor : entry.inputs)
        names += (names.empty() ? "" : ", ") + escapeForMessage(tensor.name);
      return error(input.name,
                   "is no input of entry '" + escapeForMessage(entry.name) +
                       "', which has " + (names.empty() ? "none" : names));
    }
  return checkSizes();
}

Status Call::prepareInputs() {
  for (size_t number = 0; number < ordered.size(); ++number) {
    const PlainInput *input = ordered[number];
    uint64_t bytes = dtypeSize(input->dtype);
    for (int64_t size : input->shape)
      if (!checkedMultiply(bytes, static_cast<uint64_t>(size), bytes))
        return limitError("limit", source, "a tensor exceeds 2^48 bytes");
    const uint8_t *data = static_cast<const uint8_t *>(input->data);
    if (input->dtype == DType::Bool)
      for (uint64_t i = 0; i < bytes; ++i)
        if (data[i] > 1)
          return error(input->name,
                       "holds the byte " + std::to_string(data[i]) + " at " +
                           std::to_string(i) + ", a bool is 0 or 1");
    // Indices are copied too: what was checked cannot change any more.
    bool isIndex =
        std::any_of(entry.indexBounds.begin(), entry.indexBounds.end(),
                    [&](const IndexBoundInfo &b) { return b.input == number; });
    if (bytes == 0 || isIndex ||
        reinterpret_cast<uintptr_t>(data) % CHORUS_BUFFER_ALIGNMENT != 0) {
      Memory copy = allocate(bytes);
      if (!copy)
        return limitError("N10", source, "no memory for the inputs");
      if (bytes != 0)
        std::memcpy(copy.get(), data, bytes);
      data = copy.get();
      copies.push_back(std::move(copy));
    }
    CHORUS_RETURN_IF_ERROR(checkIndices(number, data));
    inputData.push_back(data);
  }
  return Status();
}

Status Call::prepareOutputs() {
  for (const TensorInfo &tensor : entry.outputs) {
    PlainOutput output{tensor.name, tensor.dtype, {}, 0, nullptr};
    uint64_t bytes = dtypeSize(tensor.dtype);
    bool fits = true;
    for (const DimInfo &dim : tensor.dims) {
      output.shape.push_back(dim.isSymbol() ? binding.values[dim.symbol]
                                            : dim.fixed);
      fits = fits &&
             checkedMultiply(bytes, static_cast<uint64_t>(output.shape.back()),
                             bytes);
    }
    if (!fits || bytes > maxTensorBytes)
      return limitError("limit",
                        "output '" + escapeForMessage(tensor.name) + "'",
                        "exceeds 2^48 bytes");
    output.sizeBytes = bytes;
    output.data = allocate(bytes);
    if (!output.data)
      return limitError("N10", "output '" + escapeForMessage(tensor.name) + "'",
                        "no memory for " + std::to_string(bytes) + " bytes");
    // What a kernel leaves out must not be another call's data.
    std::memset(output.data.get(), 0, bytes);
    outputs.push_back(std::move(output));
  }
  return Status();
}

Status Call::run(const Program &program, const chorus_runtime_api *api) {
  StatusOr<uint64_t> bytes = arenaBytes(entry, binding.values.data());
  if (!bytes.ok())
    return bytes.status();
  Memory arena = allocate(*bytes);
  if (!arena)
    return limitError("N10", "entry '" + escapeForMessage(entry.name) + "'",
                      "no memory for " + std::to_string(*bytes) +
                          " bytes of scratch");
  std::vector<void *> outputData;
  outputData.reserve(outputs.size());
  for (PlainOutput &output : outputs)
    outputData.push_back(output.data.get());
  chorus_entry_args arguments = {};
  arguments.arena = arena.get();
  arguments.symbols = binding.values.data();
  arguments.inputs = inputData.data();
  arguments.outputs = outputData.data();
  FloatControlScope floatControl;
  return program.call(loaded, arguments, *api);
}

std::optional<DType> entryDtype(SafetensorsDtype dtype) {
  switch (dtype) {
  case SafetensorsDtype::F32:
    return DType::F32;
  case SafetensorsDtype::F16:
    return DType::F16;
  case SafetensorsDtype::BF16:
    return DType::BF16;
  case SafetensorsDtype::I8:
    return DType::I8;
  case SafetensorsDtype::I32:
    return DType::I32;
  case SafetensorsDtype::I64:
    return DType::I64;
  case SafetensorsDtype::U8:
    return DType::U8;
  case SafetensorsDtype::BOOL:
    return DType::Bool;
  case SafetensorsDtype::F64:
    return DType::F64;
  default:
    return std::nullopt;
  }
}

SafetensorsDtype fileDtype(DType dtype) {
  switch (dtype) {
  case DType::F32:
    return SafetensorsDtype::F32;
  case DType::F16:
    return SafetensorsDtype::F16;
  case DType::BF16:
    return SafetensorsDtype::BF16;
  case DType::I8:
    return SafetensorsDtype::I8;
  case DType::I32:
    return SafetensorsDtype::I32;
  case DType::I64:
    return SafetensorsDtype::I64;
  case DType::U8:
    return SafetensorsDtype::U8;
  case DType::Bool:
    return SafetensorsDtype::BOOL;
  case DType::F64:
    return SafetensorsDtype::F64;
  }
  return SafetensorsDtype::U8;
}

} // namespace

StatusOr<std::vector<PlainOutput>>
chorus::rt::callPlainEntry(const Program &program, const Program::Entry &entry,
                           const std::vector<PlainInput> &inputs,
                           const chorus_runtime_api *api,
                           const std::string &source) try {
  Call call(entry, source);
  Status status = call.bind(inputs);
  if (status.ok())
    status = call.prepareInputs();
  if (status.ok())
    status = call.prepareOutputs();
  if (status.ok())
    status = call.run(program, api);
  if (!status.ok())
    return status;
  return call.takeOutputs();
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory in a call of an entry");
}

Status chorus::rt::runPlainEntry(const Program &program,
                                 std::string_view entryName,
                                 const std::string &inputsPath,
                                 const std::string &outputsPath,
                                 const chorus_runtime_api *api) try {
  std::string name = "'" + escapeForMessage(entryName) + "'";
  const Program::Entry *entry = program.findEntry(entryName);
  if (!entry) {
    std::string names;
    for (const Program::Entry &known : program.entries())
      names += (names.empty() ? "" : ", ") + escapeForMessage(known.info->name);
    return usageError("no entry " + name + "; the model has " + names);
  }
  if (entry->info->kind == EntryKind::Step)
    return usageError("entry " + name +
                      " is a step entry, whose arguments are the runtime's; "
                      "give a prompt instead");

  StatusOr<SafetensorsFile> file = SafetensorsFile::open(inputsPath);
  if (!file.ok())
    return file.status();
  std::string source = escapeForMessage(inputsPath, 200);
  std::vector<PlainInput> inputs;
  for (const SafetensorsTensor &tensor : file->tensors()) {
    std::optional<DType> dtype = entryDtype(tensor.dtype);
    if (!dtype)
      return usageError(source + ": tensor '" + escapeForMessage(tensor.name) +
                        "' has type " + safetensorsDtypeName(tensor.dtype) +
                        ", which no entry takes");
    inputs.push_back({tensor.name, *dtype, tensor.shape, tensor.data});
  }
  StatusOr<std::vector<PlainOutput>> results =
      callPlainEntry(program, *entry, inputs, api, source);
  if (!results.ok())
    return results.status();
  if (file->mapping())
    CHORUS_RETURN_IF_ERROR(file->mapping()->checkUnchanged("G26"));

  std::vector<SafetensorsOutput> outputs;
  for (const PlainOutput &result : *results)
    outputs.push_back({std::string(result.name), fileDtype(result.dtype),
                       result.shape, result.data.get(), result.sizeBytes});
  return writeSafetensors(outputsPath, std::move(outputs));
} catch (const std::bad_alloc &) {
  return limitError("N10", "", "out of memory in a call of an entry");
}
