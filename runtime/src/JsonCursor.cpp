//===- JsonCursor.cpp - Strict JSON, one token at a time ------------------===//

#include "JsonCursor.h"

#include "chorus_rt/Status.h"
#include "chorus_rt/Utf8.h"

#include <algorithm>

namespace chorus::rt {

bool JsonCursor::fail(size_t offset, std::string message) {
  errorPosition = offset;
  errorText = std::move(message);
  return false;
}

void JsonCursor::skipBlanks() {
  while (!atEnd() &&
         (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r'))
    ++position;
}

bool JsonCursor::take(char c) {
  skipBlanks();
  if (atEnd() || peek() != c)
    return false;
  ++position;
  return true;
}

bool JsonCursor::expect(char c) {
  if (take(c))
    return true;
  std::string found =
      atEnd() ? "the end"
              : "'" + escapeForMessage(text.substr(position, 1)) + "'";
  return fail(position, std::string("expected '") + c + "', found " + found);
}

bool JsonCursor::readHex4(uint32_t &value) {
  value = 0;
  for (int i = 0; i < 4; ++i) {
    char c = peek();
    uint32_t digit = 0;
    if (c >= '0' && c <= '9')
      digit = static_cast<uint32_t>(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = static_cast<uint32_t>(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
      digit = static_cast<uint32_t>(c - 'A') + 10;
    else
      return fail(position, "expected four hexadecimal digits after \\u");
    value = value * 16 + digit;
    ++position;
  }
  return true;
}

/// The backslash has been taken.
bool JsonCursor::readEscape(std::string &value) {
  size_t start = position - 1;
  char c = peek();
  if (atEnd())
    return fail(position, "string without an end");
  ++position;
  switch (c) {
  case '"':
  case '\\':
  case '/':
    value += c;
    return true;
  case 'b':
    value += '\b';
    return true;
  case 'f':
    value += '\f';
    return true;
  case 'n':
    value += '\n';
    return true;
  case 'r':
    value += '\r';
    return true;
  case 't':
    value += '\t';
    return true;
  case 'u':
    break;
  default:
    return fail(start, "unknown escape in a string");
  }
  uint32_t unit = 0;
  if (!readHex4(unit))
    return false;
  if (unit >= 0xDC00 && unit < 0xE000)
    return fail(start, "lone surrogate in a string");
  if (unit >= 0xD800 && unit < 0xDC00) {
    uint32_t low = 0;
    if (text.substr(position, 2) != "\\u")
      return fail(start, "lone surrogate in a string");
    position += 2;
    if (!readHex4(low))
      return false;
    if (low < 0xDC00 || low >= 0xE000)
      return fail(start, "lone surrogate in a string");
    unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
  }
  appendUtf8(value, static_cast<char32_t>(unit));
  return true;
}

bool JsonCursor::readString(std::string &value) {
  value.clear();
  if (!expect('"'))
    return false;
  // Undoing escapes only shortens, so this is the one allocation.
  size_t close = position;
  while (close < text.size() && text[close] != '"')
    close += text[close] == '\\' ? 2 : 1;
  value.reserve(std::min(close, text.size()) - position);
  while (!atEnd()) {
    size_t run = position;
    while (run < text.size() && text[run] != '"' && text[run] != '\\' &&
           static_cast<unsigned char>(text[run]) >= 0x20)
      ++run;
    std::string_view plain = text.substr(position, run - position);
    size_t invalid = findInvalidUtf8(plain);
    if (invalid != std::string_view::npos)
      return fail(position + invalid, "invalid UTF-8 in a string");
    value += plain;
    position = run;
    if (atEnd())
      break;
    if (peek() == '"') {
      ++position;
      return true;
    }
    if (peek() != '\\')
      return fail(position, "control byte in a string");
    ++position;
    if (!readEscape(value))
      return false;
  }
  return fail(position, "string without an end");
}

bool JsonCursor::readNumber(std::string_view &digits) {
  skipBlanks();
  size_t start = position;
  auto isDigit = [&] { return peek() >= '0' && peek() <= '9'; };
  auto readDigits = [&] {
    size_t first = position;
    while (isDigit())
      ++position;
    return position > first;
  };
  if (peek() == '-')
    ++position;
  if (peek() == '0')
    ++position;
  else if (!readDigits())
    return fail(start, "expected a number");
  if (isDigit())
    return fail(start, "number with a leading zero");
  if (peek() == '.') {
    ++position;
    if (!readDigits())
      return fail(position, "expected digits after the decimal point");
  }
  if (peek() == 'e' || peek() == 'E') {
    ++position;
    if (peek() == '+' || peek() == '-')
      ++position;
    if (!readDigits())
      return fail(position, "expected digits in the exponent");
  }
  digits = text.substr(start, position - start);
  return true;
}

size_t JsonCursor::findDeeperThan(std::string_view text, size_t maxDepth) {
  size_t depth = 0;
  bool inString = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      if (++depth > maxDepth)
        return i;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return std::string_view::npos;
}

} // namespace chorus::rt
