//===- Repetitions.cpp - Periodic stretches of a sequence -----------------===//

#include "chorus/Transforms/Repetitions.h"

#include <algorithm>
#include <cstdint>
#include <tuple>

using namespace chorus;

namespace {

/// Lengths of common extensions of two places, by binary search over polynomial
/// hashes modulo 2^61 - 1. A collision can only make a repetition too long, and
/// its odds are below 2^-40 for any text that fits in memory.
class Extensions {
public:
  explicit Extensions(llvm::ArrayRef<unsigned> text)
      : size(text.size()), hashes(size + 1), powers(size + 1) {
    powers[0] = 1;
    for (size_t i = 0; i < size; ++i) {
      hashes[i + 1] = reduce(multiply(hashes[i], base) + text[i] + 1);
      powers[i + 1] = multiply(powers[i], base);
    }
  }

  /// The largest n with text[i, i + n) == text[j, j + n).
  size_t forward(size_t i, size_t j) const {
    return search(size - std::max(i, j),
                  [&](size_t n) { return hash(i, i + n) == hash(j, j + n); });
  }

  /// The largest n with text[i - n, i) == text[j - n, j).
  size_t backward(size_t i, size_t j) const {
    return search(std::min(i, j),
                  [&](size_t n) { return hash(i - n, i) == hash(j - n, j); });
  }

private:
  static constexpr uint64_t modulus = (uint64_t(1) << 61) - 1;
  static constexpr uint64_t base = 0x0b4e5cd3a1f29687;

  static uint64_t reduce(uint64_t x) { return x >= modulus ? x - modulus : x; }
  static uint64_t multiply(uint64_t a, uint64_t b) {
    auto product = static_cast<unsigned __int128>(a) * b;
    return reduce((static_cast<uint64_t>(product) & modulus) +
                  static_cast<uint64_t>(product >> 61));
  }
  uint64_t hash(size_t begin, size_t end) const {
    return reduce(hashes[end] + modulus -
                  multiply(hashes[begin], powers[end - begin]));
  }

  template <typename Equal> static size_t search(size_t limit, Equal equal) {
    size_t low = 0;
    while (low < limit) {
      size_t middle = low + (limit - low + 1) / 2;
      if (equal(middle))
        low = middle;
      else
        limit = middle - 1;
    }
    return low;
  }

  size_t size;
  std::vector<uint64_t> hashes, powers;
};

} // namespace

std::vector<Repetition> chorus::findRepetitions(llvm::ArrayRef<unsigned> text) {
  const size_t size = text.size();
  Extensions extensions(text);
  std::vector<Repetition> repetitions;
  std::vector<size_t> wordEnd(size);
  for (bool reversed : {false, true}) {
    // Whether the suffix at i precedes the one at j > i.
    auto precedes = [&](size_t i, size_t j) {
      size_t common = extensions.forward(i, j);
      return j + common < size &&
             (text[i + common] < text[j + common]) != reversed;
    };
    for (size_t i = size; i-- > 0;) {
      size_t end = i + 1;
      while (end < size && precedes(i, end))
        end = wordEnd[end];
      wordEnd[i] = end;
      if (end == size)
        continue;
      size_t begin = i - extensions.backward(i, end);
      size_t stop = end + extensions.forward(i, end);
      size_t period = end - i;
      if (stop - begin >= 2 * period)
        repetitions.push_back({begin, stop, period});
    }
  }
  auto key = [](const Repetition &r) {
    return std::tuple(r.begin, r.end, r.period);
  };
  llvm::sort(repetitions,
             [&](const auto &a, const auto &b) { return key(a) < key(b); });
  repetitions.erase(std::unique(repetitions.begin(), repetitions.end(),
                                [&](const auto &a, const auto &b) {
                                  return key(a) == key(b);
                                }),
                    repetitions.end());
  return repetitions;
}
