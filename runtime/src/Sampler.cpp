//===- Sampler.cpp - From logits to one token -----------------------------===//

#include "chorus_rt/Sampler.h"

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <cstring>
#include <emmintrin.h>
#include <limits>

namespace chorus::rt {

using MassSum = unsigned __int128;

static constexpr float minusInfinity = -std::numeric_limits<float>::infinity();

/// Columns whose largest logit is kept, to skip most columns later on.
static constexpr int64_t groupColumns = 64;

/// Columns whose masses are held in L1 at a time.
static constexpr int64_t blockColumns = CHORUS_SAMPLING_BLOCK;

static int64_t numGroups(int64_t vocab) {
  return (vocab + groupColumns - 1) / groupColumns;
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

/// As %g, in any locale.
static std::string shortNumber(double value) {
  char buffer[32];
  std::to_chars_result end =
      std::to_chars(buffer, buffer + sizeof buffer, value,
                    std::chars_format::general, /*precision=*/6);
  return std::string(buffer, end.ptr);
}

static Status checkRange(const char *field, double value, double low,
                         double high) {
  // Written so that NaN fails.
  if (value >= low && value <= high)
    return Status();
  return usageError(std::string(field) + " is " + shortNumber(value) +
                    ", allowed is " + shortNumber(low) + " to " +
                    shortNumber(high));
}

Status SamplingParameters::validate(int64_t vocabSize) const {
  if (temperature != 0 &&
      !(temperature >= minTemperature && temperature <= maxTemperature))
    return usageError("temperature is " + shortNumber(temperature) +
                      ", allowed is 0 or " + shortNumber(minTemperature) +
                      " to " + shortNumber(maxTemperature));
  if (!(topP > 0 && topP <= 1))
    return usageError("top-p is " + shortNumber(topP) +
                      ", allowed is above 0, to 1");
  CHORUS_RETURN_IF_ERROR(checkRange("min-p", minP, 0, 1));
  if (topK < 0)
    return usageError("top-k is " + std::to_string(topK) +
                      ", allowed is 0 (off) and up");
  CHORUS_RETURN_IF_ERROR(
      checkRange("repetition-penalty", repetitionPenalty, 0.01, 100));
  CHORUS_RETURN_IF_ERROR(
      checkRange("presence-penalty", presencePenalty, -100, 100));
  CHORUS_RETURN_IF_ERROR(
      checkRange("frequency-penalty", frequencyPenalty, -100, 100));
  if (minTokens < 0)
    return usageError("min-tokens is " + std::to_string(minTokens) +
                      ", allowed is 0 and up");
  auto checkId = [vocabSize](const char *field, int32_t id, int32_t before) {
    if (id < 0 || id >= vocabSize)
      return usageError(std::string(field) + " names token " +
                        std::to_string(id) + ", allowed is 0 to " +
                        std::to_string(vocabSize - 1));
    if (id <= before)
      return usageError(std::string(field) + " names token " +
                        std::to_string(id) + " twice or out of order");
    return Status();
  };
  int32_t before = -1;
  for (int32_t id : allowedTokens) {
    CHORUS_RETURN_IF_ERROR(checkId("allowed", id, before));
    before = id;
  }
  before = -1;
  for (auto [id, bias] : logitBias) {
    CHORUS_RETURN_IF_ERROR(checkId("logit-bias", id, before));
    before = id;
    CHORUS_RETURN_IF_ERROR(checkRange("logit-bias", bias, -1000, 1000));
  }
  return Status();
}

void TokenCounts::add(int32_t token) {
  auto at = std::lower_bound(entries.begin(), entries.end(),
                             std::make_pair(token, INT32_MIN));
  if (at != entries.end() && at->first == token)
    ++at->second;
  else
    entries.insert(at, {token, 1});
}

//===----------------------------------------------------------------------===//
// Exact arithmetic on masses
//===----------------------------------------------------------------------===//

namespace {
/// A product rounded down, and whether nothing was cut off.
struct WholeProduct {
  uint64_t whole;
  bool exact;
};
} // namespace

static WholeProduct multiply(double fraction, uint64_t value) {
  if (fraction <= 0 || value == 0)
    return {0, true};
  if (fraction >= 1)
    return {value, true};
  int exponent;
  double mantissa = std::frexp(fraction, &exponent); // [0.5, 1)
  MassSum numerator =
      static_cast<MassSum>(static_cast<uint64_t>(std::ldexp(mantissa, 53))) *
      value;
  int shift = 53 - exponent;
  if (shift >= 128)
    return {0, false};
  MassSum whole = numerator >> shift;
  return {static_cast<uint64_t>(whole), (whole << shift) == numerator};
}

uint64_t scaleDown(double fraction, uint64_t value) {
  return multiply(fraction, value).whole;
}

uint64_t scaleUp(double fraction, uint64_t value) {
  auto [whole, exact] = multiply(fraction, value);
  return whole + !exact;
}

/// floor(u * total) for u = random24 / 2^24.
static uint64_t drawTarget(uint32_t random24, uint64_t total) {
  return static_cast<uint64_t>((static_cast<MassSum>(random24) * total) >> 24);
}

static uint64_t sumOf(const uint64_t *masses, int64_t count) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += masses[i];
  return sum;
}

//===----------------------------------------------------------------------===//
// One pass over a row
//===----------------------------------------------------------------------===//

static float horizontalMax(__m128 x) {
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  x = _mm_max_ss(x, _mm_shuffle_ps(x, x, 1));
  return _mm_cvtss_f32(x);
}

/// Writes the largest logit of each group and returns the largest of all; NaN
/// if there is a NaN.
static float scanRow(const float *logits, int64_t vocab, float *groupMaxima) {
  __m128 unordered = _mm_setzero_ps();
  float largest = minusInfinity;
  int64_t group = 0, column = 0;
  for (; column + groupColumns <= vocab; column += groupColumns, ++group) {
    __m128 max0 = _mm_loadu_ps(logits + column), max1 = max0;
    unordered = _mm_or_ps(unordered, _mm_cmpunord_ps(max0, max0));
    for (int64_t i = 4; i < groupColumns; i += 4) {
      __m128 x = _mm_loadu_ps(logits + column + i);
      unordered = _mm_or_ps(unordered, _mm_cmpunord_ps(x, x));
      __m128 &max = i & 4 ? max1 : max0;
      max = _mm_max_ps(max, x);
    }
    float max = horizontalMax(_mm_max_ps(max0, max1));
    groupMaxima[group] = max;
    largest = std::max(largest, max);
  }
  bool isNaN = _mm_movemask_ps(unordered) != 0;
  if (column < vocab) {
    float max = minusInfinity;
    for (; column < vocab; ++column) {
      isNaN |= std::isnan(logits[column]);
      max = std::max(max, logits[column]);
    }
    groupMaxima[group] = max;
    largest = std::max(largest, max);
  }
  return isNaN ? std::numeric_limits<float>::quiet_NaN() : largest;
}

//===----------------------------------------------------------------------===//
// Scratch memory
//===----------------------------------------------------------------------===//

/// Memory of one call. The lists hold kept columns in rising id.
struct Sampler::Scratch {
  explicit Scratch(int64_t vocab)
      : groupMaxima(static_cast<size_t>(numGroups(vocab))),
        groupMasses(groupMaxima.size()),
        block(static_cast<size_t>(std::max(blockColumns, groupColumns))),
        blockSums(
            static_cast<size_t>((vocab + blockColumns - 1) / blockColumns)) {}

  /// In the list of those that are free, which grows without memory.
  std::unique_ptr<Scratch> next;

  std::vector<float> groupMaxima;
  std::vector<uint64_t> groupMasses;
  std::vector<uint64_t> block;
  std::vector<uint64_t> blockSums;
  std::vector<float> adjusted; // The row after mask, bias and penalties.
  std::vector<int32_t> ids;
  std::vector<float> values;
  std::vector<float> ordered;
  std::vector<uint64_t> masses;
  std::vector<uint64_t> bucket;
};

/// What is left before the draw: Scratch's ids and masses, of which a mass is
/// kept if it is above `threshold`, or equal to it and among the first
/// `keptEqual` of those, and at least `least`.
struct Sampler::Selection {
  bool all = false; ///< No list: every column is kept.
  float max = 0;
  float inverseTemperature = 1;
  uint64_t threshold = 0;
  uint64_t keptEqual = 0;
  uint64_t least = 1;
};

class Sampler::ScratchLease {
public:
  explicit ScratchLease(const Sampler &sampler) : sampler(sampler) {
    {
      std::lock_guard<std::mutex> lock(sampler.scratchMutex);
      if (sampler.freeScratch) {
        scratch = std::move(sampler.freeScratch);
        sampler.freeScratch = std::move(scratch->next);
      }
    }
    if (!scratch)
      scratch = std::make_unique<Scratch>(sampler.vocab);
  }
  ~ScratchLease() {
    std::lock_guard<std::mutex> lock(sampler.scratchMutex);
    scratch->next = std::move(sampler.freeScratch);
    sampler.freeScratch = std::move(scratch);
  }
  Scratch &operator*() { return *scratch; }

private:
  const Sampler &sampler;
  std::unique_ptr<Scratch> scratch;
};

Sampler::Sampler(int64_t vocabSize, chorus_sampling_masses_fn masses,
                 chorus_sampling_sums_fn sums)
    : vocab(vocabSize), massesOf(masses), sumsOf(sums) {
  assert(vocabSize > 0 && vocabSize <= maxVocab);
}

Sampler::~Sampler() = default;

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

/// Mask, bias and penalties. Returns the row itself where there are none.
const float *Sampler::adjustLogits(Scratch &scratch,
                                   const SamplerRow &row) const {
  const SamplingParameters &parameters = *row.parameters;
  const std::vector<int32_t> &allowed = parameters.allowedTokens;
  bool masks = row.masked && !row.masked->empty();
  bool repeats = parameters.repetitionPenalty != 1;
  bool counts = row.generated && (parameters.presencePenalty != 0 ||
                                  parameters.frequencyPenalty != 0);
  if (!masks && !repeats && !counts && allowed.empty() &&
      parameters.logitBias.empty())
    return row.logits;
  scratch.adjusted.assign(row.logits, row.logits + vocab);
  float *logits = scratch.adjusted.data();
  auto mask = [logits](int64_t begin, int64_t end) {
    for (int64_t id = begin; id < end; ++id)
      // A NaN stays, so that it is seen.
      if (!std::isnan(logits[id]))
        logits[id] = minusInfinity;
  };
  if (!allowed.empty()) {
    int64_t next = 0;
    for (int32_t id : allowed) {
      mask(next, id);
      next = int64_t(id) + 1;
    }
    mask(next, vocab);
  }
  if (masks)
    for (int32_t id : *row.masked)
      mask(id, int64_t(id) + 1);
  for (auto [id, bias] : parameters.logitBias)
    logits[id] += bias;
  if (repeats) {
    float penalty = static_cast<float>(parameters.repetitionPenalty);
    auto penalise = [&](int32_t id) {
      float &logit = logits[id];
      logit = logit >= 0 ? logit / penalty : logit * penalty;
    };
    static const std::vector<int32_t> noTokens;
    const std::vector<int32_t> &prompt =
        row.promptTokens ? *row.promptTokens : noTokens;
    for (int32_t id : prompt)
      penalise(id);
    if (row.generated)
      for (auto [id, count] : row.generated->counts())
        if (!std::binary_search(prompt.begin(), prompt.end(), id))
          penalise(id);
  }
  if (counts) {
    float frequency = static_cast<float>(parameters.frequencyPenalty);
    float presence = static_cast<float>(parameters.presencePenalty);
    for (auto [id, count] : row.generated->counts()) {
      float &logit = logits[id];
      logit = logit - frequency * static_cast<float>(count);
      logit = logit - presence;
    }
  }
  return logits;
}

/// Fills `ids` and `values` with the columns whose logit is at least
/// `threshold`.
static void gatherAtLeast(const float *logits, int64_t vocab,
                          const std::vector<float> &groupMaxima,
                          float threshold, std::vector<int32_t> &ids,
                          std::vector<float> &values) {
  ids.clear();
  values.clear();
  for (int64_t column = 0, group = 0; column < vocab;
       column += groupColumns, ++group) {
    if (groupMaxima[static_cast<size_t>(group)] < threshold)
      continue;
    int64_t end = std::min(vocab, column + groupColumns);
    for (int64_t i = column; i < end; ++i)
      if (logits[i] >= threshold) {
        ids.push_back(static_cast<int32_t>(i));
        values.push_back(logits[i]);
      }
  }
}

/// The k-th largest of `values`, 1 <= k <= size. Reorders them.
static float kthLargest(std::vector<float> &values, int64_t k) {
  auto at = values.begin() + (k - 1);
  std::nth_element(values.begin(), at, values.end(), std::greater<float>());
  return *at;
}

/// Bucket of a mass: its power of two and the next 5 bits. Rises with the mass.
static constexpr int bucketBits = 5;
static constexpr size_t numBuckets = size_t(54) << bucketBits;
static size_t bucketOf(uint64_t mass) {
  // Exact, since a mass is below 2^53; 0 is bucket 0.
  double value = static_cast<double>(static_cast<int64_t>(mass));
  uint64_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  uint64_t key = bits >> (52 - bucketBits);
  uint64_t base = (uint64_t(1023) << bucketBits) - 1;
  return key < base ? 0 : static_cast<size_t>(key - base);
}

/// Top-p over masses: finds the mass of the last kept item in falling order and
/// how many of that mass are kept. An item is kept iff the sum of those before
/// it is at most `limit`, which is less than the sum of all.
static void findTopP(const std::vector<uint64_t> &masses, uint64_t limit,
                     std::vector<uint64_t> &bucket, uint64_t &threshold,
                     uint64_t &keptEqual) {
  uint64_t sums[numBuckets] = {};
  for (uint64_t mass : masses)
    sums[bucketOf(mass)] += mass;
  uint64_t before = 0;
  size_t crossing = numBuckets - 1;
  while (sums[crossing] <= limit - before)
    before += sums[crossing--];
  bucket.clear();
  for (uint64_t mass : masses)
    if (bucketOf(mass) == crossing)
      bucket.push_back(mass);
  // The last kept item is in `bucket`. Narrow its mass down, 6 bits at a time.
  auto [least, most] = std::minmax_element(bucket.begin(), bucket.end());
  uint64_t low = *least, high = *most;
  while (low < high) {
    int width = 64 - __builtin_clzll(high - low);
    int shift = std::max(0, width - 6);
    uint64_t parts[64] = {};
    for (uint64_t mass : bucket)
      parts[(mass - low) >> shift] += mass;
    size_t part = 63;
    while (parts[part] <= limit - before)
      before += parts[part--];
    uint64_t first = low + (static_cast<uint64_t>(part) << shift);
    uint64_t last = first + ((uint64_t(1) << shift) - 1);
    size_t kept = 0;
    for (uint64_t mass : bucket)
      if (mass >= first && mass <= last)
        bucket[kept++] = mass;
    bucket.resize(kept);
    low = first;
    high = last;
  }
  threshold = low;
  keptEqual = (limit - before) / low + 1;
}

/// Temperature, top-k, top-p and min-p.
Status Sampler::select(Scratch &scratch, const SamplerRow &row,
                       const float *logits, Selection &selection) const {
  const SamplingParameters &parameters = *row.parameters;
  float inverse = static_cast<float>(1 / parameters.temperature);
  float max = selection.max;
  selection.inverseTemperature = inverse;
  bool topK = parameters.topK > 0 && parameters.topK < vocab;
  bool topP = parameters.topP < 1;
  selection.all = !topK && !topP && parameters.minP == 0;
  if (selection.all)
    return Status();

  uint64_t largest;
  massesOf(&max, 1, max, inverse, &largest);
  uint64_t total = 0;
  if (topK) {
    // The k largest group maxima bound the k-th largest logit from below.
    float bound = minusInfinity;
    if (parameters.topK <= numGroups(vocab)) {
      scratch.ordered = scratch.groupMaxima;
      bound = kthLargest(scratch.ordered, parameters.topK);
    }
    gatherAtLeast(logits, vocab, scratch.groupMaxima, bound, scratch.ids,
                  scratch.values);
    scratch.ordered = scratch.values;
    float kth = kthLargest(scratch.ordered, parameters.topK);
    size_t kept = 0;
    for (size_t i = 0; i < scratch.ids.size(); ++i)
      if (scratch.values[i] >= kth) {
        scratch.ids[kept] = scratch.ids[i];
        scratch.values[kept++] = scratch.values[i];
      }
    scratch.ids.resize(kept);
    scratch.values.resize(kept);
    scratch.masses.resize(kept);
    massesOf(scratch.values.data(), static_cast<int64_t>(kept), max, inverse,
             scratch.masses.data());
    total = sumOf(scratch.masses.data(), static_cast<int64_t>(kept));
  } else {
    massesOf(scratch.groupMaxima.data(), numGroups(vocab), max, inverse,
             scratch.groupMasses.data());
    if (topP) {
      total = sumBlocks(scratch, logits, max, inverse);
      // All masses below (1-p) * total / vocab together are at most
      // (1-p) * total, so that those of at least that always suffice. Mostly
      // far fewer do.
      uint64_t limit = scaleDown(parameters.topP, total);
      uint64_t sure = std::max<uint64_t>(
          (total - limit - 1) / static_cast<uint64_t>(vocab), 1);
      for (uint64_t bound = sure << 9;; bound = std::max(bound >> 3, sure))
        if (gatherMasses(scratch, logits, max, inverse, bound) > limit ||
            bound == sure)
          break;
    } else {
      gatherMasses(scratch, logits, max, inverse,
                   std::max<uint64_t>(scaleUp(parameters.minP, largest), 1));
    }
  }
  if (topP)
    findTopP(scratch.masses, scaleDown(parameters.topP, total), scratch.bucket,
             selection.threshold, selection.keptEqual);
  // The largest mass survives all stages before.
  selection.least = std::max<uint64_t>(1, scaleUp(parameters.minP, largest));
  return Status();
}

/// Calls `visit(index)` for the kept items of the lists, in rising id, until it
/// returns true.
template <typename Visit>
static void forEachKept(const std::vector<uint64_t> &masses, uint64_t threshold,
                        uint64_t keptEqual, uint64_t least, Visit &&visit) {
  for (size_t i = 0; i < masses.size(); ++i) {
    uint64_t mass = masses[i];
    if (mass <= threshold) {
      if (mass != threshold || keptEqual == 0)
        continue;
      --keptEqual;
    }
    if (mass >= least && visit(i))
      return;
  }
}

/// Fills in the sums of all blocks and returns the sum of all masses.
uint64_t Sampler::sumBlocks(Scratch &scratch, const float *logits, float max,
                            float inverseTemperature) const {
  std::vector<uint64_t> &sums = scratch.blockSums;
  if (sumsOf) {
    sumsOf(logits, vocab, max, inverseTemperature, sums.data());
  } else {
    for (int64_t column = 0, b = 0; column < vocab;
         column += blockColumns, ++b) {
      int64_t count = std::min(blockColumns, vocab - column);
      massesOf(logits + column, count, max, inverseTemperature,
               scratch.block.data());
      sums[static_cast<size_t>(b)] = sumOf(scratch.block.data(), count);
    }
  }
  return sumOf(sums.data(), static_cast<int64_t>(sums.size()));
}

/// Lists the columns whose mass is at least `bound` and returns the sum of
/// those masses.
uint64_t Sampler::gatherMasses(Scratch &scratch, const float *logits, float max,
                               float inverseTemperature, uint64_t bound) const {
  uint64_t sum = 0;
  scratch.ids.clear();
  scratch.masses.clear();
  for (int64_t column = 0, group = 0; column < vocab;
       column += groupColumns, ++group) {
    if (scratch.groupMasses[static_cast<size_t>(group)] < bound)
      continue;
    int64_t count = std::min(groupColumns, vocab - column);
    massesOf(logits + column, count, max, inverseTemperature,
             scratch.block.data());
    size_t kept = scratch.ids.size();
    scratch.ids.resize(kept + static_cast<size_t>(count));
    scratch.masses.resize(kept + static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) {
      uint64_t mass = scratch.block[static_cast<size_t>(i)];
      bool keeps = mass >= bound;
      scratch.ids[kept] = static_cast<int32_t>(column + i);
      scratch.masses[kept] = mass;
      kept += keeps;
      sum += keeps ? mass : 0;
    }
    scratch.ids.resize(kept);
    scratch.masses.resize(kept);
  }
  return sum;
}

int32_t Sampler::drawFromAll(Scratch &scratch, const float *logits, float max,
                             float inverseTemperature,
                             uint32_t random24) const {
  uint64_t total = sumBlocks(scratch, logits, max, inverseTemperature);
  uint64_t target = drawTarget(random24, total), running = 0;
  size_t crossing = 0;
  while (running + scratch.blockSums[crossing] <= target)
    running += scratch.blockSums[crossing++];
  int64_t column = static_cast<int64_t>(crossing) * blockColumns;
  massesOf(logits + column, std::min(blockColumns, vocab - column), max,
           inverseTemperature, scratch.block.data());
  size_t i = 0;
  while (running + scratch.block[i] <= target)
    running += scratch.block[i++];
  return static_cast<int32_t>(column + static_cast<int64_t>(i));
}

static Status nonFiniteLogits() {
  return Status::error(ExitCode::SomeRecordsFailed, "N01", "logits",
                       "the model gave NaN or infinity");
}

static Status everythingMasked() {
  return Status::error(ExitCode::SomeRecordsFailed, "N02", "logits",
                       "no token is allowed");
}

static Status checkMax(float max) {
  if (std::isnan(max) || max == -minusInfinity)
    return nonFiniteLogits();
  if (max == minusInfinity)
    return everythingMasked();
  return Status();
}

SampledToken Sampler::sampleWith(Scratch &scratch,
                                 const SamplerRow &row) const {
  SampledToken token;
  const float *logits = adjustLogits(scratch, row);
  float max = scanRow(logits, vocab, scratch.groupMaxima.data());
  token.status = checkMax(max);
  if (!token.status.ok())
    return token;
  if (row.parameters->temperature == 0) {
    size_t group = 0;
    while (scratch.groupMaxima[group] != max)
      ++group;
    int64_t column = static_cast<int64_t>(group) * groupColumns;
    while (logits[column] != max)
      ++column;
    token.id = static_cast<int32_t>(column);
  } else {
    Selection selection;
    selection.max = max;
    token.status = select(scratch, row, logits, selection);
    if (!token.status.ok())
      return token;
    if (selection.all) {
      token.id = drawFromAll(scratch, logits, max, selection.inverseTemperature,
                             row.random24);
    } else {
      uint64_t total = 0;
      forEachKept(scratch.masses, selection.threshold, selection.keptEqual,
                  selection.least, [&](size_t i) {
                    total += scratch.masses[i];
                    return false;
                  });
      uint64_t target = drawTarget(row.random24, total), running = 0;
      forEachKept(scratch.masses, selection.threshold, selection.keptEqual,
                  selection.least, [&](size_t i) {
                    running += scratch.masses[i];
                    token.id = scratch.ids[i];
                    return running > target;
                  });
    }
  }
  token.logprob = row.logits[token.id] - row.logSumExp;
  return token;
}

SampledToken Sampler::sample(const SamplerRow &row) const {
  try {
    ScratchLease scratch(*this);
    return sampleWith(*scratch, row);
  } catch (const std::bad_alloc &) {
    SampledToken token;
    token.status = limitError("N10", "sampler", "out of memory");
    return token;
  }
}

Status Sampler::remainingMasses(const SamplerRow &row,
                                std::vector<uint64_t> &masses) const {
  ScratchLease lease(*this);
  Scratch &scratch = *lease;
  const float *logits = adjustLogits(scratch, row);
  Selection selection;
  selection.max = scanRow(logits, vocab, scratch.groupMaxima.data());
  CHORUS_RETURN_IF_ERROR(checkMax(selection.max));
  CHORUS_RETURN_IF_ERROR(select(scratch, row, logits, selection));
  masses.assign(static_cast<size_t>(vocab), 0);
  if (selection.all)
    massesOf(logits, vocab, selection.max, selection.inverseTemperature,
             masses.data());
  else
    forEachKept(scratch.masses, selection.threshold, selection.keptEqual,
                selection.least, [&](size_t i) {
                  masses[static_cast<size_t>(scratch.ids[i])] =
                      scratch.masses[i];
                  return false;
                });
  return Status();
}

void Sampler::likeliest(const float *logits, int64_t vocabSize, float logSumExp,
                        int64_t count, std::vector<int32_t> &ids,
                        std::vector<float> &logprobs) {
  count = std::min(count, vocabSize);
  ids.resize(static_cast<size_t>(vocabSize));
  for (int64_t i = 0; i < vocabSize; ++i)
    ids[static_cast<size_t>(i)] = static_cast<int32_t>(i);
  auto before = [logits](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  auto end = ids.begin() + count;
  if (count < vocabSize)
    std::nth_element(ids.begin(), end, ids.end(), before);
  std::sort(ids.begin(), end, before);
  ids.resize(static_cast<size_t>(count));
  logprobs.resize(ids.size());
  for (size_t i = 0; i < ids.size(); ++i)
    logprobs[i] = logits[ids[i]] - logSumExp;
}

} // namespace chorus::rt
