//===- Ranker.h - Puts candidates in order ----------------------*- C++ -*-===//

#ifndef CHORUS_RT_RANKER_H
#define CHORUS_RT_RANKER_H

#include "chorus_rt/Generation.h"

#include <cstdint>
#include <vector>

namespace chorus::rt {

/// Rank of each candidate, from 1: higher mean log-probability first, lower
/// index on a tie. Candidates that ended in an error, and those without tokens,
/// come last.
std::vector<int64_t>
rankByMeanLogprob(const std::vector<Candidate> &candidates);

} // namespace chorus::rt

#endif // CHORUS_RT_RANKER_H
