//===- SpecialTokens.cpp - Cut special tokens out of a text ---------------===//

#include "SpecialTokens.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace chorus::rt {

void SpecialTokens::add(int32_t id, std::string_view text, bool isRestricted) {
  entries.push_back({text, id, isRestricted});
  beginsToken[static_cast<uint8_t>(text.front())] = true;
}

void SpecialTokens::finish() {
  std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
    return a.text.size() != b.text.size() ? a.text.size() > b.text.size()
                                          : a.id < b.id;
  });
  byText.resize(entries.size());
  std::iota(byText.begin(), byText.end(), 0);
  std::sort(byText.begin(), byText.end(), [&](uint32_t a, uint32_t b) {
    return entries[a].text < entries[b].text;
  });
}

// A longer beginning than this is not compared: time stays linear in the text
// when a token is long and repeats itself.
static constexpr size_t maxComparedBytes = 32;

/// Which entries may occur in `text`: most texts have the beginnings of none or
/// few of them.
std::vector<bool> SpecialTokens::findCandidates(std::string_view text) const {
  std::vector<bool> isCandidate(entries.size());
  for (size_t at = 0; at < text.size(); ++at) {
    if (!beginsToken[static_cast<uint8_t>(text[at])])
      continue;
    // Narrow the sorted texts to those that agree with one more byte. Among
    // texts with a common beginning, one that ends there comes first.
    auto first = byText.begin(), last = byText.end();
    size_t most = std::min(text.size() - at, maxComparedBytes);
    for (size_t depth = 0; first != last && depth < most; ++depth) {
      auto byteAt = [&](uint32_t entry) {
        return static_cast<uint8_t>(entries[entry].text[depth]);
      };
      uint8_t byte = static_cast<uint8_t>(text[at + depth]);
      first = std::partition_point(
          first, last, [&](uint32_t entry) { return byteAt(entry) < byte; });
      last = std::partition_point(
          first, last, [&](uint32_t entry) { return byteAt(entry) == byte; });
      for (; first != last && entries[*first].text.size() == depth + 1; ++first)
        isCandidate[*first] = true;
      if (depth + 1 == maxComparedBytes)
        for (auto entry = first; entry != last; ++entry)
          isCandidate[*entry] = true;
    }
  }
  return isCandidate;
}

std::vector<TextFragment>
SpecialTokens::split(std::string_view text,
                     const std::vector<TextRange> &openRanges) const {
  std::vector<TextFragment> fragments;
  if (text.empty())
    return fragments;
  fragments.push_back({0, text.size(), -1});
  if (entries.empty())
    return fragments;

  const std::vector<TextRange> everywhere = {{0, text.size()}};
  std::vector<bool> isCandidate = findCandidates(text);
  std::vector<TextFragment> next;
  for (size_t i = 0; i < entries.size(); ++i) {
    if (!isCandidate[i])
      continue;
    const Entry &entry = entries[i];
    const auto &ranges = entry.isRestricted ? openRanges : everywhere;
    auto range = ranges.begin();
    next.clear();
    for (const TextFragment &fragment : fragments) {
      if (fragment.id >= 0) {
        next.push_back(fragment);
        continue;
      }
      size_t done = fragment.begin;
      while (range != ranges.end() && range->begin < fragment.end) {
        size_t from = std::max(done, range->begin);
        size_t to = std::min(fragment.end, range->end);
        while (from < to) {
          const void *found = memmem(text.data() + from, to - from,
                                     entry.text.data(), entry.text.size());
          if (!found)
            break;
          size_t match = static_cast<const char *>(found) - text.data();
          if (match > done)
            next.push_back({done, match, -1});
          done = from = match + entry.text.size();
          next.push_back({match, done, entry.id});
        }
        if (range->end > fragment.end)
          break; // It goes on in the next fragment.
        ++range;
      }
      if (done < fragment.end)
        next.push_back({done, fragment.end, -1});
    }
    fragments.swap(next);
  }
  return fragments;
}

} // namespace chorus::rt
