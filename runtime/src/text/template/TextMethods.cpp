//===- TextMethods.cpp - str methods on marked text -----------------------===//

#include "TextMethods.h"

#include "chorus_rt/Utf8.h"

#include <algorithm>
#include <cstring>

namespace chorus::rt::jinja {

namespace {

constexpr size_t npos = std::string_view::npos;
constexpr char32_t capitalSigma = 0x3A3, smallSigma = 0x3C3, finalSigma = 0x3C2;

Value piece(RenderState &state, const StringObject &text, size_t begin,
            size_t end) {
  return makeString(state, text.text.slice(begin, end), text.isSafe);
}

/// Set of code points to strip.
class CodePointSet {
public:
  explicit CodePointSet(const StringObject *chars) : isSpace(!chars) {
    for (size_t offset = 0; chars && offset < chars->text.size();)
      members.push_back(decodeCodePoint(chars->view(), offset));
    std::sort(members.begin(), members.end());
  }
  bool contains(char32_t c) const {
    return isSpace ? isWhitespace(c)
                   : std::binary_search(members.begin(), members.end(), c);
  }

private:
  bool isSpace;
  std::vector<char32_t> members;
};

/// Whether the nearest code point that is not ignorable, going from `offset`
/// in one direction within [begin, end), is cased.
bool hasCasedNeighbour(std::string_view text, size_t offset, size_t begin,
                       size_t end, bool forward) {
  while (forward ? offset < end : offset > begin) {
    char32_t c;
    if (forward) {
      c = decodeCodePoint(text, offset);
    } else {
      offset = previousCodePoint(text, offset);
      size_t at = offset;
      c = decodeCodePoint(text, at);
    }
    if (!isCaseIgnorable(c))
      return isCased(c);
  }
  return false;
}

/// Lower case of the code point at [at, next): a sigma at the end of a word
/// has a form of its own.
CaseMapping toLower(std::string_view text, size_t at, size_t next, char32_t c,
                    size_t begin, size_t end) {
  if (c != capitalSigma)
    return mapCase(c, LetterCase::Lower);
  bool isFinal = hasCasedNeighbour(text, at, begin, end, /*forward=*/false) &&
                 !hasCasedNeighbour(text, next, begin, end, /*forward=*/true);
  return {{isFinal ? finalSigma : smallSigma, 0, 0}, 1};
}

/// Appends bytes `begin` to `end` with each code point mapped by
/// `map(codePoint, at, next)`.
template <typename Map>
void appendMapped(TextBuilder &out, const MarkedText &text, size_t begin,
                  size_t end, Map map) {
  std::string_view bytes = text.view();
  for (size_t run = text.runAt(begin), at = begin; at < end; ++run) {
    std::string mapped;
    size_t stop = std::min(end, text.marks()[run].end);
    while (at < stop) {
      size_t next = at;
      char32_t c = decodeCodePoint(bytes, next);
      CaseMapping mapping = map(c, at, next);
      for (unsigned i = 0; i < mapping.count; ++i)
        appendUtf8(mapped, mapping.codePoints[i]);
      at = next;
    }
    out.append(mapped, text.marks()[run].isUser);
  }
}

void appendCase(TextBuilder &out, const MarkedText &text, size_t begin,
                size_t end, LetterCase to) {
  std::string_view bytes = text.view();
  appendMapped(out, text, begin, end, [&](char32_t c, size_t at, size_t next) {
    return to == LetterCase::Lower ? toLower(bytes, at, next, c, begin, end)
                                   : mapCase(c, to);
  });
}

/// Offset after the first code point at `offset`.
size_t nextCodePoint(std::string_view text, size_t offset) {
  decodeCodePoint(text, offset);
  return offset;
}

/// Offset of the first code point from `from` on that is whitespace or is not.
size_t findSpace(std::string_view text, size_t from, bool isSpace) {
  while (from < text.size()) {
    size_t next = from;
    if (isWhitespace(decodeCodePoint(text, next)) == isSpace)
      break;
    from = next;
  }
  return from;
}

/// Offset before which, going left from `from`, a code point is whitespace or
/// is not; 0 if there is none.
size_t findSpaceLeft(std::string_view text, size_t from, bool isSpace) {
  while (from > 0) {
    size_t previous = previousCodePoint(text, from);
    size_t offset = previous;
    if (isWhitespace(decodeCodePoint(text, offset)) == isSpace)
      break;
    from = previous;
  }
  return from;
}

/// One case at least, and none of the other cases.
template <typename IsWanted>
bool isAll(const StringObject &text, IsWanted isWanted) {
  bool any = false;
  for (size_t offset = 0; offset < text.text.size();) {
    char32_t c = decodeCodePoint(text.view(), offset);
    if (isWanted(c))
      any = true;
    else if (isCased(c))
      return false;
  }
  return any;
}

void requireSeparator(RenderState &state, const StringObject &separator) {
  if (separator.text.empty())
    state.fail("separator is empty");
}

} // namespace

size_t findText(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size())
    return npos;
  if (part.empty())
    return from;
  const void *found =
      memmem(text.data() + from, text.size() - from, part.data(), part.size());
  return found ? static_cast<size_t>(static_cast<const char *>(found) -
                                     text.data())
               : npos;
}

Value stripText(RenderState &state, const StringObject &text,
                const StringObject *chars, bool left, bool right) {
  state.chargeText(text.text.size() + (chars ? 64 * chars->length : 0));
  CodePointSet set(chars);
  std::string_view bytes = text.view();
  size_t begin = 0, end = bytes.size();
  while (left && begin < end) {
    size_t next = begin;
    if (!set.contains(decodeCodePoint(bytes, next)))
      break;
    begin = next;
  }
  while (right && end > begin) {
    size_t previous = previousCodePoint(bytes, end);
    size_t offset = previous;
    if (!set.contains(decodeCodePoint(bytes, offset)))
      break;
    end = previous;
  }
  return piece(state, text, begin, end);
}

Value replaceText(RenderState &state, const StringObject &text,
                  const StringObject &from, const StringObject &to,
                  int64_t limit) {
  state.chargeText(text.text.size() + from.text.size());
  TextBuilder out(state);
  std::string_view bytes = text.view();
  size_t done = 0;
  if (from.text.empty()) {
    // Before every code point and at the end.
    while (limit != 0) {
      out.append(to.text);
      --limit;
      if (done == bytes.size())
        break;
      size_t next = nextCodePoint(bytes, done);
      out.append(text.text, done, next);
      done = next;
    }
  } else {
    for (size_t at;
         limit != 0 && (at = findText(bytes, from.view(), done)) != npos;
         --limit) {
      out.append(text.text, done, at);
      out.append(to.text);
      done = at + from.text.size();
    }
  }
  out.append(text.text, done, bytes.size());
  return makeString(state, out.take(), text.isSafe);
}

std::vector<Value> splitText(RenderState &state, const StringObject &text,
                             const StringObject *separator, int64_t limit) {
  state.chargeText(text.text.size());
  std::string_view bytes = text.view();
  std::vector<Value> parts;
  if (separator) {
    requireSeparator(state, *separator);
    size_t done = 0, at;
    for (;
         limit != 0 && (at = findText(bytes, separator->view(), done)) != npos;
         --limit) {
      parts.push_back(piece(state, text, done, at));
      done = at + separator->text.size();
    }
    parts.push_back(piece(state, text, done, bytes.size()));
    return parts;
  }
  size_t begin = findSpace(bytes, 0, false);
  for (; begin < bytes.size(); --limit) {
    size_t end = limit == 0 ? bytes.size() : findSpace(bytes, begin, true);
    parts.push_back(piece(state, text, begin, end));
    begin = findSpace(bytes, end, false);
  }
  return parts;
}

std::vector<Value> splitTextFromRight(RenderState &state,
                                      const StringObject &text,
                                      const StringObject *separator,
                                      int64_t limit) {
  std::string_view bytes = text.view();
  std::vector<Value> parts;
  if (separator) {
    requireSeparator(state, *separator);
    // Matches do not overlap, counted from the right.
    size_t end = bytes.size();
    for (; limit != 0; --limit) {
      if (end < separator->text.size())
        break;
      size_t at = bytes.rfind(separator->view(), end - separator->text.size());
      // rfind looks at every offset in turn.
      state.chargeText((end - (at == npos ? 0 : at)) *
                       (1 + separator->text.size()));
      if (at == npos)
        break;
      parts.push_back(piece(state, text, at + separator->text.size(), end));
      end = at;
    }
    parts.push_back(piece(state, text, 0, end));
  } else {
    state.chargeText(bytes.size());
    size_t end = findSpaceLeft(bytes, bytes.size(), false);
    for (; end > 0; --limit) {
      size_t begin = limit == 0 ? 0 : findSpaceLeft(bytes, end, true);
      parts.push_back(piece(state, text, begin, end));
      end = findSpaceLeft(bytes, begin, false);
    }
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Value> splitLines(RenderState &state, const StringObject &text,
                              bool keepEnds) {
  state.chargeText(text.text.size());
  std::string_view bytes = text.view();
  std::vector<Value> lines;
  for (size_t begin = 0, at = 0; begin < bytes.size(); begin = at) {
    size_t end = bytes.size();
    for (at = begin; at < bytes.size();) {
      size_t next = at;
      char32_t c = decodeCodePoint(bytes, next);
      if (isLineBreak(c)) {
        end = at;
        at = next;
        if (c == '\r' && at < bytes.size() && bytes[at] == '\n')
          ++at;
        break;
      }
      at = next;
    }
    lines.push_back(piece(state, text, begin, keepEnds ? at : end));
  }
  return lines;
}

Value changeCase(RenderState &state, const StringObject &text, LetterCase to) {
  state.chargeText(text.text.size() * 4);
  TextBuilder out(state);
  size_t size = text.text.size();
  if (to != LetterCase::Title) {
    appendCase(out, text.text, 0, size, to);
  } else {
    bool inWord = false;
    appendMapped(out, text.text, 0, size,
                 [&](char32_t c, size_t at, size_t next) {
                   CaseMapping mapping =
                       inWord ? toLower(text.view(), at, next, c, 0, size)
                              : mapCase(c, LetterCase::Title);
                   inWord = isCased(c);
                   return mapping;
                 });
  }
  return makeString(state, out.take(), text.isSafe);
}

Value capitalizeText(RenderState &state, const StringObject &text) {
  state.chargeText(text.text.size() * 4);
  TextBuilder out(state);
  size_t size = text.text.size();
  appendMapped(out, text.text, 0, size,
               [&](char32_t c, size_t at, size_t next) {
                 return at == 0 ? mapCase(c, LetterCase::Title)
                                : toLower(text.view(), at, next, c, 0, size);
               });
  return makeString(state, out.take(), text.isSafe);
}

Value titleWords(RenderState &state, const StringObject &text) {
  state.chargeText(text.text.size() * 4);
  TextBuilder out(state);
  std::string_view bytes = text.view();
  auto isDelimiter = [](char32_t c) {
    return isWhitespace(c) || c == '-' || c == '(' || c == '{' || c == '[' ||
           c == '<';
  };
  for (size_t begin = 0; begin < bytes.size();) {
    size_t end = begin;
    bool isWord = !isDelimiter(decodeCodePoint(bytes, end));
    size_t first = end;
    for (size_t next = end; next < bytes.size(); end = next)
      if (isDelimiter(decodeCodePoint(bytes, next)) == isWord)
        break;
    appendCase(out, text.text, begin, first, LetterCase::Upper);
    appendCase(out, text.text, first, end, LetterCase::Lower);
    begin = end;
  }
  return makeString(state, out.take());
}

bool isAllLower(const StringObject &text) { return isAll(text, isLowercase); }
bool isAllUpper(const StringObject &text) { return isAll(text, isUppercase); }

Value joinTexts(RenderState &state, const StringObject &separator,
                const std::vector<Value> &items) {
  TextBuilder out(state);
  bool first = true;
  for (const Value &item : items) {
    const StringObject *text = asString(item);
    if (!text)
      state.fail(std::string("join needs strings, found '") + typeName(item) +
                 "'");
    if (!first)
      out.append(separator.text);
    first = false;
    if (separator.isSafe)
      out.append(asString(escapeHtml(state, *text))->text);
    else
      out.append(text->text);
  }
  return makeString(state, out.take(), separator.isSafe);
}

} // namespace chorus::rt::jinja
