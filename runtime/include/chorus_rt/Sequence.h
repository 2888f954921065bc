//===- Sequence.h - Tokens and their cache ----------------------*- C++ -*-===//

#ifndef CHORUS_RT_SEQUENCE_H
#define CHORUS_RT_SEQUENCE_H

#include "chorus_rt/KVPool.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace chorus::rt {

/// A text's state: the tokens so far, and for a model with a cache the pages of
/// those that were computed. A Decoder makes and advances sequences.
class Sequence {
public:
  /// For a model that recomputes everything.
  Sequence() = default;
  explicit Sequence(KVPool &pool) : pages(std::in_place, pool) {}

  const std::vector<int32_t> &tokens() const { return ids; }
  int64_t length() const { return static_cast<int64_t>(ids.size()); }

  /// Tokens that the model has already seen: the next step starts there.
  int64_t computed() const { return seen; }

  void append(int32_t token) { ids.push_back(token); }
  void append(const std::vector<int32_t> &tokens) {
    ids.insert(ids.end(), tokens.begin(), tokens.end());
  }

  /// A sequence with the same tokens that shares this one's pages.
  Sequence fork() const;

  /// Takes over the cache of its next tokens, as SequenceCache::share does.
  void share(const std::vector<PageId> &pages);

  /// Gives the pages back; the tokens stay.
  void releasePages();

  /// Null for a model without cache.
  SequenceCache *cache() { return pages ? &*pages : nullptr; }
  const SequenceCache *cache() const { return pages ? &*pages : nullptr; }

  /// A step has computed `count` more tokens.
  void advance(int64_t count);

private:
  std::vector<int32_t> ids;
  int64_t seen = 0;
  std::optional<SequenceCache> pages;
};

} // namespace chorus::rt

#endif // CHORUS_RT_SEQUENCE_H
