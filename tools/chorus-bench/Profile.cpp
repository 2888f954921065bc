//===- Profile.cpp - Time per kernel, beside its own limit ----------------===//

#include "Profile.h"

#include "chorus_rt/AtomicFile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>

using namespace chorus;
using namespace chorus::bench;
using Json = nlohmann::ordered_json;

static double seconds(rt::LoopObserver::TimePoint from,
                      rt::LoopObserver::TimePoint to) {
  return std::chrono::duration<double>(to - from).count();
}

void Profile::start() { started = TimePoint::clock::now(); }

void Profile::stop() { stopped = TimePoint::clock::now(); }

void Profile::loopEnded(int64_t kernel, TimePoint begin, TimePoint end) {
  events.push_back({kernel, begin, end});
}

Json Profile::summary(const rt::DecoderCounters &work) const {
  struct Sum {
    uint64_t calls = 0;
    double time = 0;
  };
  std::vector<Sum> sums(code.kernels.size());
  double inKernels = 0;
  for (const Event &event : events)
    if (static_cast<uint64_t>(event.kernel) < sums.size()) {
      Sum &sum = sums[static_cast<size_t>(event.kernel)];
      ++sum.calls;
      sum.time += seconds(event.begin, event.end);
      inKernels += seconds(event.begin, event.end);
    }
  std::vector<size_t> order;
  for (size_t i = 0; i < sums.size(); ++i)
    if (sums[i].calls > 0)
      order.push_back(i);
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return sums[a].time > sums[b].time; });
  Json kernels = Json::array();
  for (size_t i : order) {
    const rt::KernelInfo &kernel = code.kernels[i];
    // A loop of a layer function runs once for each layer and step, always
    // over all of the step's rows.
    double perStep =
        static_cast<double>(sums[i].calls) / static_cast<double>(work.steps);
    uint64_t rows = kernel.perPosition       ? work.positionsRead
                    : kernel.rowsSymbol == 0 ? work.rowsComputed
                                             : work.outputRows;
    double total = perStep * static_cast<double>(rows);
    kernels.push_back(
        {{"name", kernel.name},
         {"calls", sums[i].calls},
         {"seconds", sums[i].time},
         {"int8_operations", total * double(kernel.int8Operations)},
         {"f32_operations", total * double(kernel.f32Operations)},
         {"weight_bytes", double(sums[i].calls) * double(kernel.weightBytes)}});
  }
  double all = seconds(started, stopped);
  kernels.push_back({{"name", "rest"},
                     {"calls", work.steps},
                     {"seconds", all - inKernels},
                     {"int8_operations", 0},
                     {"f32_operations", 0},
                     {"weight_bytes", 0}});
  return {{"seconds", all}, {"steps", work.steps}, {"kernels", kernels}};
}

rt::Status Profile::writeTrace(const std::string &path) const {
  rt::StatusOr<rt::AtomicFile> file = rt::AtomicFile::create(path);
  CHORUS_RETURN_IF_ERROR(file.status());
  std::string text = "{\"traceEvents\":[\n";
  char line[320];
  for (size_t i = 0; i < events.size(); ++i) {
    const Event &event = events[i];
    std::string_view name =
        static_cast<uint64_t>(event.kernel) < code.kernels.size()
            ? code.kernels[static_cast<size_t>(event.kernel)].name
            : "loop";
    std::snprintf(line, sizeof line,
                  "%s{\"name\":\"%.*s\",\"ph\":\"X\",\"pid\":1,\"tid\":1,"
                  "\"ts\":%.3f,\"dur\":%.3f}",
                  i ? ",\n" : "",
                  static_cast<int>(std::min<size_t>(name.size(), 200)),
                  name.data(), 1e6 * seconds(started, event.begin),
                  1e6 * seconds(event.begin, event.end));
    text += line;
  }
  text += "\n]}\n";
  CHORUS_RETURN_IF_ERROR(file->append(text.data(), text.size()));
  return file->commit();
}

void bench::addShares(Json &summary, const Limits &limits) {
  for (Json &kernel : summary["kernels"]) {
    double time = kernel["seconds"];
    kernel["limit"] = nullptr;
    kernel["share"] = nullptr;
    double largest = 0;
    auto consider = [&](const char *limit, const char *work, double perSecond) {
      double share = kernel[work].get<double>() / time / perSecond;
      if (!(share > largest))
        return;
      largest = share;
      kernel["limit"] = limit;
      kernel["share"] = share;
    };
    consider("int8", "int8_operations", limits.int8OpsPerSecond);
    consider("f32", "f32_operations", limits.f32OpsPerSecond);
    consider("read", "weight_bytes", limits.readBytesPerSecond);
  }
}

void bench::printProfile(const Json &summary) {
  double all = summary["seconds"];
  std::printf("  profile of %lld steps, %.1f ms each\n",
              summary["steps"].get<long long>(),
              1e3 * all / summary["steps"].get<double>());
  std::printf("    %6s %9s %8s %16s  %s\n", "time", "ms/step", "calls",
              "share of limit", "kernel");
  for (const Json &kernel : summary["kernels"]) {
    double time = kernel["seconds"];
    if (time < 1e-3 * all)
      continue;
    char share[32] = "-";
    if (kernel["share"].is_number())
      std::snprintf(share, sizeof share, "%.1f %% %s",
                    100 * kernel["share"].get<double>(),
                    kernel["limit"].get<std::string>().c_str());
    std::printf("    %5.1f%% %9.3f %8lld %16s  %s\n", 100 * time / all,
                1e3 * time / summary["steps"].get<double>(),
                kernel["calls"].get<long long>(), share,
                kernel["name"].get<std::string>().c_str());
  }
}
