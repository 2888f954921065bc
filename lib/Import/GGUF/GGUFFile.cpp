//===- GGUFFile.cpp - Using the contents of .gguf files -------------------===//

#include "chorus/Import/GGUF/GGUFFile.h"

#include "chorus/Import/GGUF/FiniteCheck.h"

#include <algorithm>
#include <cstdio>

namespace chorus::gguf {

const char *valueTypeName(ValueType type) {
  static constexpr const char *names[] = {
      "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
      "bool", "string", "array", "u64", "i64", "f64"};
  return names[static_cast<uint32_t>(type)];
}

template <typename T> static T load(const uint8_t *bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

/// The i-th of consecutive integers or bools of that type.
static int64_t loadInteger(const uint8_t *first, uint64_t i, ValueType type) {
  switch (type) {
  case ValueType::U8:
  case ValueType::Bool:
    return first[i];
  case ValueType::I8:
    return load<int8_t>(first + i);
  case ValueType::U16:
    return load<uint16_t>(first + 2 * i);
  case ValueType::I16:
    return load<int16_t>(first + 2 * i);
  case ValueType::U32:
    return load<uint32_t>(first + 4 * i);
  case ValueType::I32:
    return load<int32_t>(first + 4 * i);
  default:
    return load<int64_t>(first + 8 * i);
  }
}

static bool isInteger(ValueType type) {
  return type == ValueType::U8 || type == ValueType::I8 ||
         type == ValueType::U16 || type == ValueType::I16 ||
         type == ValueType::U32 || type == ValueType::I32 ||
         type == ValueType::U64 || type == ValueType::I64;
}

static bool isFloat(ValueType type) {
  return type == ValueType::F32 || type == ValueType::F64;
}

//===----------------------------------------------------------------------===//
// Arrays
//===----------------------------------------------------------------------===//

std::vector<std::string_view> StringArray::toVector() const {
  std::vector<std::string_view> strings;
  strings.reserve(count);
  for (std::string_view text : *this)
    strings.push_back(text);
  return strings;
}

int64_t IntegerArray::operator[](uint64_t i) const {
  return loadInteger(first, i, elementType);
}

double FloatArray::operator[](uint64_t i) const {
  return elementType == ValueType::F32 ? load<float>(first + 4 * i)
                                       : load<double>(first + 8 * i);
}

//===----------------------------------------------------------------------===//
// Metadata
//===----------------------------------------------------------------------===//

KeyValue GGUFFile::keyValue(uint32_t index) const {
  const KeyPlace &place = contents->keys[index];
  KeyValue result;
  result.key = contents->key(index);
  result.type = result.elementType = place.type;
  result.count = 1;
  result.index = index;
  result.offset = place.offset + place.length;
  result.value = contents->data + result.offset + 4;
  if (place.type == ValueType::Array) {
    result.elementType = static_cast<ValueType>(load<uint32_t>(result.value));
    result.count = load<uint64_t>(result.value + 4);
    result.value += 12;
  }
  return result;
}

std::optional<KeyValue> GGUFFile::find(std::string_view key) const {
  std::optional<uint32_t> index = contents->keyIndex.find(
      key, [&](uint32_t i) { return contents->key(i); });
  if (!index)
    return std::nullopt;
  return keyValue(*index);
}

StatusOr<KeyValue> GGUFFile::get(std::string_view key, const char *code) const {
  if (std::optional<KeyValue> found = find(key))
    return *found;
  return rt::refused(code, name() + ": metadata_kv",
                     "key '" + rt::escapeForMessage(key) + "' is missing");
}

Status GGUFFile::wrongType(const KeyValue &keyValue, const char *code,
                           const char *wanted) const {
  std::string found = valueTypeName(keyValue.type);
  if (keyValue.type == ValueType::Array)
    found += std::string(" of ") + valueTypeName(keyValue.elementType);
  return rt::refused(code, placeOf(keyValue),
                     "is " + found + ", must be " + wanted);
}

StatusOr<uint64_t> GGUFFile::getUnsigned(std::string_view key,
                                         const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (!isInteger(found->type))
    return wrongType(*found, code, "an integer");
  int64_t value = loadInteger(found->value, 0, found->type);
  if (value < 0 && found->type != ValueType::U64)
    return rt::refused(code, placeOf(*found),
                       "is " + std::to_string(value) +
                           ", must not be negative");
  return static_cast<uint64_t>(value);
}

StatusOr<double> GGUFFile::getFloat(std::string_view key,
                                    const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (!isFloat(found->type))
    return wrongType(*found, code, "a float");
  return FloatArray(found->value, 1, found->type)[0];
}

StatusOr<bool> GGUFFile::getBool(std::string_view key, const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (found->type != ValueType::Bool)
    return wrongType(*found, code, "a bool");
  return *found->value != 0;
}

StatusOr<std::string_view> GGUFFile::getString(std::string_view key,
                                               const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (found->type != ValueType::String)
    return wrongType(*found, code, "a string");
  return *StringArray(found->value, 1).begin();
}

StatusOr<StringArray> GGUFFile::getStrings(std::string_view key,
                                           const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (found->type != ValueType::Array ||
      found->elementType != ValueType::String)
    return wrongType(*found, code, "an array of strings");
  return StringArray(found->value, found->count);
}

StatusOr<IntegerArray> GGUFFile::getIntegers(std::string_view key,
                                             const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (found->type != ValueType::Array ||
      !(isInteger(found->elementType) || found->elementType == ValueType::Bool))
    return wrongType(*found, code, "an array of integers");
  IntegerArray array(found->value, found->count, found->elementType);
  for (uint64_t i = 0; found->elementType == ValueType::U64 && i < array.size();
       ++i)
    if (array[i] < 0)
      return rt::refused(code, placeOf(*found),
                         "element " + std::to_string(i) + " exceeds 2^63 - 1");
  return array;
}

StatusOr<FloatArray> GGUFFile::getFloats(std::string_view key,
                                         const char *code) const {
  StatusOr<KeyValue> found = get(key, code);
  if (!found.ok())
    return found.status();
  if (found->type != ValueType::Array || !isFloat(found->elementType))
    return wrongType(*found, code, "an array of floats");
  return FloatArray(found->value, found->count, found->elementType);
}

//===----------------------------------------------------------------------===//
// Tensors
//===----------------------------------------------------------------------===//

const Tensor *GGUFFile::findTensor(std::string_view name) const {
  std::optional<uint32_t> index = contents->tensorIndex.find(
      name, [&](uint32_t i) { return contents->tensors[i].name; });
  return index ? &contents->tensors[*index] : nullptr;
}

void GGUFFile::release(const Tensor &tensor) const {
  if (contents->mapping)
    contents->mapping->release(tensor.data, tensor.sizeBytes);
}

Status GGUFFile::checkFinite(const Tensor &tensor) const {
  return gguf::checkFinite({tensor.type, tensor.data, tensor.sizeBytes,
                            tensor.rowElements(), placeOf(tensor)},
                           contents->mapping.get());
}

//===----------------------------------------------------------------------===//
// Places and changes
//===----------------------------------------------------------------------===//

static std::string hexOffset(uint64_t offset) {
  char text[24];
  std::snprintf(text, sizeof text, " @0x%llx",
                static_cast<unsigned long long>(offset));
  return text;
}

std::string GGUFFile::placeOf(const KeyValue &keyValue) const {
  return name() + ": metadata_kv[" + std::to_string(keyValue.index) + "] '" +
         rt::escapeForMessage(keyValue.key) + "'" + hexOffset(keyValue.offset);
}

std::string GGUFFile::placeOf(const Tensor &tensor) const {
  size_t index = static_cast<size_t>(&tensor - contents->tensors.data());
  return name() + ": tensor_infos[" + std::to_string(index) + "] '" +
         rt::escapeForMessage(tensor.name) + "'" + hexOffset(tensor.infoOffset);
}

Status GGUFFile::checkUnchanged() const {
  return contents->mapping ? contents->mapping->checkUnchanged("G26")
                           : Status();
}

} // namespace chorus::gguf
