//===- TextScan.cpp - A look at MLIR text before its parser ---------------===//

#include "TextScan.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>

using namespace chorus;
using llvm::StringRef;
using rt::Status;

namespace {

class TextScanner {
public:
  TextScanner(StringRef text, StringRef file) : text(text), file(file) {}

  Status scan();

private:
  /// An open bracket and the operators since it or its last comma.
  struct Open {
    char bracket;
    uint32_t operators = 0;
  };

  Status checkEncoding() const;
  Status step();
  Status takeString();
  Status checkBlob(StringRef hex) const;
  void skipComment();
  void skipNumber();
  StringRef takeName();
  Status takeWord();
  Status takeAlias();
  Status countOperation();
  Status open(char bracket);
  void close(char bracket);
  Status countOperator();
  void pop();
  void forgetOperators();
  Status noteDepth(uint32_t depth, size_t offset);

  std::string placeAt(size_t offset) const;
  Status refuse(const char *code, size_t offset, std::string message) const {
    return rt::refused(code, placeAt(offset), std::move(message));
  }
  char peek(size_t ahead = 0) const {
    return at + ahead < text.size() ? text[at + ahead] : '\0';
  }

  StringRef text, file;
  size_t at = 0;
  llvm::SmallVector<Open, 32> brackets;
  /// Open brackets and the operators in them.
  uint32_t nesting = 0;
  uint64_t operations = 0;
  bool inResources = false;
  /// What an alias stands for, with the aliases in it written out: its nesting
  /// and its number of aliases.
  struct Alias {
    uint32_t depth = 0;
    uint64_t size = 1;
  };
  llvm::StringMap<Alias> aliases;
  /// Aliases of the text outside definitions, written out.
  uint64_t textSize = 0;
  /// The alias that is being defined, and whether its value has begun.
  Alias *defined = nullptr;
  bool valueBegun = false;
};

/// Largest alignment of a resource: a page.
constexpr uint32_t maxAlignment = 4096;
/// Most aliases in what an alias, or the text, stands for when written out.
constexpr uint64_t maxAliasSize = 1'000'000;

/// Of keywords and operations.
bool isWordChar(char c) {
  return llvm::isAlnum(c) || c == '_' || c == '$' || c == '.';
}

std::string TextScanner::placeAt(size_t offset) const {
  StringRef before = text.take_front(offset);
  size_t line = before.count('\n') + 1;
  size_t lineStart = before.rfind('\n');
  size_t column =
      lineStart == StringRef::npos ? offset + 1 : offset - lineStart;
  return file.str() + ":" + std::to_string(line) + ":" + std::to_string(column);
}

Status TextScanner::checkEncoding() const {
  if (text.starts_with("ML\xefR"))
    return refuse("M09", 0, "is MLIR bytecode, needed is text");
  if (text.starts_with("\xef\xbb\xbf") || text.starts_with("\xff\xfe") ||
      text.starts_with("\xfe\xff"))
    return refuse("M09", 0,
                  "begins with a byte-order mark, needed is plain "
                  "UTF-8 text");
  size_t offset = text.find_first_of(StringRef("\0\r", 2));
  if (offset != StringRef::npos)
    return refuse("M09", offset,
                  text[offset] == '\r'
                      ? "carriage return, needed are lines that end in \\n"
                      : "NUL byte in the text");
  for (size_t marker = text.find("// -----"); marker != StringRef::npos;
       marker = text.find("// -----", marker + 1))
    if (marker == 0 || text[marker - 1] == '\n')
      return refuse("M09", marker,
                    "split marker, needed is one module in one file");
  return {};
}

Status TextScanner::noteDepth(uint32_t depth, size_t offset) {
  if (depth > maxMLIRNesting)
    return refuse("M01", offset,
                  "nested more than " + std::to_string(maxMLIRNesting) +
                      " levels deep");
  if (defined)
    defined->depth = std::max(defined->depth, depth);
  return {};
}

Status TextScanner::open(char bracket) {
  brackets.push_back({bracket});
  CHORUS_RETURN_IF_ERROR(noteDepth(++nesting, at));
  ++at;
  return {};
}

void TextScanner::forgetOperators() {
  if (brackets.empty())
    return;
  nesting -= brackets.back().operators;
  brackets.back().operators = 0;
}

void TextScanner::pop() {
  forgetOperators();
  brackets.pop_back();
  --nesting;
}

/// `<` and `>` are also operators: a `>` without its `<` is one, and a `<`
/// inside a bracket that closes was one.
void TextScanner::close(char bracket) {
  ++at;
  char opening = bracket == ')'   ? '('
                 : bracket == ']' ? '['
                 : bracket == '}' ? '{'
                                  : '<';
  if (bracket == '>') {
    if (!brackets.empty() && brackets.back().bracket == '<')
      pop();
    return;
  }
  while (!brackets.empty() && brackets.back().bracket == '<')
    pop();
  if (!brackets.empty() && brackets.back().bracket == opening)
    pop();
}

/// Expressions stand inside brackets of these kinds only; in a region a minus
/// is a sign.
Status TextScanner::countOperator() {
  if (brackets.empty() || brackets.back().bracket == '{')
    return {};
  ++brackets.back().operators;
  return noteDepth(++nesting, at);
}

/// The hexadecimal text of a resource begins with its alignment in four bytes,
/// little endian, which the parser hands to the allocator unchecked.
Status TextScanner::checkBlob(StringRef hex) const {
  std::string bytes;
  if (!hex.consume_front("0x") || hex.size() < 8 ||
      !llvm::tryGetFromHex(hex.take_front(8), bytes))
    return {}; // The parser says what is wrong.
  uint32_t alignment = 0;
  for (size_t i = 4; i-- > 0;)
    alignment = alignment << 8 | static_cast<uint8_t>(bytes[i]);
  if (!llvm::isPowerOf2_32(alignment) || alignment > maxAlignment)
    return refuse("M03", at,
                  "resource with alignment " + std::to_string(alignment) +
                      ", needed is a power of two up to " +
                      std::to_string(maxAlignment));
  return {};
}

/// A string is an operation's name if an operand list follows.
Status TextScanner::takeString() {
  size_t end = at + 1;
  for (; end < text.size() && text[end] != '"' && text[end] != '\n'; ++end)
    if (text[end] == '\\')
      ++end;
  end = std::min(end, text.size());
  if (inResources)
    CHORUS_RETURN_IF_ERROR(checkBlob(text.slice(at + 1, end)));
  at = end + 1;
  return peek() == '(' ? countOperation() : Status();
}

void TextScanner::skipComment() {
  while (at < text.size() && text[at] != '\n')
    ++at;
}

/// A number may hold the sign of its exponent; the dimensions of a type
/// ("4x8xf32") read like one.
void TextScanner::skipNumber() {
  bool hexadecimal = text.substr(at).starts_with("0x");
  while (at < text.size() && (llvm::isAlnum(text[at]) || text[at] == '.')) {
    bool exponent = !hexadecimal && (text[at] == 'e' || text[at] == 'E');
    ++at;
    if (exponent && (peek() == '+' || peek() == '-') && llvm::isDigit(peek(1)))
      ++at;
  }
}

/// Names after %, # and ! may hold hyphens; the arrow of a function type ends
/// them.
StringRef TextScanner::takeName() {
  size_t start = at;
  while (at < text.size() &&
         (isWordChar(text[at]) || (text[at] == '-' && peek(1) != '>')))
    ++at;
  return text.slice(start, at);
}

Status TextScanner::takeWord() {
  StringRef word =
      text.substr(at).take_while([](char c) { return isWordChar(c); });
  at += word.size();
  if (word == "mod" || word == "floordiv" || word == "ceildiv")
    return countOperator();
  // Keywords have no dot, names of operations do.
  return word.contains('.') ? countOperation() : Status();
}

Status TextScanner::countOperation() {
  if (++operations > maxMLIROperations)
    return rt::limitError("M08", placeAt(at),
                          "more than " + std::to_string(maxMLIROperations) +
                              " operations");
  return {};
}

/// `#name` or `!name`: a definition at the start of a statement, else a use.
Status TextScanner::takeAlias() {
  size_t start = at++;
  takeName();
  StringRef name = text.slice(start, at);
  size_t next = at;
  while (next < text.size() && text[next] == ' ')
    ++next;
  bool defines = brackets.empty() && next + 1 < text.size() &&
                 text[next] == '=' && text[next + 1] != '=';
  if (defines) {
    at = next + 1;
    defined = &aliases[name];
    *defined = Alias();
    valueBegun = false;
    return {};
  }
  valueBegun = true;
  auto known = aliases.find(name);
  if (known == aliases.end() || &known->second == defined)
    return {};
  // Aliases of aliases can stand for exponentially much.
  uint64_t &size = defined ? defined->size : textSize;
  size += known->second.size;
  if (size > maxAliasSize)
    return rt::limitError("M08", placeAt(start),
                          "aliases stand for more than " +
                              std::to_string(maxAliasSize) + " others");
  return noteDepth(nesting + known->second.depth, start);
}

Status TextScanner::step() {
  char c = text[at];
  if (c == '\n' && brackets.empty() && valueBegun)
    defined = nullptr;
  if (llvm::isSpace(c)) {
    ++at;
    return {};
  }
  if (c == '/' && peek(1) == '/') {
    skipComment();
    return {};
  }
  if (c == '#' || c == '!')
    return takeAlias();
  valueBegun = true;
  switch (c) {
  case '"':
    return takeString();
  case '%':
  case '@':
  case '^':
    ++at;
    takeName();
    return {};
  case '{':
    inResources |= peek(1) == '-' && peek(2) == '#';
    return open(c);
  case '(':
  case '[':
  case '<':
    return open(c);
  case ')':
  case ']':
  case '}':
  case '>':
    close(c);
    return {};
  case ',':
    forgetOperators();
    ++at;
    return {};
  case '-':
    if (peek(1) == '>') {
      at += 2;
      return {};
    }
    [[fallthrough]];
  case '+':
  case '*':
    CHORUS_RETURN_IF_ERROR(countOperator());
    ++at;
    return {};
  default:
    break;
  }
  if (llvm::isDigit(c))
    skipNumber();
  else if (llvm::isAlpha(c) || c == '_')
    return takeWord();
  else
    ++at;
  return {};
}

Status TextScanner::scan() {
  if (text.size() > maxMLIRBytes)
    return rt::limitError("M08", file.str(),
                          std::to_string(text.size()) + " bytes, at most " +
                              std::to_string(maxMLIRBytes));
  CHORUS_RETURN_IF_ERROR(checkEncoding());
  while (at < text.size())
    CHORUS_RETURN_IF_ERROR(step());
  return {};
}

} // namespace

Status chorus::scanMLIRText(StringRef text, StringRef file) {
  return TextScanner(text, file).scan();
}
