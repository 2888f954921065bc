//===- Sequence.cpp - Tokens and their cache ------------------------------===//

#include "chorus_rt/Sequence.h"

#include <cassert>

namespace chorus::rt {

Sequence Sequence::fork() const {
  Sequence copy;
  copy.ids = ids;
  copy.seen = seen;
  if (pages)
    copy.pages.emplace(pages->fork());
  return copy;
}

void Sequence::share(const std::vector<PageId> &shared) {
  pages->share(shared);
  seen = pages->length();
}

void Sequence::releasePages() {
  if (pages)
    pages->clear();
  seen = 0;
}

void Sequence::advance(int64_t count) {
  seen += count;
  assert(seen <= length());
  if (pages)
    pages->advance(count);
}

} // namespace chorus::rt
