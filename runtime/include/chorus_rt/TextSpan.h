//===- TextSpan.h - Text that knows who wrote it ----------------*- C++ -*-===//
//
// A prompt is a list of spans. Special tokens are recognised only in spans that
// the template (or the command line, on request) wrote: text from users is
// plain, whatever it looks like.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TEXTSPAN_H
#define CHORUS_RT_TEXTSPAN_H

#include <string>

namespace chorus::rt {

/// A piece of a prompt. `text` is UTF-8. Adjacent spans belong to one text:
/// words and merges cross their border, special tokens do not.
struct TextSpan {
  std::string text;
  /// True for characters that came from messages, tools or other user data.
  bool isUserText = false;
};

inline bool operator==(const TextSpan &a, const TextSpan &b) {
  return a.isUserText == b.isUserText && a.text == b.text;
}

} // namespace chorus::rt

#endif // CHORUS_RT_TEXTSPAN_H
