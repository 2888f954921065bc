//===- MarkedText.h - UTF-8 text that knows its user parts ------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_MARKEDTEXT_H
#define CHORUS_RT_TEXT_TEMPLATE_MARKEDTEXT_H

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt::jinja {

/// Well-formed UTF-8 in which every byte is marked as the user's or the
/// template's. The marks are runs, so text of one origin costs no more than a
/// string.
class MarkedText {
public:
  struct Run {
    size_t end; ///< Byte offset after the run; it starts where the last ended.
    bool isUser;
  };

  MarkedText() = default;
  MarkedText(std::string text, bool isUser) : content(std::move(text)) {
    if (!content.empty())
      runs.push_back({content.size(), isUser});
  }

  std::string_view view() const { return content; }
  size_t size() const { return content.size(); }
  bool empty() const { return content.empty(); }
  const std::vector<Run> &marks() const { return runs; }

  void append(std::string_view text, bool isUser) {
    if (text.empty())
      return;
    content += text;
    if (!runs.empty() && runs.back().isUser == isUser)
      runs.back().end = content.size();
    else
      runs.push_back({content.size(), isUser});
  }

  void append(const MarkedText &other) { append(other, 0, other.size()); }

  /// Appends bytes `begin` to `end` of `other`.
  void append(const MarkedText &other, size_t begin, size_t end) {
    for (size_t run = other.runAt(begin); begin < end; ++run) {
      size_t stop = std::min(end, other.runs[run].end);
      append(other.view().substr(begin, stop - begin), other.runs[run].isUser);
      begin = stop;
    }
  }

  MarkedText slice(size_t begin, size_t end) const {
    MarkedText piece;
    piece.append(*this, begin, end);
    return piece;
  }

  /// Index of the run that holds byte `offset`.
  size_t runAt(size_t offset) const {
    return std::upper_bound(
               runs.begin(), runs.end(), offset,
               [](size_t at, const Run &run) { return at < run.end; }) -
           runs.begin();
  }

  bool isUserAt(size_t offset) const { return runs[runAt(offset)].isUser; }

private:
  std::string content;
  std::vector<Run> runs;
};

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_MARKEDTEXT_H
