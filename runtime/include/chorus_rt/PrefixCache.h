//===- PrefixCache.h - Pages of prompts that may come again -----*- C++ -*-===//
//
// A radix tree whose edges are the 32 tokens of a whole page: the way from the
// root to a node spells the beginning of a text, and the node holds the page of
// its last 32 positions. What a page holds depends on its tokens and those
// before it only, so a hit changes no bit.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_PREFIXCACHE_H
#define CHORUS_RT_PREFIXCACHE_H

#include "chorus_rt/KVPool.h"

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <vector>

namespace chorus::rt {

/// Holds references to pages of one pool. Not thread safe.
class PrefixCache {
public:
  /// Holds `maxPages` pages at most. `pool` outlives the cache.
  PrefixCache(KVPool &pool, int64_t maxPages);
  ~PrefixCache();
  PrefixCache(const PrefixCache &) = delete;
  PrefixCache &operator=(const PrefixCache &) = delete;

  /// Whole pages of the longest beginning of the first `count` tokens that is
  /// known, without the first `skip` pages. They stay valid until the next call
  /// of a member that is not const; retain them before.
  std::vector<PageId> find(const std::vector<int32_t> &tokens, int64_t count,
                           int64_t skip);

  /// Keeps the pages of the first `count` tokens, as far as they are whole and
  /// there is room; those used least recently make room.
  void insert(const std::vector<int32_t> &tokens, int64_t count,
              const std::vector<PageId> &pages);

  /// Gives back up to `count` pages that nobody else holds, those used least
  /// recently first. Returns how many.
  int64_t evict(int64_t count);

  /// Pages that are held.
  int64_t pages() const { return static_cast<int64_t>(nodes.size()); }

private:
  using PageTokens = std::array<int32_t, CHORUS_PAGE_POSITIONS>;
  struct Node;
  using NodeList = std::list<Node>;
  using Children = std::map<PageTokens, NodeList::iterator>;
  struct Node {
    PageId page = -1;
    Children *siblings = nullptr; ///< That it is in,
    Children::iterator place;     ///< and where.
    Children children;
  };

  /// The nodes on the way of the first `count` tokens. They become the ones
  /// used last.
  std::vector<NodeList::iterator> walk(const std::vector<int32_t> &tokens,
                                       int64_t count);
  NodeList::iterator remove(NodeList::iterator node);

  KVPool &pool;
  int64_t maxPages;
  Children roots;
  /// Used last first. A node stands before its children, for whoever uses them
  /// uses it too.
  NodeList nodes;
};

} // namespace chorus::rt

#endif // CHORUS_RT_PREFIXCACHE_H
