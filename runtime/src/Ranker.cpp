//===- Ranker.cpp - Puts candidates in order ------------------------------===//

#include "chorus_rt/Ranker.h"

#include <algorithm>
#include <numeric>

namespace chorus::rt {

std::vector<int64_t>
rankByMeanLogprob(const std::vector<Candidate> &candidates) {
  struct Key {
    bool scored;
    double score;
  };
  std::vector<Key> keys;
  for (const Candidate &candidate : candidates)
    keys.push_back({candidate.finishReason != FinishReason::Error &&
                        !candidate.logprobs.empty(),
                    candidate.meanLogprob()});
  std::vector<size_t> order(candidates.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (keys[a].scored != keys[b].scored)
      return keys[a].scored;
    if (keys[a].scored && keys[a].score != keys[b].score)
      return keys[a].score > keys[b].score;
    return candidates[a].index < candidates[b].index;
  });
  std::vector<int64_t> ranks(candidates.size());
  for (size_t i = 0; i < order.size(); ++i)
    ranks[order[i]] = static_cast<int64_t>(i) + 1;
  return ranks;
}

} // namespace chorus::rt
