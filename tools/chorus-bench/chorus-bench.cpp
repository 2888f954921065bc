//===- chorus-bench.cpp - Speed as a share of what the machine can do -----===//

#include "ChildProcess.h"
#include "Limits.h"
#include "Measure.h"
#include "Profile.h"
#include "Report.h"

#include "chorus_rt/Generation.h"
#include "chorus_rt/ThreadPool.h"
#include "support/ToolMain.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <fstream>

using namespace chorus;
using namespace chorus::bench;
using Json = nlohmann::ordered_json;

namespace {

struct Options {
  std::string artifact;
  int64_t promptTokens = 256, generate = 64, repeat = 5;
  uint64_t readBuffer = 0; ///< Bytes; 0: as many as the packed weights have.
  std::vector<int64_t> candidates = {1};
  std::vector<int> threads;
  bool profile = false, json = false;
  std::string trace, report, peers;
};

} // namespace

static void addOptions(CLI::App &app, Options &options) {
  app.add_option("A.chorus", options.artifact, "Compiled model")
      ->required()
      ->check(tool::readablePath());
  const char *group = "Work";
  app.add_option("--prompt-tokens", options.promptTokens, "Prompt's length")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30))
      ->group(group);
  app.add_option("--generate", options.generate, "Tokens per candidate")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 30))
      ->group(group);
  app.add_option("--candidates", options.candidates,
                 "Candidates; several with commas")
      ->delimiter(',')
      ->check(CLI::Range(int64_t(1), rt::Request::maxCandidates))
      ->group(group);
  app.add_option("--threads", options.threads,
                 "Threads; several with commas. Default: one for each core")
      ->delimiter(',')
      ->check(CLI::Range(1, rt::ThreadPool::maxThreads))
      ->group(group);
  app.add_option("--repeat", options.repeat,
                 "Repetitions, of which the median counts")
      ->check(CLI::Range(int64_t(1), int64_t(1000)))
      ->group(group);
  app.add_option("--read-buffer", options.readBuffer,
                 "Bytes over which the read bandwidth is measured. Default: "
                 "the weights' size")
      ->check(CLI::Range(uint64_t(1) << 16, uint64_t(1) << 40))
      ->group(group);
  app.add_flag("--profile", options.profile,
               "Also time each kernel, in one more repetition, beside its own "
               "limit")
      ->group("Output");
  app.add_option("--trace", options.trace,
                 "With --profile: file for the kernels' times, which Perfetto "
                 "opens; of the last configuration")
      ->needs("--profile")
      ->group("Output");
  auto *report =
      app.add_option("--report", options.report,
                     "HTML file with tables and plots of all configurations")
          ->type_name("FILE")
          ->group("Output");
  app.add_option("--peers", options.peers,
                 "Figures of peers for the report: what benchmarks/peers/run "
                 "writes")
      ->check(tool::readablePath())
      ->needs(report)
      ->group("Output");
  app.add_flag("--json", options.json, "One object a line and configuration")
      ->group("Output");
}

static std::string cpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.compare(0, 10, "model name") == 0)
      if (size_t at = line.find(": "); at != std::string::npos)
        return rt::escapeForMessage(line.substr(at + 2));
  return "unknown";
}

static rt::StatusOr<Limits> limitsInChild(int threads, uint64_t bufferBytes) {
  rt::StatusOr<Json> measured = runInChild([&]() -> rt::StatusOr<Json> {
    rt::StatusOr<Limits> limits = measureLimits(threads, bufferBytes);
    CHORUS_RETURN_IF_ERROR(limits.status());
    return Json({limits->readBytesPerSecond, limits->int8OpsPerSecond,
                 limits->f32OpsPerSecond, limits->amxInt8OpsPerSecond});
  });
  CHORUS_RETURN_IF_ERROR(measured.status());
  return Limits{measured->at(0), measured->at(1), measured->at(2),
                measured->at(3)};
}

/// Median, least and largest of a field of the samples; null if it is null.
static Json summary(const Json &samples, const char *field, double quantile) {
  std::vector<double> values;
  for (const Json &sample : samples)
    if (sample.at(field).is_number())
      values.push_back(sample.at(field));
  if (values.empty())
    return nullptr;
  std::sort(values.begin(), values.end());
  size_t last = values.size() - 1;
  size_t at = static_cast<size_t>(quantile * static_cast<double>(last));
  // The median of an even count lies between two.
  if (quantile == 0.5 && last % 2 == 1)
    return (values[at] + values[at + 1]) / 2;
  return values[at];
}

static Json shares(const Configuration &configuration, const ModelWork &work,
                   const Json &result, const Limits &limits) {
  double P = double(configuration.promptTokens);
  double G = double(configuration.generate);
  double n = double(configuration.candidates);
  double layers = 2 * work.layerMultiplyAdds;
  double vocabulary = 2 * work.vocabularyMultiplyAdds;
  Json share;
  share["prefill_int8"] = nullptr;
  share["decode_read"] = nullptr;
  share["total_int8"] = nullptr;
  if (work.layerMultiplyAdds > 0 && work.int8) {
    // Of the prompt's rows only the last one has a vocabulary product.
    double prefillSeconds = P / result["prefill_tok_s"].get<double>();
    share["prefill_int8"] =
        (layers * P + vocabulary) / prefillSeconds / limits.int8OpsPerSecond;
    double decodeRows = result["rows_computed"].get<double>() - P;
    double totalSeconds = n * G / result["total_tok_s"].get<double>();
    share["total_int8"] =
        (layers * (P + decodeRows) + vocabulary * (1 + decodeRows)) /
        totalSeconds / limits.int8OpsPerSecond;
  }
  if (result["decode_tok_s"].is_number()) {
    double stepSeconds = n / result["decode_tok_s"].get<double>();
    share["decode_read"] =
        double(work.packedBytes) / stepSeconds / limits.readBytesPerSecond;
  }
  return share;
}

static rt::StatusOr<Json> runConfiguration(const Configuration &configuration,
                                           const ModelWork &work,
                                           uint64_t readBuffer,
                                           tool::Console &console) {
  rt::StatusOr<Limits> before =
      limitsInChild(configuration.threads, readBuffer);
  CHORUS_RETURN_IF_ERROR(before.status());
  rt::StatusOr<Json> measured =
      runInChild([&] { return measure(configuration, console); });
  CHORUS_RETURN_IF_ERROR(measured.status());
  rt::StatusOr<Limits> after = limitsInChild(configuration.threads, readBuffer);
  CHORUS_RETURN_IF_ERROR(after.status());
  Limits limits = largest(*before, *after);

  const Json &samples = measured->at("samples");
  Json result;
  result["prompt_tokens"] = configuration.promptTokens;
  result["generate"] = configuration.generate;
  result["candidates"] = configuration.candidates;
  result["threads"] = configuration.threads;
  for (const char *field :
       {"prefill_tok_s", "decode_tok_s", "total_tok_s", "ttft_s"})
    result[field] = summary(samples, field, 0.5);
  for (const char *field :
       {"peak_rss_bytes", "peak_anon_bytes", "rows_computed"})
    result[field] = measured->at(field);
  result["cpu"] = cpuModel();
  result["target"] = measured->at("target");
  result["limits"] = {{"read_GB_s", limits.readBytesPerSecond / 1e9},
                      {"int8_GOP_s", limits.int8OpsPerSecond / 1e9},
                      {"f32_GFLOP_s", limits.f32OpsPerSecond / 1e9},
                      {"amx_int8_GOP_s", nullptr}};
  if (limits.amxInt8OpsPerSecond > 0)
    result["limits"]["amx_int8_GOP_s"] = limits.amxInt8OpsPerSecond / 1e9;
  result["share"] = shares(configuration, work, result, limits);
  for (auto [name, quantile] : {std::pair("min", 0.0), std::pair("max", 1.0)})
    for (const char *field :
         {"prefill_tok_s", "decode_tok_s", "total_tok_s", "ttft_s"})
      result[name][field] = summary(samples, field, quantile);
  result["samples"] = samples;
  if (auto profile = measured->find("profile"); profile != measured->end()) {
    result["profile"] = *profile;
    addShares(result["profile"], limits);
  }
  return result;
}

/// No share of the peak of the instructions in use exceeds 1 unless something
/// else ran while the peak was measured: the figures are given, but do not
/// count. Shares are of the peak of vectors, which tiles may exceed.
static rt::Status checkShares(const Json &result) {
  const Json &limits = result["limits"];
  double most = 1;
  if (result["target"] == "x86-64-v4-amx" &&
      limits["amx_int8_GOP_s"].is_number())
    most = std::max(most, limits["amx_int8_GOP_s"].get<double>() /
                              limits["int8_GOP_s"].get<double>());
  for (const char *field : {"prefill_int8", "total_int8"})
    if (const Json &share = result["share"][field];
        share.is_number() && share.get<double>() > most)
      return rt::Status::error(
          rt::ExitCode::SomeRecordsFailed, "share",
          "candidates " + result["candidates"].dump() + ", threads " +
              result["threads"].dump() + ": share." + field,
          share.dump() + " of the int8 peak cannot be: the peak was measured "
                         "on a busy machine, measure again");
  return rt::Status();
}

static std::string percent(const Json &share) {
  if (!share.is_number())
    return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%", 100 * share.get<double>());
  return text;
}

static void printText(const Json &result) {
  auto number = [](const Json &value) {
    char text[32] = "-";
    if (value.is_number())
      std::snprintf(text, sizeof text, "%.1f", value.get<double>());
    return std::string(text);
  };
  auto range = [&](const char *field) {
    return number(result[field]) + " (" + number(result["min"][field]) +
           " to " + number(result["max"][field]) + ")";
  };
  std::printf("candidates %lld, threads %lld, prompt %lld, generate %lld\n",
              result["candidates"].get<long long>(),
              result["threads"].get<long long>(),
              result["prompt_tokens"].get<long long>(),
              result["generate"].get<long long>());
  std::printf("  prefill  %s tokens/s, %s of the int8 peak\n",
              range("prefill_tok_s").c_str(),
              percent(result["share"]["prefill_int8"]).c_str());
  std::printf("  decode   %s tokens/s, weights at %s of the read bandwidth\n",
              range("decode_tok_s").c_str(),
              percent(result["share"]["decode_read"]).c_str());
  std::printf("  in all   %s tokens/s, %s of the int8 peak\n",
              range("total_tok_s").c_str(),
              percent(result["share"]["total_int8"]).c_str());
  std::printf("  first token after %.1f ms, peak memory %.1f MB (anonymous "
              "%.1f), rows computed %lld of %lld\n",
              1e3 * result["ttft_s"].get<double>(),
              result["peak_rss_bytes"].get<double>() / 1e6,
              result["peak_anon_bytes"].get<double>() / 1e6,
              result["rows_computed"].get<long long>(),
              result["prompt_tokens"].get<long long>() +
                  result["candidates"].get<long long>() *
                      (result["generate"].get<long long>() - 1));
  const Json &limits = result["limits"];
  std::string amx;
  if (limits["amx_int8_GOP_s"].is_number())
    amx = " (AMX " + number(limits["amx_int8_GOP_s"]) + ")";
  std::printf("  limits: read %s GB/s, int8 %s GOP/s%s, f32 %s GFLOP/s; %s, "
              "code %s\n",
              number(limits["read_GB_s"]).c_str(),
              number(limits["int8_GOP_s"]).c_str(), amx.c_str(),
              number(limits["f32_GFLOP_s"]).c_str(),
              result["cpu"].get<std::string>().c_str(),
              result["target"].get<std::string>().c_str());
  if (result.contains("profile"))
    printProfile(result["profile"]);
  std::fflush(stdout);
}

static rt::Status runBench(const Options &options, tool::Console &console) {
  // In a child as well, so that this process stays small and has no threads.
  rt::StatusOr<Json> facts = runInChild([&]() -> rt::StatusOr<Json> {
    rt::StatusOr<std::shared_ptr<const rt::Artifact>> artifact =
        rt::Artifact::open(options.artifact);
    CHORUS_RETURN_IF_ERROR(artifact.status());
    rt::StatusOr<std::shared_ptr<const rt::Program>> program =
        rt::Program::load(*artifact, 0);
    CHORUS_RETURN_IF_ERROR(program.status());
    ModelWork work = modelWork(**program);
    return Json({work.layerMultiplyAdds, work.vocabularyMultiplyAdds,
                 work.packedBytes, work.int8});
  });
  CHORUS_RETURN_IF_ERROR(facts.status());
  ModelWork work{facts->at(0), facts->at(1), facts->at(2), facts->at(3)};
  Json peers, results = Json::array();
  if (!options.peers.empty()) {
    std::ifstream file(options.peers);
    peers = Json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!peers.is_object() || !peers.contains("figures"))
      return rt::refused("peers", rt::escapeForMessage(options.peers, 200),
                         "no JSON object with 'figures', as "
                         "benchmarks/peers/run writes it");
  }
  std::vector<int> threads = options.threads;
  if (threads.empty())
    threads = {rt::availableCores()};
  rt::Status impossible;
  for (int64_t candidates : options.candidates)
    for (int count : threads) {
      Configuration configuration;
      configuration.artifact = options.artifact;
      configuration.promptTokens = options.promptTokens;
      configuration.generate = options.generate;
      configuration.candidates = candidates;
      configuration.threads = count;
      configuration.repeat = options.repeat;
      configuration.profile = options.profile;
      configuration.trace = options.trace;
      console.progress("n " + std::to_string(candidates) + ", threads " +
                       std::to_string(count) + ": measuring limits");
      rt::StatusOr<Json> result = runConfiguration(
          configuration, work,
          options.readBuffer ? options.readBuffer : work.packedBytes, console);
      console.clearProgress();
      CHORUS_RETURN_IF_ERROR(result.status());
      if (options.json) {
        std::printf("%s\n", result->dump().c_str());
        std::fflush(stdout);
      } else {
        printText(*result);
      }
      if (impossible.ok())
        impossible = checkShares(*result);
      results.push_back(std::move(*result));
    }
  if (!options.report.empty())
    CHORUS_RETURN_IF_ERROR(writeReport(options.report, results, peers));
  return impossible;
}

int main(int argc, char **argv) {
  Options options;
  tool::ToolDescription description;
  description.name = "chorus-bench";
  description.summary =
      "Measures speed and memory, as figures and as shares of the limits";
  description.examples =
      "  chorus-bench m.chorus --candidates 1,8,32,100 --threads 1,2 --json\n"
      "  chorus-bench m.chorus --prompt-tokens 512 --generate 1";
  return tool::runTool(
      argc, argv, description, [&](CLI::App &app) { addOptions(app, options); },
      [&](tool::Console &console) { return runBench(options, console); });
}
