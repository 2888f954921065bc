//===- GGUFParser.cpp - Checking the structure of .gguf files -------------===//

#include "chorus/Import/GGUF/GGUFFile.h"

#include "chorus_rt/ByteReader.h"
#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <new>

namespace chorus::gguf {

using rt::ByteReader;
using rt::FieldPath;

// Smallest sizes in the file: a key of one byte with a one-byte value, and a
// tensor of one dimension with a name of one byte.
static constexpr uint64_t minKeyValueBytes = 8 + 1 + 4 + 1;
static constexpr uint64_t minTensorInfoBytes = 8 + 1 + 4 + 8 + 4 + 8;

// Far above any real model; they bound what checking a file may cost.
static constexpr uint64_t maxKeyValues = 1 << 20;
static constexpr uint64_t maxTensors = 1 << 20;
static constexpr uint64_t maxArrayStrings = 1 << 24;

static constexpr uint64_t maxKeyBytes = 65535;
static constexpr uint64_t maxTensorNameBytes = 64;
static constexpr uint32_t maxDims = 4;
static constexpr uint64_t maxElements = uint64_t(1) << 62;
static constexpr uint64_t maxAlignment = 1 << 20;

/// Bytes of a value of fixed size; 0 for strings and arrays.
static uint64_t fixedValueBytes(ValueType type) {
  switch (type) {
  case ValueType::U8:
  case ValueType::I8:
  case ValueType::Bool:
    return 1;
  case ValueType::U16:
  case ValueType::I16:
    return 2;
  case ValueType::U32:
  case ValueType::I32:
  case ValueType::F32:
    return 4;
  case ValueType::U64:
  case ValueType::I64:
  case ValueType::F64:
    return 8;
  case ValueType::String:
  case ValueType::Array:
    return 0;
  }
  return 0;
}

/// What a file with another magic looks like, or null.
static const char *guessFormat(std::string_view bytes) {
  struct Magic {
    std::string_view bytes;
    const char *format;
  };
  using namespace std::string_view_literals;
  static constexpr Magic magics[] = {
      {"PK\x03\x04"sv, "a zip archive (PyTorch checkpoint, NumPy .npz)"},
      {"PK\x05\x06"sv, "an empty zip archive"},
      {"\x1f\x8b"sv, "a gzip archive"},
      {"\x89HDF\r\n"sv, "an HDF5 file"},
      {"\x7f"
       "ELF"sv,
       "an ELF object"},
      {"FUGG"sv, "a big-endian GGUF file"},
      {"lmgg"sv, "a GGML file from before GGUF"},
      {"fmgg"sv, "a GGML file from before GGUF"},
      {"tjgg"sv, "a GGML file from before GGUF"},
      {"\x93NUMPY"sv, "a NumPy .npy file"},
      {"\x80\x02"sv, "a Python pickle (PyTorch checkpoint)"},
      {"version https://git-lfs"sv, "a Git LFS pointer, not the file itself"},
      {"<"sv, "HTML or XML"},
      {"{"sv, "JSON"},
  };
  for (const Magic &magic : magics)
    if (bytes.substr(0, magic.bytes.size()) == magic.bytes)
      return magic.format;
  // safetensors: a header length of up to 100 MB, then a JSON object.
  if (bytes.size() > 8 && bytes[8] == '{') {
    uint64_t headerBytes;
    std::memcpy(&headerBytes, bytes.data(), sizeof headerBytes);
    if (headerBytes <= 100'000'000)
      return "a safetensors file";
  }
  // ONNX: field 1 (ir_version) as a small varint, then a field of 2 to 8.
  if (bytes.size() > 2 && bytes[0] == 0x08 && bytes[1] > 0 && bytes[1] < 32 &&
      bytes[2] >= 0x10 && bytes[2] <= 0x42)
    return "an ONNX model";
  return nullptr;
}

/// Reads one file's bytes into GGUFFile::Contents.
class GGUFParser {
public:
  GGUFParser(const uint8_t *data, uint64_t size, std::string_view name,
             GGUFFile::Contents &contents)
      : reader(data, size, name), contents(contents) {
    contents.data = data;
    contents.name = reader.file();
  }

  Status read();

  static StatusOr<GGUFFile> parse(const uint8_t *data, uint64_t size,
                                  std::string_view name);
  static StatusOr<GGUFFile> open(const std::string &path);

private:
  Status readHeader();
  Status readKeyValue(uint32_t index);
  Status readKey(uint32_t index, std::string_view &key);
  Status readValue(uint32_t index, std::string_view key, ValueType type);
  Status readArray(uint32_t index, std::string_view key);
  Status readStrings(uint32_t index, std::string_view key, uint64_t count);
  Status checkString(std::string_view text, const FieldPath &field,
                     uint64_t offset, std::string_view key) const;
  Status checkBools(const FieldPath &field, std::string_view key,
                    uint64_t offset, uint64_t count) const;
  Status checkKeys();
  Status readAlignment();
  Status refuseShards();
  Status readTensorInfo(uint32_t index);
  Status readTensorName(uint32_t index, std::string_view &name);
  Status readDims(uint32_t index, Tensor &tensor);
  Status readTensorType(uint32_t index, Tensor &tensor);
  Status checkTensorOffset(uint32_t index, const Tensor &tensor,
                           uint64_t fieldOffset, uint64_t offset) const;
  Status checkTensorNames();
  Status placeTensorData();

  static FieldPath keyField(uint32_t index, const char *member,
                            int64_t memberIndex = -1) {
    return {"metadata_kv", index, member, memberIndex};
  }
  static FieldPath infoField(uint32_t index, const char *member,
                             int64_t memberIndex = -1) {
    return {"tensor_infos", index, member, memberIndex};
  }
  static std::string quoted(std::string_view text) {
    return "'" + rt::escapeForMessage(text) + "'";
  }
  static std::string namingKey(std::string_view key) {
    return " (key " + quoted(key) + ")";
  }
  static std::string namingTensor(std::string_view name) {
    return " (tensor " + quoted(name) + ")";
  }

  ByteReader reader;
  GGUFFile::Contents &contents;
  uint64_t numTensors = 0, numKeyValues = 0;
  /// Where the next tensor must begin, counted from the data section's start.
  uint64_t expectedOffset = 0;
};

Status GGUFParser::read() {
  CHORUS_RETURN_IF_ERROR(readHeader());
  contents.keys.reserve(numKeyValues);
  for (uint32_t i = 0; i < numKeyValues; ++i)
    CHORUS_RETURN_IF_ERROR(readKeyValue(i));
  CHORUS_RETURN_IF_ERROR(checkKeys());
  CHORUS_RETURN_IF_ERROR(readAlignment());
  CHORUS_RETURN_IF_ERROR(refuseShards());
  // The keys have used up bytes that the header's check still counted.
  CHORUS_RETURN_IF_ERROR(reader.checkCount(numTensors, minTensorInfoBytes,
                                           "G05", "tensor_count", 8));
  contents.tensors.reserve(numTensors);
  for (uint32_t i = 0; i < numTensors; ++i)
    CHORUS_RETURN_IF_ERROR(readTensorInfo(i));
  CHORUS_RETURN_IF_ERROR(checkTensorNames());
  return placeTensorData();
}

//===----------------------------------------------------------------------===//
// Header
//===----------------------------------------------------------------------===//

Status GGUFParser::readHeader() {
  std::string_view start(reinterpret_cast<const char *>(reader.data()),
                         std::min<uint64_t>(reader.size(), 64));
  std::string_view magic;
  CHORUS_RETURN_IF_ERROR(reader.readBytes(4, magic, "G01", "magic"));
  if (magic != "GGUF") {
    const char *format = guessFormat(start);
    return reader.refuse("G02", "magic", 0,
                         "is " + quoted(magic) + ", must be 'GGUF'" +
                             (format
                                  ? std::string("; this looks like ") + format
                                  : std::string()));
  }
  uint32_t version = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(version, "G01", "version"));
  // Small numbers seen with their bytes swapped have an empty low half.
  if (version != 0 && (version & 0xFFFF) == 0)
    return reader.refuse("G04", "version", 4,
                         "byte order: the file is big-endian, only "
                         "little-endian files are supported");
  if (version != 2 && version != 3)
    return reader.refuse("G03", "version", 4,
                         "is " + std::to_string(version) +
                             ", supported are 2 and 3");
  contents.version = version;

  uint64_t countOffset = reader.position();
  CHORUS_RETURN_IF_ERROR(reader.read(numTensors, "G01", "tensor_count"));
  CHORUS_RETURN_IF_ERROR(reader.read(numKeyValues, "G01", "metadata_kv_count"));
  if (numTensors > INT64_MAX)
    return reader.refuse("G05", "tensor_count", countOffset,
                         "is negative: " +
                             std::to_string(static_cast<int64_t>(numTensors)));
  CHORUS_RETURN_IF_ERROR(reader.checkCount(numTensors, minTensorInfoBytes,
                                           "G05", "tensor_count", countOffset));
  if (numKeyValues > INT64_MAX)
    return reader.refuse(
        "G06", "metadata_kv_count", countOffset + 8,
        "is negative: " + std::to_string(static_cast<int64_t>(numKeyValues)));
  CHORUS_RETURN_IF_ERROR(reader.checkCount(numKeyValues, minKeyValueBytes,
                                           "G06", "metadata_kv_count",
                                           countOffset + 8));
  if (numTensors > maxTensors)
    return rt::limitError("G05", reader.place("tensor_count", countOffset),
                          "is " + std::to_string(numTensors) +
                              ", the limit is " + std::to_string(maxTensors));
  if (numKeyValues > maxKeyValues)
    return rt::limitError("G06",
                          reader.place("metadata_kv_count", countOffset + 8),
                          "is " + std::to_string(numKeyValues) +
                              ", the limit is " + std::to_string(maxKeyValues));
  return {};
}

//===----------------------------------------------------------------------===//
// Metadata
//===----------------------------------------------------------------------===//

Status GGUFParser::readKey(uint32_t index, std::string_view &key) {
  FieldPath field = keyField(index, "key");
  uint64_t lengthOffset = reader.position(), length = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(length, "G01", field));
  if (length == 0 || length > maxKeyBytes)
    return reader.refuse("G07", field, lengthOffset,
                         "length is " + std::to_string(length) +
                             ", must be 1 to " + std::to_string(maxKeyBytes));
  CHORUS_RETURN_IF_ERROR(reader.readBytes(length, key, "G07", field));
  for (size_t i = 0; i < key.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(key[i]);
    if (c < 0x20 || c >= 0x7F)
      return reader.refuse("G07", field, lengthOffset + 8 + i,
                           "must be printable ASCII, is " + quoted(key));
  }
  return {};
}

Status GGUFParser::readKeyValue(uint32_t index) {
  std::string_view key;
  CHORUS_RETURN_IF_ERROR(readKey(index, key));
  uint64_t keyOffset = reader.position() - key.size();
  uint64_t typeOffset = reader.position();
  uint32_t type = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(type, "G01", keyField(index, "type")));
  if (type > static_cast<uint32_t>(ValueType::F64))
    return reader.refuse("G09", keyField(index, "type"), typeOffset,
                         "is " + std::to_string(type) + ", must be 0 to 12" +
                             namingKey(key));
  contents.keys.push_back({keyOffset, static_cast<uint32_t>(key.size()),
                           static_cast<ValueType>(type)});
  return readValue(index, key, static_cast<ValueType>(type));
}

Status GGUFParser::readValue(uint32_t index, std::string_view key,
                             ValueType type) {
  FieldPath field = keyField(index, "value");
  uint64_t offset = reader.position();
  if (type == ValueType::Array)
    return readArray(index, key);
  if (type == ValueType::String) {
    uint64_t length = 0;
    std::string_view text;
    CHORUS_RETURN_IF_ERROR(reader.read(length, "G01", field));
    if (length > reader.remaining())
      return reader.refuse(
          "G12", field, offset,
          "string of " + std::to_string(length) + " bytes but " +
              std::to_string(reader.remaining()) + " remain" + namingKey(key));
    CHORUS_RETURN_IF_ERROR(reader.readBytes(length, text, "G12", field));
    return checkString(text, field, offset + 8, key);
  }
  CHORUS_RETURN_IF_ERROR(reader.skip(fixedValueBytes(type), "G01", field));
  return type == ValueType::Bool ? checkBools(field, key, offset, 1) : Status();
}

Status GGUFParser::checkBools(const FieldPath &field, std::string_view key,
                              uint64_t offset, uint64_t count) const {
  const uint8_t *bytes = reader.data() + offset;
  for (uint64_t i = 0; i < count; ++i)
    if (bytes[i] > 1) {
      FieldPath element = field;
      element.memberIndex = count == 1 ? -1 : static_cast<int64_t>(i);
      return reader.refuse("G11", element, offset + i,
                           "bool is " + std::to_string(bytes[i]) +
                               ", must be 0 or 1" + namingKey(key));
    }
  return {};
}

Status GGUFParser::checkString(std::string_view text, const FieldPath &field,
                               uint64_t offset, std::string_view key) const {
  size_t nul = text.find('\0');
  if (nul != std::string_view::npos)
    return reader.refuse("G12", field, offset + nul,
                         "string has a NUL" + namingKey(key));
  size_t invalid = rt::findInvalidUtf8(text);
  if (invalid != std::string_view::npos)
    return reader.refuse("G12", field, offset + invalid,
                         "string is not valid UTF-8" + namingKey(key));
  return {};
}

Status GGUFParser::readArray(uint32_t index, std::string_view key) {
  FieldPath field = keyField(index, "value");
  uint64_t offset = reader.position();
  uint32_t number = 0;
  uint64_t count = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(number, "G01", field));
  if (number == static_cast<uint32_t>(ValueType::Array))
    return reader.refuse("G09", field, offset,
                         "array of arrays, only one level is allowed" +
                             namingKey(key));
  if (number > static_cast<uint32_t>(ValueType::F64))
    return reader.refuse("G09", field, offset,
                         "element type is " + std::to_string(number) +
                             ", must be 0 to 12" + namingKey(key));
  CHORUS_RETURN_IF_ERROR(reader.read(count, "G01", field));
  ValueType elementType = static_cast<ValueType>(number);
  uint64_t elementBytes = elementType == ValueType::String
                              ? sizeof(uint64_t)
                              : fixedValueBytes(elementType);
  if (count > reader.remaining() / elementBytes)
    return reader.refuse("G10", field, offset + 4,
                         "array of " + std::to_string(count) +
                             " elements of at least " +
                             std::to_string(elementBytes) + " bytes but " +
                             std::to_string(reader.remaining()) +
                             " bytes remain" + namingKey(key));
  if (elementType == ValueType::String) {
    if (count > maxArrayStrings)
      return rt::limitError(
          "G10", reader.place(field, offset + 4),
          "array of " + std::to_string(count) + " strings, the limit is " +
              std::to_string(maxArrayStrings) + namingKey(key));
    return readStrings(index, key, count);
  }
  uint64_t first = reader.position();
  CHORUS_RETURN_IF_ERROR(reader.skip(count * elementBytes, "G10", field));
  return elementType == ValueType::Bool ? checkBools(field, key, first, count)
                                        : Status();
}

Status GGUFParser::readStrings(uint32_t index, std::string_view key,
                               uint64_t count) {
  for (uint64_t i = 0; i < count; ++i) {
    FieldPath field = keyField(index, "value", static_cast<int64_t>(i));
    uint64_t offset = reader.position(), length = 0;
    CHORUS_RETURN_IF_ERROR(reader.read(length, "G10", field));
    if (length > reader.remaining())
      return reader.refuse(
          "G12", field, offset,
          "string of " + std::to_string(length) + " bytes but " +
              std::to_string(reader.remaining()) + " remain" + namingKey(key));
    std::string_view text;
    CHORUS_RETURN_IF_ERROR(reader.readBytes(length, text, "G12", field));
    CHORUS_RETURN_IF_ERROR(checkString(text, field, offset + 8, key));
  }
  return {};
}

Status GGUFParser::checkKeys() {
  auto keyOf = [&](uint32_t i) { return contents.key(i); };
  contents.keyIndex.build(static_cast<uint32_t>(contents.keys.size()), keyOf);
  if (auto twice = contents.keyIndex.firstDuplicate(keyOf))
    return reader.refuse("G08", keyField(twice->second, "key"),
                         contents.keys[twice->second].offset,
                         "repeats metadata_kv[" + std::to_string(twice->first) +
                             "]" + namingKey(keyOf(twice->second)));
  return {};
}

Status GGUFParser::readAlignment() {
  auto keyOf = [&](uint32_t i) { return contents.key(i); };
  std::string_view key = "general.alignment";
  std::optional<uint32_t> index = contents.keyIndex.find(key, keyOf);
  if (!index)
    return {};
  const GGUFFile::KeyPlace &place = contents.keys[*index];
  uint64_t typeOffset = place.offset + place.length;
  if (place.type != ValueType::U32)
    return reader.refuse("G13", keyField(*index, "type"), typeOffset,
                         std::string("is ") + valueTypeName(place.type) +
                             ", must be u32" + namingKey(key));
  uint32_t alignment;
  std::memcpy(&alignment, contents.data + typeOffset + 4, sizeof alignment);
  if (alignment < 8 || alignment > maxAlignment ||
      (alignment & (alignment - 1)) != 0)
    return reader.refuse("G13", keyField(*index, "value"), typeOffset + 4,
                         "is " + std::to_string(alignment) +
                             ", must be a power of two from 8 to " +
                             std::to_string(maxAlignment) + namingKey(key));
  contents.alignment = alignment;
  return {};
}

Status GGUFParser::refuseShards() {
  auto keyOf = [&](uint32_t i) { return contents.key(i); };
  std::string_view key = "split.count";
  std::optional<uint32_t> index = contents.keyIndex.find(key, keyOf);
  if (!index)
    return {};
  const GGUFFile::KeyPlace &place = contents.keys[*index];
  uint64_t valueOffset = place.offset + place.length + 4;
  uint64_t bytes = fixedValueBytes(place.type);
  bool integer = bytes != 0 && place.type != ValueType::Bool &&
                 place.type != ValueType::F32 && place.type != ValueType::F64;
  if (!integer)
    return reader.refuse("G25", keyField(*index, "type"), valueOffset - 4,
                         std::string("is ") + valueTypeName(place.type) +
                             ", must be an integer" + namingKey(key));
  uint64_t count = 0;
  std::memcpy(&count, contents.data + valueOffset, bytes);
  if (count <= 1)
    return {};
  return rt::unsupported(reader.place(keyField(*index, "value"), valueOffset),
                         "the model is split into " + std::to_string(count) +
                             " files (key 'split.count'); merge them into one");
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

Status GGUFParser::readTensorName(uint32_t index, std::string_view &name) {
  FieldPath field = infoField(index, "name");
  uint64_t lengthOffset = reader.position(), length = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(length, "G01", field));
  if (length == 0 || length > maxTensorNameBytes) {
    std::string_view start(
        reinterpret_cast<const char *>(reader.data()) + reader.position(),
        std::min(length, std::min(reader.remaining(), maxTensorNameBytes)));
    return reader.refuse(
        "G14", field, lengthOffset,
        "has " + std::to_string(length) + " bytes, must have 1 to " +
            std::to_string(maxTensorNameBytes) + namingTensor(start));
  }
  CHORUS_RETURN_IF_ERROR(reader.readBytes(length, name, "G14", field));
  for (size_t i = 0; i < name.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(name[i]);
    if (c < 0x20 || c == 0x7F)
      return reader.refuse("G14", field, lengthOffset + 8 + i,
                           "has a control byte" + namingTensor(name));
  }
  size_t invalid = rt::findInvalidUtf8(name);
  if (invalid != std::string_view::npos)
    return reader.refuse("G14", field, lengthOffset + 8 + invalid,
                         "is not valid UTF-8" + namingTensor(name));
  return {};
}

Status GGUFParser::readDims(uint32_t index, Tensor &tensor) {
  uint64_t countOffset = reader.position();
  CHORUS_RETURN_IF_ERROR(
      reader.read(tensor.numDims, "G01", infoField(index, "n_dims")));
  if (tensor.numDims == 0 || tensor.numDims > maxDims)
    return reader.refuse("G15", infoField(index, "n_dims"), countOffset,
                         "is " + std::to_string(tensor.numDims) +
                             ", must be 1 to 4" + namingTensor(tensor.name));
  uint64_t dimsOffset = reader.position(), product = 1;
  for (uint32_t i = 0; i < tensor.numDims; ++i) {
    FieldPath field = infoField(index, "dims", i);
    uint64_t offset = reader.position();
    CHORUS_RETURN_IF_ERROR(reader.read(tensor.dims[i], "G01", field));
    if (tensor.dims[i] == 0 || tensor.dims[i] > INT64_MAX)
      return reader.refuse(
          "G16", field, offset,
          "is " + std::to_string(static_cast<int64_t>(tensor.dims[i])) +
              ", must be positive" + namingTensor(tensor.name));
    if (!rt::checkedMultiply(product, tensor.dims[i], product) ||
        product > maxElements)
      return reader.refuse("G16", infoField(index, "dims"), dimsOffset,
                           "product exceeds 2^62" + namingTensor(tensor.name));
  }
  return {};
}

Status GGUFParser::readTensorType(uint32_t index, Tensor &tensor) {
  FieldPath field = infoField(index, "type");
  uint64_t offset = reader.position();
  uint32_t number = 0;
  CHORUS_RETURN_IF_ERROR(reader.read(number, "G01", field));
  const char *removedName = nullptr;
  const TensorTypeInfo *info = findTensorType(number, &removedName);
  if (!info && removedName)
    return reader.refuse("G17", field, offset,
                         "is " + std::to_string(number) + " (" + removedName +
                             "), which was removed from the format" +
                             namingTensor(tensor.name));
  if (!info)
    return reader.refuse("G17", field, offset,
                         "is " + std::to_string(static_cast<int32_t>(number)) +
                             ", no known element type" +
                             namingTensor(tensor.name));
  tensor.type = static_cast<TensorType>(number);
  if (tensor.dims[0] % info->blockElements != 0)
    return reader.refuse(
        "G17", field, offset,
        "rows of " + std::to_string(tensor.dims[0]) +
            " elements are no multiple of " + info->name + "'s block of " +
            std::to_string(info->blockElements) + namingTensor(tensor.name));
  uint64_t blocks = tensor.numElements() / info->blockElements;
  if (!rt::checkedMultiply(blocks, info->blockBytes, tensor.sizeBytes))
    return reader.refuse("G18", field, offset,
                         "bytes of " + std::to_string(tensor.numElements()) +
                             " " + info->name + " elements exceed 2^64" +
                             namingTensor(tensor.name));
  return {};
}

Status GGUFParser::checkTensorOffset(uint32_t index, const Tensor &tensor,
                                     uint64_t fieldOffset,
                                     uint64_t offset) const {
  if (offset == expectedOffset)
    return {};
  std::string why;
  if (offset % contents.alignment != 0)
    why = "is not a multiple of the alignment " +
          std::to_string(contents.alignment);
  else if (offset >= reader.size())
    why = "lies beyond the end of the file";
  else if (offset < expectedOffset)
    why = "overlaps the tensors before it";
  else
    why = "leaves a gap after the tensors before it";
  return reader.refuse("G19", infoField(index, "offset"), fieldOffset,
                       "is " + std::to_string(offset) + ", must be " +
                           std::to_string(expectedOffset) + ": " + why +
                           namingTensor(tensor.name));
}

Status GGUFParser::readTensorInfo(uint32_t index) {
  Tensor tensor;
  tensor.infoOffset = reader.position();
  CHORUS_RETURN_IF_ERROR(readTensorName(index, tensor.name));
  CHORUS_RETURN_IF_ERROR(readDims(index, tensor));
  CHORUS_RETURN_IF_ERROR(readTensorType(index, tensor));
  uint64_t fieldOffset = reader.position(), offset = 0;
  CHORUS_RETURN_IF_ERROR(
      reader.read(offset, "G01", infoField(index, "offset")));
  CHORUS_RETURN_IF_ERROR(checkTensorOffset(index, tensor, fieldOffset, offset));
  uint64_t end = 0;
  if (!rt::checkedAdd(offset, tensor.sizeBytes, end) ||
      !rt::checkedAlignUp(end, contents.alignment, expectedOffset))
    return reader.refuse("G18", infoField(index, "dims"), fieldOffset,
                         "data of " + std::to_string(tensor.sizeBytes) +
                             " bytes, padded, ends beyond 2^64" +
                             namingTensor(tensor.name));
  contents.tensors.push_back(tensor);
  return {};
}

Status GGUFParser::checkTensorNames() {
  auto nameOf = [&](uint32_t i) { return contents.tensors[i].name; };
  contents.tensorIndex.build(static_cast<uint32_t>(contents.tensors.size()),
                             nameOf);
  if (auto twice = contents.tensorIndex.firstDuplicate(nameOf))
    return reader.refuse("G08", infoField(twice->second, "name"),
                         contents.tensors[twice->second].infoOffset,
                         "repeats tensor_infos[" +
                             std::to_string(twice->first) + "]" +
                             namingTensor(nameOf(twice->second)));
  return {};
}

/// The descriptions are read; the data follows at the next aligned offset.
Status GGUFParser::placeTensorData() {
  uint64_t begin = 0;
  if (!rt::checkedAlignUp(reader.position(), contents.alignment, begin))
    return reader.refuse("G18", "tensor_data", reader.position(),
                         "begins beyond 2^64");
  uint64_t end = reader.position();
  uint64_t offset = 0; // Of the tensor; the sums were checked while reading.
  for (uint32_t i = 0; i < contents.tensors.size(); ++i) {
    Tensor &tensor = contents.tensors[i];
    uint64_t first = 0;
    if (!rt::checkedAdd(begin, offset, first) ||
        !rt::checkedAdd(first, tensor.sizeBytes, end) || end > reader.size())
      return reader.refuse(
          "G20", {"tensor_data", i}, first,
          "needs " + std::to_string(tensor.sizeBytes) + " bytes but " +
              std::to_string(first < reader.size() ? reader.size() - first
                                                   : 0) +
              " remain" + namingTensor(tensor.name));
    tensor.data = contents.data + first;
    if (!rt::checkedAlignUp(offset + tensor.sizeBytes, contents.alignment,
                            offset))
      return reader.refuse("G18", {"tensor_data", i}, first,
                           "ends beyond 2^64" + namingTensor(tensor.name));
  }
  // Writers may pad the last tensor; anything else behind it is refused.
  uint64_t paddedEnd = 0;
  if (!rt::checkedAlignUp(end, contents.alignment, paddedEnd))
    paddedEnd = end;
  for (uint64_t i = end; i < reader.size(); ++i) {
    if (i >= paddedEnd)
      return reader.refuse("G20", "tensor_data", i,
                           std::to_string(reader.size() - i) +
                               " bytes follow the last tensor and its padding");
    if (contents.data[i] != 0)
      return reader.refuse("G20", "tensor_data", i,
                           "bytes that are not zero follow the last tensor");
  }
  return {};
}

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

StatusOr<GGUFFile> GGUFParser::parse(const uint8_t *data, uint64_t size,
                                     std::string_view name) {
  try {
    GGUFFile file;
    file.contents = std::make_unique<GGUFFile::Contents>();
    GGUFParser parser(data, size, name, *file.contents);
    CHORUS_RETURN_IF_ERROR(parser.read());
    return file;
  } catch (const std::bad_alloc &) {
    return rt::limitError("memory", "", "no memory for a GGUF file's metadata");
  }
}

StatusOr<GGUFFile> GGUFParser::open(const std::string &path) {
  StatusOr<rt::FileMapping> mapping = rt::FileMapping::open(path);
  if (!mapping.ok())
    return mapping.status();
  StatusOr<GGUFFile> file = parse(mapping->data(), mapping->size(), path);
  // What a changing file looked like says nothing: report the change.
  CHORUS_RETURN_IF_ERROR(mapping->checkUnchanged("G26"));
  if (!file.ok())
    return file.status();
  try {
    file->contents->mapping =
        std::make_unique<rt::FileMapping>(std::move(*mapping));
  } catch (const std::bad_alloc &) {
    return rt::limitError("memory", "", "no memory for a GGUF file's metadata");
  }
  return file;
}

StatusOr<GGUFFile> GGUFFile::open(const std::string &path) {
  return GGUFParser::open(path);
}

StatusOr<GGUFFile> GGUFFile::parse(const uint8_t *data, uint64_t size,
                                   std::string_view name) {
  return GGUFParser::parse(data, size, name);
}

} // namespace chorus::gguf
