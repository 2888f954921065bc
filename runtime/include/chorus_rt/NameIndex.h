//===- NameIndex.h - Finding and checking many names ------------*- C++ -*-===//

#ifndef CHORUS_RT_NAMEINDEX_H
#define CHORUS_RT_NAMEINDEX_H

#include <algorithm>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus::rt {

/// An index over `count` names that live elsewhere, 16 bytes for each. Sorting
/// keeps both building and finding fast whatever the names are; a hash table
/// could be made slow by names chosen to collide.
class NameIndex {
public:
  /// `nameOf(i)` gives the i-th name, the same at every call.
  template <typename NameOf> void build(uint32_t count, const NameOf &nameOf) {
    entries.clear();
    entries.reserve(count);
    for (uint32_t i = 0; i < count; ++i)
      entries.push_back({std::hash<std::string_view>()(nameOf(i)), i});
    std::sort(entries.begin(), entries.end(),
              [&](const Entry &a, const Entry &b) {
                if (a.hash != b.hash)
                  return a.hash < b.hash;
                int order = nameOf(a.index).compare(nameOf(b.index));
                return order != 0 ? order < 0 : a.index < b.index;
              });
  }

  /// The first name (by position) that repeats an earlier one: (earlier index,
  /// its own index).
  template <typename NameOf>
  std::optional<std::pair<uint32_t, uint32_t>>
  firstDuplicate(const NameOf &nameOf) const {
    std::optional<std::pair<uint32_t, uint32_t>> found;
    for (size_t i = 1; i < entries.size(); ++i) {
      const Entry &a = entries[i - 1], &b = entries[i];
      if (a.hash == b.hash && nameOf(a.index) == nameOf(b.index) &&
          (!found || b.index < found->second))
        found = {a.index, b.index};
    }
    return found;
  }

  template <typename NameOf>
  std::optional<uint32_t> find(std::string_view name,
                               const NameOf &nameOf) const {
    size_t hash = std::hash<std::string_view>()(name);
    auto it = std::lower_bound(entries.begin(), entries.end(), hash,
                               [&](const Entry &entry, size_t wanted) {
                                 if (entry.hash != wanted)
                                   return entry.hash < wanted;
                                 return nameOf(entry.index) < name;
                               });
    if (it == entries.end() || it->hash != hash || nameOf(it->index) != name)
      return std::nullopt;
    return it->index;
  }

private:
  struct Entry {
    size_t hash;
    uint32_t index;
  };
  std::vector<Entry> entries;
};

} // namespace chorus::rt

#endif // CHORUS_RT_NAMEINDEX_H
