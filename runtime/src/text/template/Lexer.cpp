//===- Lexer.cpp - Tokens of a chat template ------------------------------===//

#include "Lexer.h"

#include "Unicode.h"
#include "chorus_rt/Utf8.h"

#include <cstring>

namespace chorus::rt::jinja {

namespace {

bool isAsciiDigit(char c) { return c >= '0' && c <= '9'; }
bool isNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool isNamePart(char c) { return isNameStart(c) || isAsciiDigit(c); }

int hexValue(char c) {
  if (isAsciiDigit(c))
    return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

class Lexer {
public:
  explicit Lexer(std::string_view source) : source(source) {}

  std::vector<Token> run() {
    while (pos < source.size())
      lexText();
    tokenStart = source.size();
    add(TokenKind::End, "");
    return std::move(tokens);
  }

private:
  [[noreturn]] void fail(std::string message) {
    throw TemplateError{"template", positionOf(pos), std::move(message)};
  }

  /// Offsets grow from call to call, so counting lines is linear in all.
  Position positionOf(size_t offset) {
    for (; counted < offset; ++counted)
      if (source[counted] == '\n') {
        ++line;
        lineStart = counted + 1;
      }
    return {line, static_cast<uint32_t>(offset - lineStart + 1)};
  }

  void add(TokenKind kind, std::string text) {
    tokens.push_back({kind, positionOf(tokenStart), std::move(text)});
  }

  bool at(std::string_view text, size_t offset) const {
    return source.substr(offset, text.size()) == text;
  }

  /// Offset of the first non-whitespace character from `offset` on.
  size_t skipWhitespace(size_t offset) const {
    while (offset < source.size()) {
      size_t next = offset;
      if (!isWhitespace(decodeCodePoint(source, next)))
        break;
      offset = next;
    }
    return offset;
  }

  /// Moves past an end tag and what its whitespace control removes.
  void passEnd(size_t end, char sign, bool trimsNewline) {
    pos = end;
    if (sign == '-')
      pos = skipWhitespace(pos);
    else if (sign != '+' && trimsNewline && at("\n", pos))
      ++pos;
    afterNewline = source[pos - 1] == '\n';
  }

  /// Emits text up to a tag whose sign and kind decide what is stripped.
  void addData(size_t begin, size_t end, char sign, bool isVariable) {
    if (sign == '-') {
      while (end > begin) {
        size_t previous = previousCodePoint(source, end);
        size_t offset = previous;
        if (!isWhitespace(decodeCodePoint(source, offset)))
          break;
        end = previous;
      }
    } else if (sign != '+' && !isVariable) {
      size_t newline = source.substr(begin, end - begin).rfind('\n');
      bool ownLine = newline != std::string_view::npos || afterNewline;
      size_t start =
          newline == std::string_view::npos ? begin : begin + newline + 1;
      if (ownLine && skipWhitespace(start) >= end)
        end = start;
    }
    tokenStart = begin;
    if (end > begin)
      add(TokenKind::Data, std::string(source.substr(begin, end - begin)));
  }

  /// Whether `word` stands at `offset` after optional whitespace; moves it on.
  bool passWord(std::string_view word, size_t &offset) const {
    size_t start = skipWhitespace(offset);
    if (!at(word, start))
      return false;
    offset = start + word.size();
    return true;
  }

  void lexText() {
    size_t begin = pos;
    size_t tag = begin;
    do {
      tag = source.find('{', tag);
      if (tag == std::string_view::npos || tag + 1 >= source.size()) {
        tokenStart = begin;
        add(TokenKind::Data, std::string(source.substr(begin)));
        pos = source.size();
        return;
      }
      if (std::strchr("{%#", source[tag + 1]) && source[tag + 1] != '\0')
        break;
      ++tag;
    } while (true);

    char type = source[tag + 1];
    char sign = tag + 2 < source.size() ? source[tag + 2] : '\0';
    if (sign != '-' && sign != '+')
      sign = '\0';
    addData(begin, tag, sign, type == '{');
    pos = tokenStart = tag;
    size_t inside = tag + 2 + (sign != '\0');
    if (type == '#') {
      lexComment(inside);
      return;
    }
    if (type == '%' && lexRaw(inside))
      return;
    add(type == '{' ? TokenKind::VariableBegin : TokenKind::BlockBegin, "");
    pos = inside;
    lexTag(type == '{');
  }

  void lexComment(size_t inside) {
    size_t end = source.find("#}", inside);
    // Jinja takes an opening at the very end, here and for raw.
    if (inside == source.size()) {
      pos = inside;
      return;
    }
    if (end == std::string_view::npos)
      fail("comment has no end '#}'");
    char sign = end > inside ? source[end - 1] : '\0';
    passEnd(end + 2, sign, /*trimsNewline=*/true);
  }

  /// {% raw %} text {% endraw %}: text without tags.
  bool lexRaw(size_t inside) {
    size_t begin = inside;
    if (!passWord("raw", begin))
      return false;
    begin = skipWhitespace(begin);
    if (at("-%}", begin))
      begin = skipWhitespace(begin + 3);
    else if (at("%}", begin))
      begin += 2;
    else
      return false;
    afterNewline = source[begin - 1] == '\n';
    for (size_t tag = begin;
         (tag = source.find("{%", tag)) != std::string_view::npos; ++tag) {
      size_t end = tag + 2;
      char sign = end < source.size() ? source[end] : '\0';
      if (sign == '-' || sign == '+')
        ++end;
      else
        sign = '\0';
      if (!passWord("endraw", end))
        continue;
      end = skipWhitespace(end);
      char endSign = end < source.size() ? source[end] : '\0';
      if (endSign == '-' || endSign == '+')
        ++end;
      if (!at("%}", end))
        continue;
      addData(begin, tag, sign, /*isVariable=*/false);
      passEnd(end + 2, endSign, /*trimsNewline=*/true);
      return true;
    }
    if (begin == source.size()) {
      pos = begin;
      return true;
    }
    fail("raw has no end '{% endraw %}'");
  }

  void lexTag(bool isVariable) {
    std::string_view close = isVariable ? "}}" : "%}";
    std::string brackets; // Closing brackets that are awaited.
    while (true) {
      pos = tokenStart = skipWhitespace(pos);
      if (pos >= source.size())
        fail(std::string("tag has no end '") + std::string(close) + "'");
      if (brackets.empty()) {
        char sign = source[pos];
        bool signed_ = sign == '-' || (sign == '+' && !isVariable);
        if (at(close, pos + signed_)) {
          add(isVariable ? TokenKind::VariableEnd : TokenKind::BlockEnd, "");
          passEnd(pos + signed_ + 2, sign, !isVariable);
          return;
        }
      }
      char c = source[pos];
      if (isAsciiDigit(c))
        lexNumber();
      else if (isNameStart(c))
        lexName();
      else if (c == '\'' || c == '"')
        lexString();
      else
        lexOperator(brackets);
    }
  }

  [[noreturn]] void failBeyondAscii() {
    fail("names with letters beyond ASCII are outside the supported subset");
  }

  void lexName() {
    size_t end = pos;
    while (end < source.size() && isNamePart(source[end]))
      ++end;
    if (end < source.size() && static_cast<unsigned char>(source[end]) >= 0x80)
      failBeyondAscii();
    add(TokenKind::Name, std::string(source.substr(pos, end - pos)));
    pos = end;
  }

  /// Digits with single underscores between them; npos if there are none.
  size_t passDigits(size_t offset, std::string &digits) const {
    if (offset >= source.size() || !isAsciiDigit(source[offset]))
      return std::string_view::npos;
    while (offset < source.size()) {
      if (source[offset] == '_' && offset + 1 < source.size() &&
          isAsciiDigit(source[offset + 1]))
        ++offset;
      if (!isAsciiDigit(source[offset]))
        break;
      digits += source[offset++];
    }
    return offset;
  }

  void lexNumber() {
    bool afterDot = pos > 0 && source[pos - 1] == '.';
    std::string text;
    if (!afterDot) {
      size_t end = passDigits(pos, text);
      bool isFloat = false;
      if (at(".", end)) {
        std::string fraction;
        size_t after = passDigits(end + 1, fraction);
        if (after != std::string_view::npos) {
          text += "." + fraction;
          end = after;
          isFloat = true;
        }
      }
      if (end < source.size() && (source[end] | 0x20) == 'e') {
        std::string exponent = "e";
        size_t start = end + 1;
        if (start < source.size() &&
            (source[start] == '+' || source[start] == '-'))
          exponent += source[start++];
        size_t after = passDigits(start, exponent);
        if (after != std::string_view::npos) {
          text += exponent;
          end = after;
          isFloat = true;
        }
      }
      if (isFloat) {
        add(TokenKind::Float, std::move(text));
        pos = end;
        return;
      }
    }
    lexInteger();
  }

  void lexInteger() {
    std::string text;
    size_t end = pos;
    char prefix = end + 1 < source.size() ? source[end + 1] | 0x20 : '\0';
    int base = prefix == 'x' ? 16 : prefix == 'o' ? 8 : prefix == 'b' ? 2 : 0;
    auto isDigitAt = [&](size_t i) {
      if (i >= source.size())
        return false;
      int value = hexValue(source[i]);
      return value >= 0 && value < base;
    };
    if (source[pos] == '0' && base != 0 &&
        (isDigitAt(pos + 2) || (at("_", pos + 2) && isDigitAt(pos + 3)))) {
      text = {'0', prefix};
      end = pos + 2;
      while (isDigitAt(end) || (at("_", end) && isDigitAt(end + 1))) {
        if (source[end] != '_')
          text += source[end];
        ++end;
      }
    } else if (source[pos] == '0') {
      base = 1; // A zero may be followed by zeros only.
      while (isDigitAt(end) || (at("_", end) && isDigitAt(end + 1)))
        ++end;
      text = "0";
    } else {
      end = passDigits(pos, text);
    }
    add(TokenKind::Integer, std::move(text));
    pos = end;
  }

  void lexString() {
    char quote = source[pos];
    std::string text;
    size_t i = pos + 1;
    while (true) {
      if (i >= source.size())
        fail("string has no closing quote");
      char c = source[i];
      if (c == quote)
        break;
      if (c != '\\') {
        text += c;
        ++i;
        continue;
      }
      if (i + 1 >= source.size())
        fail("string has no closing quote");
      i = passEscape(i + 1, text);
    }
    add(TokenKind::String, std::move(text));
    pos = i + 1;
  }

  /// `i`: offset after the backslash. Returns the offset after the escape.
  size_t passEscape(size_t i, std::string &text) {
    char c = source[i];
    static constexpr std::string_view from = "\\'\"abfnrtv";
    static constexpr std::string_view to = "\\'\"\a\b\f\n\r\t\v";
    size_t simple = from.find(c);
    if (simple != std::string_view::npos) {
      text += to[simple];
      return i + 1;
    }
    if (c == '\n') // An escaped line break disappears.
      return i + 1;
    if (c >= '0' && c <= '7') {
      char32_t value = 0;
      size_t end = i;
      for (; end < source.size() && end < i + 3 && source[end] >= '0' &&
             source[end] <= '7';
           ++end)
        value = value * 8 + (source[end] - '0');
      appendUtf8(text, value);
      return end;
    }
    if (c == 'N')
      fail("\\N escapes are outside the supported subset");
    size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (static_cast<unsigned char>(c) >= 0x80)
      fail("a backslash before a letter beyond ASCII is outside the supported "
           "subset");
    if (digits == 0) {
      text += '\\';
      return i;
    }
    char32_t value = 0;
    for (size_t k = i + 1; k <= i + digits; ++k) {
      int digit = k < source.size() ? hexValue(source[k]) : -1;
      if (digit < 0)
        fail(std::string("\\") + c + " needs " + std::to_string(digits) +
             " hexadecimal digits");
      value = value * 16 + digit;
    }
    if (value > 0x10FFFF || (value >= 0xD800 && value < 0xE000))
      fail("escape is not a character");
    appendUtf8(text, value);
    return i + 1 + digits;
  }

  void lexOperator(std::string &brackets) {
    if (static_cast<unsigned char>(source[pos]) >= 0x80)
      failBeyondAscii();
    static constexpr const char *operators[] = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[",
        "]",  "(",  ")",  "{",  "}",  ">",  "<", "=", ".", ":", "|", ",", ";"};
    for (const char *op : operators) {
      if (!at(op, pos))
        continue;
      switch (*op) {
      case '{':
        brackets += '}';
        break;
      case '(':
        brackets += ')';
        break;
      case '[':
        brackets += ']';
        break;
      case '}':
      case ')':
      case ']':
        if (brackets.empty())
          fail(std::string("unexpected '") + op + "'");
        if (brackets.back() != *op)
          fail(std::string("unexpected '") + op + "', expected '" +
               brackets.back() + "'");
        brackets.pop_back();
        break;
      default:
        break;
      }
      add(TokenKind::Operator, op);
      pos += std::strlen(op);
      return;
    }
    fail("unexpected character '" + escapeForMessage(source.substr(pos, 1)) +
         "'");
  }

  std::string_view source;
  size_t pos = 0;
  size_t tokenStart = 0;
  bool afterNewline = true; ///< The last tag's text ended a line.
  std::vector<Token> tokens;
  size_t counted = 0, lineStart = 0;
  uint32_t line = 1;
};

} // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

std::string normalizeNewlines(std::string source) {
  size_t size = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    char c = source[i];
    if (c == '\r') {
      c = '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n')
        ++i;
    }
    source[size++] = c;
  }
  source.resize(size);
  if (!source.empty() && source.back() == '\n')
    source.pop_back();
  return source;
}

} // namespace chorus::rt::jinja
