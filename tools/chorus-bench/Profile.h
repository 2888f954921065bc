//===- Profile.h - Time per kernel, beside its own limit --------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_BENCH_PROFILE_H
#define CHORUS_TOOLS_CHORUS_BENCH_PROFILE_H

#include "Limits.h"

#include "chorus_rt/Decoder.h"
#include "chorus_rt/Program.h"
#include "chorus_rt/ThreadPool.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace chorus::bench {

/// Collects the loops of compiled code between start() and stop().
class Profile : public rt::LoopObserver {
public:
  explicit Profile(const rt::CodeInfo &code) : code(code) {}

  void start();
  void stop();
  void loopEnded(int64_t kernel, TimePoint begin, TimePoint end) override;

  /// {"seconds", "kernels": [{"name", "calls", "seconds", "int8_operations",
  /// "f32_operations", "weight_bytes"}]}, most time first; a last one, "rest",
  /// is what no kernel took: sampling, scheduling. `work`: rows that were
  /// computed in between.
  nlohmann::ordered_json summary(const rt::DecoderCounters &work) const;

  /// Writes the loops in Chrome's trace event format, which Perfetto opens.
  /// IO error if the file can't be written.
  rt::Status writeTrace(const std::string &path) const;

private:
  struct Event {
    int64_t kernel;
    TimePoint begin, end;
  };
  const rt::CodeInfo &code;
  TimePoint started, stopped;
  std::vector<Event> events;
};

/// Adds to each kernel of a summary which limit is its own, "int8", "f32" or
/// "read", and its share of it; null for kernels without counted work.
void addShares(nlohmann::ordered_json &summary, const Limits &limits);

/// A table of the kernels that take 0.1 % of the time or more.
void printProfile(const nlohmann::ordered_json &summary);

} // namespace chorus::bench

#endif // CHORUS_TOOLS_CHORUS_BENCH_PROFILE_H
