//===- Report.h - Measurements as a page to read ----------------*- C++ -*-===//

#ifndef CHORUS_TOOLS_CHORUS_BENCH_REPORT_H
#define CHORUS_TOOLS_CHORUS_BENCH_REPORT_H

#include "chorus_rt/Status.h"

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace chorus::bench {

/// Writes one HTML file that needs no other: a table of all configurations,
/// a plot of tokens/s against candidates beside what the int8 peak allows, the
/// shares of the limits, and each profile. `results`: chorus-bench's objects.
/// `peers`: what benchmarks/peers/run writes; null for none. IO error if the
/// file can't be written.
rt::Status writeReport(const std::string &path,
                       const nlohmann::ordered_json &results,
                       const nlohmann::ordered_json &peers);

} // namespace chorus::bench

#endif // CHORUS_TOOLS_CHORUS_BENCH_REPORT_H
