//===- StopStrings.h - Texts that end a generation --------------*- C++ -*-===//
//
// Looks for stop strings in a text that arrives in pieces, across all borders
// of pieces. All strings are followed at once by one automaton over bytes: Aho
// and Corasick, "Efficient string matching: an aid to bibliographic search",
// 1975.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_STOPSTRINGS_H
#define CHORUS_RT_STOPSTRINGS_H

#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// The stop strings of a request, compiled. Immutable.
class StopStrings {
public:
  /// Limits of create().
  static constexpr size_t maxStrings = 1024;
  static constexpr size_t maxTotalBytes = 65536;

  /// No strings: nothing ever stops.
  StopStrings() : StopStrings(std::vector<std::string>()) {}

  /// Usage error for an empty string and beyond the limits.
  static StatusOr<StopStrings> create(std::vector<std::string> strings);

  const std::vector<std::string> &strings() const { return patterns; }

private:
  friend class StopMatcher;
  explicit StopStrings(std::vector<std::string> strings);

  /// A node is a prefix of some stop string; node 0 is the empty one.
  struct Node {
    uint32_t depth = 0;    ///< Bytes of the prefix.
    uint32_t fallback = 0; ///< Its longest proper suffix that is a node.
    /// The longest stop string that ends here, -1 if none does.
    int32_t match = -1;
    /// Children in rising byte order.
    std::vector<std::pair<uint8_t, uint32_t>> children;
  };

  /// The child of `node` over `byte`, 0 if there is none.
  uint32_t child(uint32_t node, uint8_t byte) const;
  uint32_t next(uint32_t node, uint8_t byte) const;

  std::vector<std::string> patterns;
  std::vector<Node> nodes;
};

/// One text's search. What append() and flush() hand out adds up to the visible
/// text: all of it, or what stands before the stop string that fired. Of the
/// strings that are complete after a piece, the one that starts first wins.
class StopMatcher {
public:
  /// `strings` outlives the matcher.
  explicit StopMatcher(const StopStrings &strings) : strings(&strings) {}

  /// Takes the next piece and appends to `visible` what is certain not to
  /// belong to a stop string. Returns whether one has fired; after that, no
  /// piece may follow.
  bool append(std::string_view piece, std::string &visible);

  /// The text has ended without a stop string: hands out what was held back.
  void flush(std::string &visible);

  /// Index of the stop string that fired, -1 before that.
  int32_t fired() const { return firedPattern; }

private:
  const StopStrings *strings;
  uint32_t node = 0;
  int32_t firedPattern = -1;
  /// Bytes not handed out: a prefix of a stop string.
  std::string held;
};

} // namespace chorus::rt

#endif // CHORUS_RT_STOPSTRINGS_H
