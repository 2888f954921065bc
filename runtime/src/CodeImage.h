//===- CodeImage.h - Verified and loaded machine code -----------*- C++ -*-===//
//
// A code segment is a shared object without dependencies. The system's loader
// trusts what it loads, so everything that it reads is checked here first.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_SRC_CODEIMAGE_H
#define CHORUS_RT_SRC_CODEIMAGE_H

#include "chorus_rt/Status.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// Exported functions by name, as addresses relative to where the object is
/// loaded.
using FunctionTable = std::map<std::string, uint64_t, std::less<>>;

/// Checks a shared object: 64-bit x86, every table and program header inside
/// the bytes, no page both writable and executable, no dependency, no undefined
/// symbol, no code that runs by itself, and only base-relative relocations,
/// all of them of data. Refuses with A06; `place` is for messages.
StatusOr<FunctionTable> verifyCodeImage(const std::vector<uint8_t> &bytes,
                                        const std::string &place);

/// A loaded object; unloaded by the destructor. Movable.
class CodeImage {
public:
  /// Verifies `bytes` and loads a sealed copy. A06 (exit 3) for a bad object;
  /// A16 (exit 5) if the system allows no executable mapping.
  static StatusOr<CodeImage> load(const std::vector<uint8_t> &bytes,
                                  const std::string &place);

  CodeImage(CodeImage &&other) noexcept;
  CodeImage &operator=(CodeImage &&other) noexcept;
  ~CodeImage();

  /// Address of an exported function, null if there is none of that name.
  void *function(std::string_view name) const;

private:
  CodeImage() = default;

  void *handle = nullptr;
  uint64_t base = 0;
  /// Open as long as the object is loaded: the loader takes an object of a name
  /// that it knows for the same, and the name holds the descriptor's number.
  int fd = -1;
  FunctionTable functions;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SRC_CODEIMAGE_H
