//===- Detokenizer.h - Token bytes to valid UTF-8, streaming ----*- C++ -*-===//
//
// Tokens are bytes, and a character may be split over several of them. What a
// Detokenizer hands out is always valid UTF-8: it keeps an unfinished
// character back until its last byte is there. Bytes that can not belong to
// any character become U+FFFD, one for each longest beginning of a character
// (Unicode 14, section 3.9, "U+FFFD substitution of maximal subparts").
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_DETOKENIZER_H
#define CHORUS_RT_DETOKENIZER_H

#include "chorus_rt/Status.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace chorus::rt {

class Tokenizer;

/// The text of one sequence. Whatever the cuts between calls, the appended
/// pieces add up to the same text.
class Detokenizer {
public:
  /// Appends to `text` what can be said after these bytes.
  void append(std::string_view bytes, std::string &text);

  /// The same for a token. Error: T11 for an id outside the vocabulary; then
  /// nothing has changed.
  Status append(const Tokenizer &tokenizer, int32_t id, std::string &text);

  /// Ends the text: an unfinished character becomes U+FFFD. Afterwards the
  /// object is as new.
  void flush(std::string &text);

  /// Number of bytes that are kept back, 0 to 3.
  size_t pendingBytes() const { return pendingSize; }

private:
  char pending[4] = {};
  size_t pendingSize = 0;
};

} // namespace chorus::rt

#endif // CHORUS_RT_DETOKENIZER_H
