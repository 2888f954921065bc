//===- StopStrings.cpp - Texts that end a generation ----------------------===//

#include "chorus_rt/StopStrings.h"

#include <algorithm>
#include <cassert>

namespace chorus::rt {

StatusOr<StopStrings> StopStrings::create(std::vector<std::string> strings) {
  if (strings.size() > maxStrings)
    return usageError("stop has " + std::to_string(strings.size()) +
                      " strings, allowed are " + std::to_string(maxStrings));
  size_t total = 0;
  for (const std::string &text : strings) {
    if (text.empty())
      return usageError("stop is an empty string, needed is at least one byte");
    total += text.size();
  }
  if (total > maxTotalBytes)
    return usageError("stop strings have " + std::to_string(total) +
                      " bytes, allowed are " + std::to_string(maxTotalBytes));
  return StopStrings(std::move(strings));
}

StopStrings::StopStrings(std::vector<std::string> strings)
    : patterns(std::move(strings)), nodes(1) {
  for (size_t pattern = 0; pattern < patterns.size(); ++pattern) {
    uint32_t node = 0;
    for (char c : patterns[pattern]) {
      uint8_t byte = static_cast<uint8_t>(c);
      uint32_t to = child(node, byte);
      if (to == 0) {
        to = static_cast<uint32_t>(nodes.size());
        nodes.emplace_back();
        nodes[to].depth = nodes[node].depth + 1;
        auto &children = nodes[node].children;
        children.insert(std::lower_bound(children.begin(), children.end(),
                                         std::make_pair(byte, uint32_t(0))),
                        {byte, to});
      }
      node = to;
    }
    if (nodes[node].match < 0)
      nodes[node].match = static_cast<int32_t>(pattern);
  }
  // Breadth first: fallbacks are shorter and thus done before.
  std::vector<uint32_t> queue = {0};
  for (size_t i = 0; i < queue.size(); ++i) {
    uint32_t node = queue[i];
    for (auto [byte, to] : nodes[node].children) {
      nodes[to].fallback = node == 0 ? 0 : next(nodes[node].fallback, byte);
      if (nodes[to].match < 0)
        nodes[to].match = nodes[nodes[to].fallback].match;
      queue.push_back(to);
    }
  }
}

uint32_t StopStrings::child(uint32_t node, uint8_t byte) const {
  const auto &children = nodes[node].children;
  auto at = std::lower_bound(children.begin(), children.end(),
                             std::make_pair(byte, uint32_t(0)));
  return at != children.end() && at->first == byte ? at->second : 0;
}

uint32_t StopStrings::next(uint32_t node, uint8_t byte) const {
  while (true) {
    if (uint32_t to = child(node, byte); to != 0)
      return to;
    if (node == 0)
      return 0;
    node = nodes[node].fallback;
  }
}

bool StopMatcher::append(std::string_view piece, std::string &visible) {
  assert(firedPattern < 0);
  // Everything not handed out yet; positions below count in it.
  size_t held0 = held.size();
  held.append(piece);
  size_t start = std::string::npos;
  for (size_t i = held0; i < held.size(); ++i) {
    node = strings->next(node, static_cast<uint8_t>(held[i]));
    const StopStrings::Node &state = strings->nodes[node];
    if (start != std::string::npos && i + 1 - state.depth >= start)
      break; // Nothing that goes on has started before the match.
    if (state.match < 0)
      continue;
    size_t length = strings->patterns[static_cast<size_t>(state.match)].size();
    if (i + 1 - length < start) {
      start = i + 1 - length;
      firedPattern = state.match;
    }
  }
  if (firedPattern >= 0) {
    visible.append(held, 0, start);
    held.clear();
    return true;
  }
  size_t certain = held.size() - strings->nodes[node].depth;
  visible.append(held, 0, certain);
  held.erase(0, certain);
  return false;
}

void StopMatcher::flush(std::string &visible) {
  visible += held;
  held.clear();
  node = 0;
}

} // namespace chorus::rt
