//===- PrefixCache.cpp - Pages of prompts that may come again -------------===//

#include "chorus_rt/PrefixCache.h"

#include <algorithm>
#include <cassert>

namespace chorus::rt {

PrefixCache::PrefixCache(KVPool &pool, int64_t maxPages)
    : pool(pool), maxPages(maxPages) {}

PrefixCache::~PrefixCache() {
  for (Node &node : nodes)
    pool.release(node.page);
}

/// Tokens of page `index`.
static std::array<int32_t, CHORUS_PAGE_POSITIONS>
tokensOfPage(const std::vector<int32_t> &tokens, int64_t index) {
  std::array<int32_t, CHORUS_PAGE_POSITIONS> page;
  std::copy_n(tokens.begin() + index * CHORUS_PAGE_POSITIONS,
              CHORUS_PAGE_POSITIONS, page.begin());
  return page;
}

std::vector<PrefixCache::NodeList::iterator>
PrefixCache::walk(const std::vector<int32_t> &tokens, int64_t count) {
  std::vector<NodeList::iterator> way;
  Children *children = &roots;
  for (int64_t i = 0; i < count / CHORUS_PAGE_POSITIONS; ++i) {
    auto child = children->find(tokensOfPage(tokens, i));
    if (child == children->end())
      break;
    way.push_back(child->second);
    children = &child->second->children;
  }
  for (auto node = way.rbegin(); node != way.rend(); ++node)
    nodes.splice(nodes.begin(), nodes, *node);
  return way;
}

std::vector<PageId> PrefixCache::find(const std::vector<int32_t> &tokens,
                                      int64_t count, int64_t skip) {
  std::vector<NodeList::iterator> way = walk(tokens, count);
  std::vector<PageId> found;
  for (size_t i = static_cast<size_t>(skip); i < way.size(); ++i)
    found.push_back(way[i]->page);
  return found;
}

void PrefixCache::insert(const std::vector<int32_t> &tokens, int64_t count,
                         const std::vector<PageId> &pages) {
  std::vector<NodeList::iterator> way = walk(tokens, count);
  int64_t wanted = std::min(count / CHORUS_PAGE_POSITIONS, maxPages);
  for (int64_t i = static_cast<int64_t>(way.size()); i < wanted; ++i) {
    // The way itself stands in front, so that the last one is not on it.
    if (this->pages() == maxPages)
      remove(std::prev(nodes.end()));
    NodeList fresh(1);
    Node &node = fresh.front();
    node.page = pages[static_cast<size_t>(i)];
    node.siblings = way.empty() ? &roots : &way.back()->children;
    way.reserve(way.size() + 1);
    node.place =
        node.siblings->emplace(tokensOfPage(tokens, i), fresh.begin()).first;
    // Behind its parent.
    auto behind = way.empty() ? nodes.begin() : std::next(way.back());
    pool.retain(node.page);
    nodes.splice(behind, fresh);
    way.push_back(std::prev(behind));
  }
}

PrefixCache::NodeList::iterator PrefixCache::remove(NodeList::iterator node) {
  assert(node->children.empty());
  pool.release(node->page);
  node->siblings->erase(node->place);
  return nodes.erase(node);
}

int64_t PrefixCache::evict(int64_t count) {
  int64_t evicted = 0;
  for (auto node = nodes.end(); node != nodes.begin() && evicted < count;) {
    --node;
    if (node->children.empty() && pool.references(node->page) == 1) {
      node = remove(node);
      ++evicted;
    }
  }
  return evicted;
}

} // namespace chorus::rt
