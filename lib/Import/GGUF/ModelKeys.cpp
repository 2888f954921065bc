//===- ModelKeys.cpp - A family's keys in a GGUF file ---------------------===//

#include "ModelKeys.h"

#include "chorus/Import/GGUF/GGUFFile.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>

using namespace chorus;
using rt::Status;
using rt::StatusOr;

static constexpr const char *code = "G21";
static constexpr int64_t maxCount = INT32_MAX;
/// Positions; the longest contexts of today have ten million.
static constexpr int64_t maxContext = int64_t(1) << 24;

static std::string shown(double number) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%g", number);
  return text;
}

std::string chorus::placeOfKey(const gguf::GGUFFile &file,
                               llvm::StringRef key) {
  if (std::optional<gguf::KeyValue> found = file.find(key))
    return file.placeOf(*found);
  return file.name() + ": " + key.str();
}

bool ModelKeys::has(llvm::StringRef key) const { return file.has(full(key)); }

Status ModelKeys::refuse(llvm::StringRef key,
                         const std::string &message) const {
  return rt::refused(code, place(key), message);
}

Status ModelKeys::conflict(llvm::StringRef key, int64_t value,
                           llvm::StringRef relation, llvm::StringRef otherKey,
                           int64_t otherValue) const {
  return refuse(key, std::to_string(value) + " " + relation.str() + " " +
                         full(otherKey) + " = " + std::to_string(otherValue));
}

Status ModelKeys::unsupportedFeature(llvm::StringRef key, llvm::StringRef value,
                                     llvm::StringRef feature) const {
  return rt::unsupported(place(key),
                         "'" + rt::escapeForMessage(std::string_view(value)) +
                             "' needs " + feature.str() +
                             ", which this family does not have yet");
}

Status ModelKeys::count(llvm::StringRef key, int64_t &value,
                        std::optional<int64_t> absent, int64_t least) {
  known.insert(key);
  std::optional<gguf::KeyValue> found = file.find(full(key));
  if (!found) {
    if (!absent)
      return refuse(key, "is missing");
    value = *absent;
    return {};
  }
  auto inRange = [&](int64_t number) {
    return number >= least && number <= maxCount;
  };
  auto outOfRange = [&](const std::string &number) {
    return refuse(key, "is " + number + ", needed is " + std::to_string(least) +
                           " to " + std::to_string(maxCount));
  };
  if (found->type == gguf::ValueType::Array) {
    StatusOr<gguf::IntegerArray> values = file.getIntegers(full(key), code);
    CHORUS_RETURN_IF_ERROR(values.status());
    if (values->size() == 0)
      return refuse(key, "is an empty array");
    int64_t first = (*values)[0];
    for (uint64_t i = 1; i < values->size(); ++i)
      if ((*values)[i] != first)
        return unsupportedFeature(key,
                                  std::to_string(first) + ", .., " +
                                      std::to_string((*values)[i]),
                                  "layers of different sizes");
    if (!inRange(first))
      return outOfRange(std::to_string(first));
    value = first;
    return {};
  }
  StatusOr<uint64_t> number = file.getUnsigned(full(key), code);
  CHORUS_RETURN_IF_ERROR(number.status());
  if (*number > static_cast<uint64_t>(maxCount) ||
      !inRange(static_cast<int64_t>(*number)))
    return outOfRange(std::to_string(*number));
  value = static_cast<int64_t>(*number);
  return {};
}

Status ModelKeys::contextLength(int64_t &value) {
  known.insert("context_length");
  if (!has("context_length"))
    return refuse("context_length", "is missing");
  StatusOr<uint64_t> number = file.getUnsigned(full("context_length"), code);
  CHORUS_RETURN_IF_ERROR(number.status());
  if (*number < 1 || *number > static_cast<uint64_t>(maxContext))
    return refuse("context_length", "is " + std::to_string(*number) +
                                        ", needed is 1 to " +
                                        std::to_string(maxContext));
  value = static_cast<int64_t>(*number);
  return {};
}

Status ModelKeys::positiveReal(llvm::StringRef key, double &value,
                               std::optional<double> absent) {
  known.insert(key);
  if (!has(key)) {
    if (!absent)
      return refuse(key, "is missing");
    value = *absent;
    return {};
  }
  StatusOr<double> number = file.getFloat(full(key), code);
  CHORUS_RETURN_IF_ERROR(number.status());
  if (!std::isfinite(*number) || *number <= 0)
    return refuse(key,
                  "is " + shown(*number) + ", needed is a positive number");
  value = *number;
  return {};
}

Status ModelKeys::text(llvm::StringRef key, std::string &value) {
  known.insert(key);
  if (!has(key))
    return {};
  StatusOr<std::string_view> found = file.getString(full(key), code);
  CHORUS_RETURN_IF_ERROR(found.status());
  value = std::string(*found);
  return {};
}

Status ModelKeys::requireNeutral(llvm::StringRef key, double neutral,
                                 llvm::StringRef feature, bool orZero) {
  known.insert(key);
  std::optional<gguf::KeyValue> found = file.find(full(key));
  if (!found)
    return {};
  double value = 0;
  if (found->type == gguf::ValueType::Bool) {
    StatusOr<bool> flag = file.getBool(full(key), code);
    CHORUS_RETURN_IF_ERROR(flag.status());
    value = *flag ? 1 : 0;
  } else if (found->type == gguf::ValueType::F32 ||
             found->type == gguf::ValueType::F64) {
    StatusOr<double> number = file.getFloat(full(key), code);
    CHORUS_RETURN_IF_ERROR(number.status());
    value = *number;
  } else {
    StatusOr<uint64_t> number = file.getUnsigned(full(key), code);
    CHORUS_RETURN_IF_ERROR(number.status());
    value = static_cast<double>(*number);
  }
  if (value == neutral || (orZero && value == 0))
    return {};
  return unsupportedFeature(key, shown(value), feature);
}

std::vector<std::string> ModelKeys::unknownKeys() const {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < file.numKeyValues(); ++i) {
    llvm::StringRef key = file.keyValue(i).key;
    if (key.consume_front(prefix) && !known.contains(key))
      names.push_back(full(key));
  }
  return names;
}
