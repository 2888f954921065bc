//===- ModelKeys.h - A family's keys in a GGUF file -------------*- C++ -*-===//
//
// Typed reading of the keys under a family's prefix ("llama."), with the
// refusals of row G21. Remembers what was read, so that keys that nobody knows
// can be told to the user.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_LIB_IMPORT_GGUF_MODELKEYS_H
#define CHORUS_LIB_IMPORT_GGUF_MODELKEYS_H

#include "chorus_rt/Status.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace chorus {

namespace gguf {
class GGUFFile;
} // namespace gguf

/// The place of a key for messages, also of one that the file lacks.
std::string placeOfKey(const gguf::GGUFFile &file, llvm::StringRef key);

/// Keys are given without the prefix. A call that fails leaves its output as it
/// was.
class ModelKeys {
public:
  ModelKeys(const gguf::GGUFFile &file, llvm::StringRef architecture)
      : file(file), prefix(architecture.str() + ".") {}

  bool has(llvm::StringRef key) const;

  /// An integer in [`least`, 2^31); `absent` stands for a missing key, without
  /// it the key is needed. An array with one value for each layer counts as
  /// that value if all are equal, and is `unsupported` otherwise.
  rt::Status count(llvm::StringRef key, int64_t &value,
                   std::optional<int64_t> absent = std::nullopt,
                   int64_t least = 1);
  /// `context_length`, at most 2^24 positions.
  rt::Status contextLength(int64_t &value);
  /// A positive, finite number.
  rt::Status positiveReal(llvm::StringRef key, double &value,
                          std::optional<double> absent = std::nullopt);
  /// A string; `value` stays as it is where the key is missing.
  rt::Status text(llvm::StringRef key, std::string &value);

  /// `unsupported` unless the key is missing or its number or bool equals
  /// `neutral` (or 0, if `orZero`). `feature` is what the key switches on.
  rt::Status requireNeutral(llvm::StringRef key, double neutral,
                            llvm::StringRef feature, bool orZero = false);

  /// Marks keys whose values change nothing as known.
  void know(llvm::StringRef key) { known.insert(key); }
  /// Full names of the prefix's keys that were neither read nor marked.
  std::vector<std::string> unknownKeys() const;

  /// Refusal of a value (G21).
  rt::Status refuse(llvm::StringRef key, const std::string &message) const;
  /// Refusal of two values that contradict each other (G21): `key` with
  /// `value`, `relation`, `otherKey` with `otherValue`.
  rt::Status conflict(llvm::StringRef key, int64_t value,
                      llvm::StringRef relation, llvm::StringRef otherKey,
                      int64_t otherValue) const;
  /// Valid, but not built.
  rt::Status unsupportedFeature(llvm::StringRef key, llvm::StringRef value,
                                llvm::StringRef feature) const;

private:
  std::string full(llvm::StringRef key) const { return prefix + key.str(); }
  std::string place(llvm::StringRef key) const {
    return placeOfKey(file, full(key));
  }

  const gguf::GGUFFile &file;
  std::string prefix;
  llvm::StringSet<> known;
};

} // namespace chorus

#endif // CHORUS_LIB_IMPORT_GGUF_MODELKEYS_H
