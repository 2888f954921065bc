//===- JsonCursor.h - Strict JSON, one token at a time ----------*- C++ -*-===//
//
// For formats whose JSON has a fixed shape: the caller knows what must come
// next. Unlike a general parser it reports byte offsets of everything, keeps
// duplicate keys apart and never recurses.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_JSONCURSOR_H
#define CHORUS_RT_JSONCURSOR_H

#include <cstdint>
#include <string>
#include <string_view>

namespace chorus::rt {

/// Walks JSON text (RFC 8259, no extensions). On a false return `error()` says
/// what was wrong and `errorOffset()` where.
class JsonCursor {
public:
  explicit JsonCursor(std::string_view text) : text(text) {}

  size_t offset() const { return position; }
  bool atEnd() const { return position == text.size(); }
  /// The next byte, or 0 at the end.
  char peek() const { return atEnd() ? '\0' : text[position]; }
  void skipBlanks();

  /// Takes `c` after blanks if it comes next; no error otherwise.
  bool take(char c);
  /// Takes `c` after blanks, or fails.
  bool expect(char c);
  /// Reads a string after blanks and undoes its escapes.
  bool readString(std::string &value);
  /// Reads a number after blanks as it is written.
  bool readNumber(std::string_view &digits);

  /// Offset of the first bracket that is nested more than `maxDepth` deep, or
  /// npos. Looks at brackets outside strings only.
  static size_t findDeeperThan(std::string_view text, size_t maxDepth);

  bool fail(size_t offset, std::string message);
  const std::string &error() const { return errorText; }
  size_t errorOffset() const { return errorPosition; }

private:
  bool readEscape(std::string &value);
  bool readHex4(uint32_t &value);

  std::string_view text;
  size_t position = 0;
  std::string errorText;
  size_t errorPosition = 0;
};

} // namespace chorus::rt

#endif // CHORUS_RT_JSONCURSOR_H
