//===- Measure.h - One configuration's speed --------------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_BENCH_MEASURE_H
#define CHORUS_TOOLS_CHORUS_BENCH_MEASURE_H

#include "chorus_rt/Program.h"
#include "support/Console.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <string>

namespace chorus::bench {

/// What is measured.
struct Configuration {
  std::string artifact;
  int64_t promptTokens = 256;
  int64_t generate = 64;
  int64_t candidates = 1;
  int threads = 1;
  int64_t repeat = 5;
  bool profile = false;
  std::string trace; ///< File for the profile's events; empty: none.
};

/// Work of a model's products, from the artifact's facts.
struct ModelWork {
  double layerMultiplyAdds = 0;      ///< Of all layers, for one row.
  double vocabularyMultiplyAdds = 0; ///< Of the vocabulary product, one row.
  /// Weights that the products of a step read; the whole segment where the
  /// artifact does not say.
  uint64_t packedBytes = 0;
  bool int8 = true; ///< The products run on int8.
};

ModelWork modelWork(const rt::Program &program);

/// Runs the repetitions, each with a prompt of its own, and returns the fields
/// of the result that need no limits:
/// {"samples":[{"prefill_tok_s","decode_tok_s","total_tok_s","ttft_s",...}],
///  "rows_computed","peak_rss_bytes","peak_anon_bytes",...}, and "profile", of
/// one more repetition, where it is asked for.
/// An error if other rows were computed than P + n (G - 1) less those that
/// candidates share.
rt::StatusOr<nlohmann::ordered_json> measure(const Configuration &configuration,
                                             tool::Console &console);

} // namespace chorus::bench

#endif // CHORUS_TOOLS_CHORUS_BENCH_MEASURE_H
