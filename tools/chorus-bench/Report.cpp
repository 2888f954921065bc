//===- Report.cpp - Measurements as a page to read ------------------------===//

#include "Report.h"

#include "chorus_rt/AtomicFile.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <vector>

using namespace chorus;
using Json = nlohmann::ordered_json;

/// Text between tags.
static std::string escaped(const std::string &text) {
  std::string out;
  for (char c : text)
    switch (c) {
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '&':
      out += "&amp;";
      break;
    default:
      out += c;
    }
  return out;
}

static std::string number(double value, const char *format = "%.1f") {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// A figure, or a dash for null.
static std::string cell(const Json &value, double factor = 1,
                        const char *format = "%.1f") {
  return value.is_number() ? number(factor * value.get<double>(), format) : "-";
}

static std::string row(const std::vector<std::string> &cells,
                       const char *tag = "td") {
  std::string out = "<tr>";
  for (const std::string &each : cells)
    out += std::string("<") + tag + ">" + each + "</" + tag + ">";
  return out + "</tr>\n";
}

static std::string resultTable(const Json &results) {
  std::string out =
      "<table>\n" +
      row({"candidates", "threads", "prompt", "generate", "prefill tok/s",
           "decode tok/s", "in all tok/s", "(min to max)", "first token ms",
           "peak MB", "rows", "prefill, int8 peak", "in all, int8 peak",
           "decode, read bandwidth"},
          "th");
  for (const Json &r : results)
    out += row(
        {cell(r["candidates"], 1, "%.0f"), cell(r["threads"], 1, "%.0f"),
         cell(r["prompt_tokens"], 1, "%.0f"), cell(r["generate"], 1, "%.0f"),
         cell(r["prefill_tok_s"]), cell(r["decode_tok_s"]),
         cell(r["total_tok_s"]),
         cell(r["min"]["total_tok_s"]) + " to " + cell(r["max"]["total_tok_s"]),
         cell(r["ttft_s"], 1e3), cell(r["peak_rss_bytes"], 1e-6),
         cell(r["rows_computed"], 1, "%.0f"),
         cell(r["share"]["prefill_int8"], 100, "%.1f %%"),
         cell(r["share"]["total_int8"], 100, "%.1f %%"),
         cell(r["share"]["decode_read"], 100, "%.1f %%")});
  return out + "</table>\n";
}

namespace {

/// A line of a plot.
struct Line {
  std::string name;
  std::vector<std::pair<double, double>> points;
  bool dashed = false;
};

} // namespace

/// Tokens/s against candidates, both on logarithmic axes.
static std::string plot(const std::vector<Line> &lines) {
  constexpr double width = 720, height = 380, left = 70, right = 190, top = 20,
                   bottom = 50;
  static const char *const colours[] = {"#1b6ca8", "#d1495b", "#3a7d44",
                                        "#8e5ea2", "#b07d12", "#555555"};
  double lowX = 1e300, highX = 0, lowY = 1e300, highY = 0;
  for (const Line &line : lines)
    for (auto [x, y] : line.points) {
      lowX = std::min(lowX, x);
      highX = std::max(highX, x);
      lowY = std::min(lowY, y);
      highY = std::max(highY, y);
    }
  if (!(highX > 0) || !(lowY > 0))
    return "";
  lowY = std::pow(2, std::floor(std::log2(lowY)));
  highY = std::pow(2, std::ceil(std::log2(highY)));
  if (lowX == highX)
    highX = 2 * lowX;
  if (lowY == highY)
    highY = 2 * lowY;
  auto atX = [&](double x) {
    return left +
           (width - left - right) * std::log(x / lowX) / std::log(highX / lowX);
  };
  auto atY = [&](double y) {
    return height - bottom -
           (height - top - bottom) * std::log(y / lowY) /
               std::log(highY / lowY);
  };
  auto text = [](double x, double y, const std::string &words,
                 const char *anchor, const char *fill = "#222") {
    return "<text x='" + number(x) + "' y='" + number(y) + "' text-anchor='" +
           anchor + "' fill='" + fill + "'>" + escaped(words) + "</text>\n";
  };
  std::string out = "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 " +
                    number(width) + " " + number(height) + "' role='img'>\n";
  for (double y = lowY; y <= highY; y *= 2) {
    out += "<line x1='" + number(left) + "' x2='" + number(width - right) +
           "' y1='" + number(atY(y)) + "' y2='" + number(atY(y)) +
           "' stroke='#ddd'/>\n";
    out += text(left - 8, atY(y) + 4, number(y, "%.0f"), "end");
  }
  std::map<double, bool> ticks;
  for (const Line &line : lines)
    for (auto [x, y] : line.points)
      ticks[x] = true;
  for (const auto &[x, used] : ticks)
    out += text(atX(x), height - bottom + 18, number(x, "%.0f"), "middle");
  out += text((left + width - right) / 2, height - 10, "candidates", "middle");
  out += text(left, 12, "tokens/s in all", "middle");
  size_t index = 0;
  std::vector<double> labels;
  for (const Line &line : lines) {
    const char *colour = colours[index++ % std::size(colours)];
    std::string path;
    for (auto [x, y] : line.points) {
      path += (path.empty() ? "M" : "L") + number(atX(x)) + " " +
              number(atY(y)) + " ";
      out += "<circle cx='" + number(atX(x)) + "' cy='" + number(atY(y)) +
             "' r='3.5' fill='" + colour + "'/>\n";
    }
    out += "<path d='" + path + "' fill='none' stroke='" + colour +
           "' stroke-width='2'" +
           (line.dashed ? " stroke-dasharray='6 4'" : "") + "/>\n";
    // Names do not cover each other.
    double y = atY(line.points.back().second) + 4;
    for (bool moved = true; moved;) {
      moved = false;
      for (double taken : labels)
        if (std::abs(taken - y) < 15) {
          y = taken + 15;
          moved = true;
        }
    }
    labels.push_back(y);
    out += text(width - right + 8, y, line.name, "start", colour);
  }
  return out + "</svg>\n";
}

/// Ours for each number of threads, what the int8 peak would allow, and peers.
static std::vector<Line> linesOf(const Json &results, const Json &peers) {
  std::map<int, Line> ours, limits;
  for (const Json &r : results) {
    if (!r["total_tok_s"].is_number())
      continue;
    int threads = r["threads"];
    double n = r["candidates"], speed = r["total_tok_s"];
    ours[threads].points.push_back({n, speed});
    if (const Json &share = r["share"]["total_int8"]; share.is_number())
      limits[threads].points.push_back({n, speed / share.get<double>()});
  }
  std::vector<Line> lines;
  auto add = [&lines](Line line, std::string name, bool dashed) {
    std::sort(line.points.begin(), line.points.end());
    line.name = std::move(name);
    line.dashed = dashed;
    lines.push_back(std::move(line));
  };
  for (auto &[threads, line] : ours)
    add(line, "Chorus, " + std::to_string(threads) + " threads", false);
  for (auto &[threads, line] : limits)
    add(line, "int8 peak, " + std::to_string(threads) + " threads", true);
  if (!peers.is_object())
    return lines;
  static const std::pair<const char *, double> workloads[] = {
      {"8 candidates", 8}, {"32 candidates", 32}, {"candidates", 100}};
  for (auto [field, name] : {std::pair("llama_cpp_tok_s", "llama.cpp"),
                             std::pair("openvino_tok_s", "OpenVINO GenAI")}) {
    Line line;
    for (auto [workload, n] : workloads) {
      const Json figures = peers.value("figures", Json::object());
      if (!figures.contains(workload))
        continue;
      if (const Json speed = figures[workload].value(field, Json());
          speed.is_number())
        line.points.push_back({n, speed.get<double>()});
    }
    if (!line.points.empty())
      add(line, name, false);
  }
  return lines;
}

static std::string peerTable(const Json &peers) {
  if (!peers.is_object())
    return "";
  std::string out =
      "<h2>Peers</h2>\n<p>Ratios are medians over interleaved "
      "pairs, with their spread.</p>\n<table>\n" +
      row({"work", "Chorus", "llama.cpp", "ratio", "spread", "OpenVINO GenAI"},
          "th");
  const Json figures = peers.value("figures", Json::object());
  for (const auto &[work, figure] : figures.items())
    out += row({escaped(work), cell(figure.value("chorus_tok_s", Json())),
                cell(figure.value("llama_cpp_tok_s", Json())),
                cell(figure.value("ratio", Json()), 1, "%.2f"),
                cell(figure.value("least", Json()), 1, "%.2f") + " to " +
                    cell(figure.value("most", Json()), 1, "%.2f"),
                cell(figure.value("openvino_tok_s", Json()))});
  return out + "</table>\n";
}

static std::string profileTables(const Json &results) {
  std::string out;
  for (const Json &r : results) {
    if (!r.contains("profile"))
      continue;
    const Json &profile = r["profile"];
    double all = profile["seconds"], steps = profile["steps"];
    out += "<h2>Profile: " + cell(r["candidates"], 1, "%.0f") +
           " candidates, " + cell(r["threads"], 1, "%.0f") + " threads</h2>\n" +
           "<p>" + number(steps, "%.0f") + " steps of " +
           number(1e3 * all / steps) + " ms.</p>\n<table>\n" +
           row({"kernel", "time", "ms a step", "runs", "share of its limit"},
               "th");
    for (const Json &kernel : profile["kernels"])
      out +=
          row({escaped(kernel["name"].get<std::string>()),
               number(100 * kernel["seconds"].get<double>() / all, "%.1f %%"),
               number(1e3 * kernel["seconds"].get<double>() / steps, "%.3f"),
               cell(kernel["calls"], 1, "%.0f"),
               kernel["share"].is_number()
                   ? cell(kernel["share"], 100, "%.1f %% ") +
                         escaped(kernel["limit"].get<std::string>())
                   : "-"});
    out += "</table>\n";
  }
  return out;
}

rt::Status bench::writeReport(const std::string &path, const Json &results,
                              const Json &peers) {
  rt::StatusOr<rt::AtomicFile> file = rt::AtomicFile::create(path);
  CHORUS_RETURN_IF_ERROR(file.status());
  std::string page =
      "<!doctype html>\n<meta charset='utf-8'>\n<title>chorus-bench</title>\n"
      "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;"
      "max-width:1100px;padding:0 1em}table{border-collapse:collapse;"
      "font-size:13px}td,th{padding:3px 9px;border-bottom:1px solid #ddd;"
      "text-align:right}td:first-child,th:first-child{text-align:left}"
      "svg{max-width:760px;font:12px system-ui,sans-serif}</style>\n"
      "<h1>chorus-bench</h1>\n";
  if (!results.empty()) {
    const Json &first = results.front(), &limits = first["limits"];
    page += "<p>" + escaped(first["cpu"].get<std::string>()) + ", code " +
            escaped(first["target"].get<std::string>()) + ". Limits with " +
            cell(first["threads"], 1, "%.0f") +
            " threads, measured in the same run: read " +
            cell(limits["read_GB_s"]) + " GB/s, int8 " +
            cell(limits["int8_GOP_s"], 1, "%.0f") + " GOP/s, f32 " +
            cell(limits["f32_GFLOP_s"], 1, "%.0f") + " GFLOP/s.</p>\n";
  }
  page += plot(linesOf(results, peers)) + resultTable(results) +
          peerTable(peers) + profileTables(results);
  CHORUS_RETURN_IF_ERROR(file->append(page.data(), page.size()));
  return file->commit();
}
