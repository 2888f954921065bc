//===- TextMethods.h - str methods on marked text ---------------*- C++ -*-===//
//
// Every function keeps the marks: a character of the result has the origin of
// the character that it was made from.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_TEXTMETHODS_H
#define CHORUS_RT_TEXT_TEMPLATE_TEXTMETHODS_H

#include "Unicode.h"
#include "Value.h"

namespace chorus::rt::jinja {

/// Byte offset of the first `part` at or after `from`, npos if there is none.
/// Linear whatever the texts are.
size_t findText(std::string_view text, std::string_view part, size_t from);

/// str.strip() and friends: whitespace, or any of the code points of `chars`.
Value stripText(RenderState &state, const StringObject &text,
                const StringObject *chars, bool left, bool right);

/// str.replace(); `limit` below 0: all. Escapes nothing.
Value replaceText(RenderState &state, const StringObject &text,
                  const StringObject &from, const StringObject &to,
                  int64_t limit);

/// str.split() and str.rsplit(); `separator` null: at whitespace; `limit`
/// below 0: everywhere.
std::vector<Value> splitText(RenderState &state, const StringObject &text,
                             const StringObject *separator, int64_t limit);
std::vector<Value> splitTextFromRight(RenderState &state,
                                      const StringObject &text,
                                      const StringObject *separator,
                                      int64_t limit);

/// str.splitlines().
std::vector<Value> splitLines(RenderState &state, const StringObject &text,
                              bool keepEnds);

/// str.upper(), str.lower(), str.title().
Value changeCase(RenderState &state, const StringObject &text, LetterCase to);
/// str.capitalize().
Value capitalizeText(RenderState &state, const StringObject &text);
/// Jinja's filter `title`, which finds words in another way than str.title().
Value titleWords(RenderState &state, const StringObject &text);

/// str.islower(), str.isupper().
bool isAllLower(const StringObject &text);
bool isAllUpper(const StringObject &text);

/// separator.join(items); fails unless all items are strings.
Value joinTexts(RenderState &state, const StringObject &separator,
                const std::vector<Value> &items);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_TEXTMETHODS_H
