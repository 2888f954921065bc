//===- attention-step.cpp - Attention over shared pages -------------------===//
//
// `measure` times it against the plain path and against rows that have copies
// of their own, `check` compares their bits over random trees of sequences.
//
//===----------------------------------------------------------------------===//

#include "AttentionStep.h"

#include "chorus-bench/Limits.h"
#include "support/ToolMain.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <random>

using namespace chorus;
using namespace chorus::bench;

namespace {

constexpr int32_t pagePositions = CHORUS_PAGE_POSITIONS;

struct Options {
  std::string artifact, cpu = "auto";
  int threads = 0;
  // measure
  int pairs = 5;
  bool warm = false, crossing = false;
  double ownBar = 0.75;
  // check
  uint64_t seed = 1;
  int cases = 30;
};

//===----------------------------------------------------------------------===//
// measure
//===----------------------------------------------------------------------===//

/// Rows that decode after a prefix: the last token of the prefix, or one of own
/// tokens, 1 to 64 of them.
struct Layout {
  int32_t rows = 1, prefix = 256;
  enum Tail { None, OneToken, Spread } tail = OneToken;

  int32_t ownTokens(int32_t row) const {
    return tail == None ? 0 : tail == OneToken ? 1 : 1 + row * 37 % 64;
  }

  /// The step, its pages numbered from 0: whole pages of the prefix once, or
  /// one copy of it for each row.
  std::vector<SequencePart> step(bool ownCopies, int64_t &pages) const {
    // Without own tokens also the last page of the prefix is shared.
    int32_t whole = tail == None ? (prefix + pagePositions - 1) / pagePositions
                                 : prefix / pagePositions;
    int32_t next = ownCopies ? 0 : whole;
    std::vector<SequencePart> parts(static_cast<size_t>(rows));
    for (int32_t row = 0; row < rows; ++row) {
      SequencePart &part = parts[static_cast<size_t>(row)];
      part.end = prefix + ownTokens(row);
      part.first = part.end - 1;
      for (int32_t page = 0; page * pagePositions < part.end; ++page)
        part.pages.push_back(page < whole && !ownCopies ? page : next++);
    }
    pages = next;
    return parts;
  }
};

std::vector<SequencePart> prefillStep(int32_t first, int32_t rows,
                                      int64_t &pages) {
  SequencePart part;
  part.first = first;
  part.end = first + rows;
  for (int32_t page = 0; page * pagePositions < part.end; ++page)
    part.pages.push_back(page);
  pages = static_cast<int64_t>(part.pages.size());
  return {part};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Measurement {
public:
  Measurement(AttentionStep &step, const Options &options)
      : step(step), options(options) {}

  /// Seconds of attention in one step of those that setStep() took, of which
  /// `pages` are the pages.
  rt::StatusOr<double> seconds(int64_t sharingRows, int64_t pages) {
    // Unless the pages shall stay in cache, steps read other ones in turn, as
    // the layers of a model do.
    int64_t copies =
        options.warm ? 1
                     : std::clamp<int64_t>(step.pageCount() / pages, 1, layers);
    double sum = 0;
    int64_t count = 0;
    for (; count < 3 || (sum < 2e-3 && count < 2000); ++count) {
      turn = (turn + 1) % copies;
      rt::StatusOr<std::vector<float>> done =
          step.run(sharingRows, turn * pages);
      CHORUS_RETURN_IF_ERROR(done.status());
      sum += step.attentionSeconds();
    }
    return sum / static_cast<double>(count);
  }

  double share(double seconds) {
    peak = std::max(peak, measureF32Peak(step.threads(), step.hasAVX512()));
    return step.attentionOperations() / seconds / peak;
  }

  /// One line; `least` is a bar for the share, 0 for none.
  rt::Status caseLine(const char *name, const std::vector<SequencePart> &parts,
                      int64_t pages, double least) {
    step.setStep(parts);
    std::vector<double> samples;
    for (int i = 0; i < options.pairs; ++i) {
      rt::StatusOr<double> one = seconds(/*sharingRows=*/0, pages);
      CHORUS_RETURN_IF_ERROR(one.status());
      samples.push_back(*one);
    }
    double time = median(samples), part = share(time);
    std::printf("%-36s %9.1f us  %5.1f %% of the f32 peak", name, time * 1e6,
                100 * part);
    if (least > 0) {
      std::printf(", bar %.0f %%%s", 100 * least,
                  part < least ? ": MISSED" : "");
      missed |= part < least;
    }
    std::printf("\n");
    return {};
  }

  rt::Status crossingLine(Layout layout) {
    std::vector<double> shared, plain, own;
    int64_t pages = 0, ownPages = 0;
    std::vector<SequencePart> together = layout.step(false, pages),
                              apart = layout.step(true, ownPages);
    bool fits = ownPages <= step.pageCount();
    for (int i = 0; i < options.pairs; ++i) {
      step.setStep(together);
      rt::StatusOr<double> a = seconds(/*sharingRows=*/0, pages);
      CHORUS_RETURN_IF_ERROR(a.status());
      rt::StatusOr<double> b = seconds(sharingOff, pages);
      CHORUS_RETURN_IF_ERROR(b.status());
      shared.push_back(*a);
      plain.push_back(*b / *a);
      if (!fits)
        continue;
      step.setStep(apart);
      rt::StatusOr<double> c = seconds(sharingOff, ownPages);
      CHORUS_RETURN_IF_ERROR(c.status());
      own.push_back(*a / *c);
    }
    step.setStep(together);
    double time = median(shared), gain = median(plain);
    std::printf("%6d %5d %11.1f %9.2f ", layout.prefix, layout.rows, time * 1e6,
                gain);
    if (fits)
      std::printf("%9.2f", median(own));
    else
      std::printf("%9s", "-");
    std::printf(" %8.1f %%%s\n", 100 * share(time),
                gain < 1 / 1.05 ? "  SLOWER" : "");
    missed |= gain < 1 / 1.05;
    if (fits && layout.prefix == 4096 && layout.rows == 64 &&
        median(own) > options.ownBar) {
      std::printf("bar missed: %.2f of the time with own copies\n",
                  options.ownBar);
      missed = true;
    }
    std::fflush(stdout);
    return {};
  }

  rt::Status cases() {
    int64_t pages = 0;
    struct {
      const char *name;
      Layout layout;
      double least;
    } decode[] = {
        {"1 row, 320 positions", {1, 320, Layout::None}, 0},
        {"1 row, 4,096 positions", {1, 4096, Layout::None}, 0},
        {"100 rows over 256 shared", {100, 256, Layout::None}, 0.6},
        {"  and 1 to 64 own positions", {100, 256, Layout::Spread}, 0.45},
        {"64 rows over 4,096 shared", {64, 4096, Layout::None}, 0.6},
        {"  and 1 to 64 own positions", {64, 4096, Layout::Spread}, 0.6},
    };
    for (auto &one : decode) {
      auto parts = one.layout.step(false, pages);
      CHORUS_RETURN_IF_ERROR(caseLine(one.name, parts, pages, one.least));
    }
    auto parts = prefillStep(0, 512, pages);
    CHORUS_RETURN_IF_ERROR(caseLine("prefill of 512", parts, pages, 0));
    parts = prefillStep(3584, 512, pages);
    return caseLine("prefill of 3,584 to 4,095", parts, pages, 0);
  }

  rt::Status crossing() {
    std::printf("prefix  rows  shared, us     plain  shared /    share of\n"
                "                       / shared  own copies  f32 peak\n");
    for (int32_t prefix : {16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192})
      for (int32_t rows : {1, 2, 3, 4, 8, 16, 32, 64, 100, 256})
        CHORUS_RETURN_IF_ERROR(crossingLine({rows, prefix, Layout::OneToken}));
    return {};
  }

  bool missed = false;

private:
  /// Of the models that this is about.
  static constexpr int64_t layers = 30;

  AttentionStep &step;
  const Options &options;
  double peak = 0; ///< Operations a second.
  int64_t turn = 0;
};

/// Bytes of the pool: for copies that no cache holds.
constexpr uint64_t measuredBytes = uint64_t(1) << 30;

rt::StatusOr<bool> measure(const Options &options) {
  rt::StatusOr<std::unique_ptr<AttentionStep>> step =
      AttentionStep::create(options.artifact, options.cpu, options.threads, 1);
  CHORUS_RETURN_IF_ERROR(step.status());
  auto pages = static_cast<int64_t>(measuredBytes / (*step)->pageBytes());
  step = AttentionStep::create(options.artifact, options.cpu, options.threads,
                               pages);
  CHORUS_RETURN_IF_ERROR(step.status());
  Measurement measurement(**step, options);
  CHORUS_RETURN_IF_ERROR(options.crossing ? measurement.crossing()
                                          : measurement.cases());
  return !measurement.missed;
}

//===----------------------------------------------------------------------===//
// check
//===----------------------------------------------------------------------===//

/// A random tree of sequences that stand in the order of a walk through it, or
/// in any. Rows lie in pages of their sequence alone.
std::vector<SequencePart> randomTree(std::mt19937_64 &random,
                                     AttentionStep &step, int32_t &pages) {
  auto upTo = [&](int32_t most) {
    return static_cast<int32_t>(random() % static_cast<uint64_t>(most + 1));
  };
  std::vector<SequencePart> tree(
      static_cast<size_t>(1 + upTo(upTo(3) == 0 ? 60 : 12)));
  // Some cross a partition's border or two.
  bool isLong = upTo(2) == 0;
  std::vector<size_t> order;
  for (size_t i = 0; i < tree.size(); ++i) {
    SequencePart &part = tree[i];
    int32_t common = 0;
    size_t parent = 0;
    if (i > 0) {
      parent = static_cast<size_t>(upTo(static_cast<int32_t>(i) - 1));
      common = tree[parent].first;
      if (upTo(2) == 0)
        common = upTo(common);
      if (upTo(2) == 0)
        common -= common % pagePositions;
    }
    part.first = common + upTo(upTo(1) == 0 ? 3 : 150);
    if (i == 0 && isLong)
      part.first += 900 + upTo(1200);
    part.end = part.first + 1 + (upTo(3) == 0 ? upTo(90) : 0);
    for (int32_t page = 0; page * pagePositions < part.end; ++page) {
      if ((page + 1) * pagePositions <= common) {
        part.pages.push_back(tree[parent].pages[static_cast<size_t>(page)]);
        continue;
      }
      if (page * pagePositions < common)
        step.copyPage(tree[parent].pages[static_cast<size_t>(page)], pages);
      part.pages.push_back(pages++);
    }
    // Behind its parent and the parent's other children.
    auto at = order.empty() ? order.end()
                            : std::find(order.begin(), order.end(), parent) + 1;
    order.insert(at, i);
  }
  if (upTo(3) == 0)
    std::shuffle(order.begin(), order.end(), random);
  std::vector<SequencePart> out;
  for (size_t i : order)
    out.push_back(tree[i]);
  return out;
}

/// Logits of each sequence in steps of its own of up to `rows` rows, over
/// copies of its pages from `pages` on.
rt::StatusOr<std::vector<float>> runAlone(AttentionStep &step,
                                          const std::vector<SequencePart> &tree,
                                          int32_t pages, int32_t rows) {
  std::vector<float> out;
  for (const SequencePart &whole : tree) {
    SequencePart part = whole;
    int32_t next = pages;
    for (int32_t &page : part.pages) {
      step.copyPage(page, next);
      page = next++;
    }
    for (; part.first < whole.end; part.first = part.end) {
      part.end = part.first + std::min(rows, whole.end - part.first);
      step.setStep({part});
      rt::StatusOr<std::vector<float>> logits = step.run(sharingOff);
      CHORUS_RETURN_IF_ERROR(logits.status());
      out.insert(out.end(), logits->begin(), logits->end());
    }
  }
  return out;
}

rt::StatusOr<bool> check(const Options &options) {
  rt::StatusOr<std::unique_ptr<AttentionStep>> created = AttentionStep::create(
      options.artifact, options.cpu, options.threads, /*pages=*/2000);
  CHORUS_RETURN_IF_ERROR(created.status());
  AttentionStep &step = **created;
  std::mt19937_64 random(options.seed);
  uint64_t hash = 14695981039346656037u; // FNV-1a.
  int64_t rows = 0, differences = 0;
  for (int i = 0; i < options.cases; ++i) {
    int32_t pages = 0;
    std::vector<SequencePart> tree = randomTree(random, step, pages);
    rt::StatusOr<std::vector<float>> alone =
        runAlone(step, tree, pages, /*rows=*/INT32_MAX);
    CHORUS_RETURN_IF_ERROR(alone.status());
    auto chunk = static_cast<int32_t>(1 + random() % 40);
    rt::StatusOr<std::vector<float>> chunks =
        runAlone(step, tree, pages, chunk);
    CHORUS_RETURN_IF_ERROR(chunks.status());
    if (std::memcmp(chunks->data(), alone->data(),
                    alone->size() * sizeof(float)) != 0) {
      ++differences;
      std::printf("case %d: other bits in chunks of %d rows\n", i, chunk);
    }
    step.setStep(tree);
    for (int64_t sharing : {sharingOff, int64_t(0), sharingOn, int64_t(5)}) {
      rt::StatusOr<std::vector<float>> together = step.run(sharing);
      CHORUS_RETURN_IF_ERROR(together.status());
      if (std::memcmp(together->data(), alone->data(),
                      alone->size() * sizeof(float)) == 0)
        continue;
      ++differences;
      std::printf("case %d: %zu sequences, shared from %lld rows on: other "
                  "bits than alone\n",
                  i, tree.size(), static_cast<long long>(sharing));
    }
    for (float value : *alone) {
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof bits);
      hash = (hash ^ bits) * 1099511628211u;
    }
    rows += static_cast<int64_t>(alone->size());
  }
  std::printf("%d trees, %lld logits, partitions spread in %lld runs, %lld "
              "differences, hash %016llx\n",
              options.cases, static_cast<long long>(rows),
              static_cast<long long>(step.spreadRuns()),
              static_cast<long long>(differences),
              static_cast<unsigned long long>(hash));
  return differences == 0;
}

} // namespace

int main(int argc, char **argv) {
  Options options;
  CLI::App *checking = nullptr;
  bool good = true;
  tool::ToolDescription description;
  description.name = "attention-step";
  description.summary = "Times and checks attention over shared pages.";
  int exitCode = tool::runTool(
      argc, argv, description,
      [&](CLI::App &app) {
        auto *measuring = app.add_subcommand("measure", "Time it");
        checking = app.add_subcommand("check", "Compare bits");
        app.require_subcommand(1);
        for (CLI::App *mode : {measuring, checking}) {
          mode->add_option("A.chorus", options.artifact, "Of model.py's model")
              ->required()
              ->check(tool::readablePath());
          mode->add_option("--cpu", options.cpu, "Code to run");
          mode->add_option("--threads", options.threads,
                           "Default: one for each core")
              ->check(CLI::Range(1, rt::ThreadPool::maxThreads));
        }
        measuring
            ->add_option("--pairs", options.pairs,
                         "Measurements, of which the median counts")
            ->check(CLI::Range(1, 100));
        measuring->add_flag("--warm", options.warm,
                            "Read the same pages each time");
        measuring->add_flag("--crossing", options.crossing,
                            "Against plain and own copies, prefix by rows");
        measuring->add_option(
            "--own-bar", options.ownBar,
            "Of the time with own copies, 64 rows over 4,096");
        checking->add_option("--seed", options.seed, "Of the trees");
        checking->add_option("--cases", options.cases, "Trees")
            ->check(CLI::Range(1, 1000000));
      },
      [&](tool::Console &) -> rt::Status {
        if (options.threads == 0)
          options.threads = rt::availableCores();
        rt::StatusOr<bool> done =
            checking->parsed() ? check(options) : measure(options);
        CHORUS_RETURN_IF_ERROR(done.status());
        good = *done;
        return {};
      });
  return exitCode == 0 && !good ? 1 : exitCode;
}
