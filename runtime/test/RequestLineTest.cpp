//===- RequestLineTest.cpp ------------------------------------------------===//

#include "chorus_rt/RequestLine.h"

#include "ProcessCost.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

constexpr int64_t vocab = 100;

/// A line with a prompt and these fields.
std::string with(const std::string &fields) {
  return "{\"id\":\"x\",\"prompt\":\"p\"" +
         (fields.empty() ? fields : "," + fields) + "}";
}

struct Case {
  std::string line;
  const char *code;
  const char *field;   ///< "" where there is none.
  const char *message; ///< A part of it.
};

class RequestLineTest : public testing::Test {
protected:
  Status parse(const std::string &text, const Request &defaults = Request()) {
    JsonlLine line;
    line.number = 7;
    line.text = text;
    return parseRequestLine(line, "in.jsonl", defaults, vocab, parsed);
  }

  void expectRefused(const std::vector<Case> &cases) {
    for (const Case &c : cases) {
      Status status = parse(c.line);
      EXPECT_EQ(status.exitCode(), ExitCode::SomeRecordsFailed) << c.line;
      EXPECT_EQ(status.code(), c.code) << c.line << status.line("test");
      std::string place = "in.jsonl:7";
      if (*c.field)
        place += std::string(": ") + c.field;
      EXPECT_EQ(status.place(), place) << c.line;
      EXPECT_NE(status.message().find(c.message), std::string::npos)
          << c.line << " " << status.message();
    }
  }

  void expectGood(const std::vector<std::string> &lines) {
    for (const std::string &line : lines) {
      Status status = parse(line);
      EXPECT_TRUE(status.ok()) << line << " " << status.line("test");
    }
  }

  RequestLine parsed;
};

TEST_F(RequestLineTest, EveryField) {
  Request defaults;
  defaults.candidates = 9;
  defaults.sampling.topK = 5;
  defaults.stop = {"default"};
  ASSERT_TRUE(parse(R"( { "id" : "q1", "prompt":"a \u00e4", "answer":"72",
      "n":4, "seed":18446744073709551615, "max_tokens":33,
      "temperature":0.25, "top_p":0.5, "top_k":40, "min_p":1e-2,
      "repetition_penalty":1.5, "presence_penalty":-1,
      "frequency_penalty":2, "stop":["\n","END"],
      "logit_bias":{"50":-1.5,"3":2}, "allowed":[9,3], "min_tokens":2 } )",
                    defaults)
                  .ok());
  const Request &request = parsed.request;
  const SamplingParameters &sampling = request.sampling;
  EXPECT_EQ(request.id, "q1");
  EXPECT_TRUE(parsed.hasId);
  EXPECT_EQ(parsed.prompt, "a \xC3\xA4");
  EXPECT_EQ(parsed.answer, "72");
  EXPECT_EQ(request.candidates, 4);
  EXPECT_EQ(sampling.seed, UINT64_MAX);
  EXPECT_EQ(request.maxTokens, 33);
  EXPECT_EQ(sampling.temperature, 0.25);
  EXPECT_EQ(sampling.topP, 0.5);
  EXPECT_EQ(sampling.topK, 40);
  EXPECT_EQ(sampling.minP, 0.01);
  EXPECT_EQ(sampling.repetitionPenalty, 1.5);
  EXPECT_EQ(sampling.presencePenalty, -1);
  EXPECT_EQ(sampling.frequencyPenalty, 2);
  EXPECT_EQ(request.stop, (std::vector<std::string>{"\n", "END"}));
  EXPECT_EQ(sampling.logitBias,
            (std::vector<std::pair<int32_t, float>>{{3, 2}, {50, -1.5}}));
  EXPECT_EQ(sampling.allowedTokens, (std::vector<int32_t>{3, 9}));
  EXPECT_EQ(sampling.minTokens, 2);

  ASSERT_TRUE(parse(R"({"prompt_ids":[1,2,99],"stop":"x"})", defaults).ok());
  EXPECT_EQ(parsed.promptIds, (std::vector<int32_t>{1, 2, 99}));
  EXPECT_EQ(parsed.request.candidates, 9);
  EXPECT_EQ(parsed.request.sampling.topK, 5);
  EXPECT_EQ(parsed.request.stop, std::vector<std::string>{"x"});
  EXPECT_FALSE(parsed.hasId);

  std::string messages = R"([{"role":"user","content":"a ] } \" b"}])";
  ASSERT_TRUE(parse("{\"messages\": " + messages + " }", defaults).ok());
  EXPECT_EQ(parsed.messages, messages);
  EXPECT_EQ(parsed.request.stop, defaults.stop);
}

TEST_F(RequestLineTest, J01_BrokenJson) {
  expectRefused({
      {"{\"id\":\"x\",\"prompt\":\"p\"", "J01", "column 23", "expected '}'"},
      {"nonsense", "J01", "column 1", "expected '{'"},
      {"[]", "J01", "column 1", "expected '{'"},
      {with("\"n\":1,"), "J01", "column 30", "expected '\"'"},
      {with("") + "}", "J01", "column 24", "more text"},
      {with("\"n\":01"), "J01", "column 28", "leading zero"},
      {with("\"n\":"), "J01", "column 28", "expected a number"},
      {"{\"id\":\"x\",\"prompt\":\"a\tb\"}", "J01", "column 22",
       "control byte"},
      {"{\"id\":\"x\",\"prompt\":\"p\",'n':1}", "J01", "column 24",
       "expected '\"'"},
      {std::string("{\"prompt\":\"a\0b\"}", 16), "J01", "column 13",
       "control byte"},
  });
  expectGood({with(""), with("\"n\":1"), " " + with("") + " \t"});
}

TEST_F(RequestLineTest, J01_NestedTooDeeply) {
  auto nested = [](int depth) {
    return "{\"messages\":[" + std::string(static_cast<size_t>(depth), '[') +
           std::string(static_cast<size_t>(depth), ']') + "]}";
  };
  EXPECT_EQ(parse(nested(100000)).code(), "J01");
  EXPECT_EQ(parse(nested(66)).code(), "J01");
  expectGood({nested(60)});
}

TEST_F(RequestLineTest, J02_TooLong) {
  JsonlLine line;
  line.number = 3;
  line.tooLong = true;
  Status status = parseRequestLine(line, "in.jsonl", Request(), vocab, parsed);
  EXPECT_EQ(status.code(), "J02");
  EXPECT_EQ(status.place(), "in.jsonl:3");
  EXPECT_EQ(parsed.request.id, "3");
}

TEST_F(RequestLineTest, J03_Ids) {
  std::string longest(maxRequestIdBytes, 'i');
  expectRefused({
      {"{\"id\":\"" + std::string(1 << 20, 'i') + "\",\"prompt\":\"p\"}", "J03",
       "id", "has 1048576 bytes, allowed are 1 to 1024"},
      {"{\"id\":\"i" + longest + "\",\"prompt\":\"p\"}", "J03", "id", "1025"},
      {"{\"id\":\"\",\"prompt\":\"p\"}", "J03", "id", "has 0 bytes"},
  });
  EXPECT_EQ(parsed.request.id, "7");
  expectGood({"{\"id\":\"" + longest + "\",\"prompt\":\"p\"}"});
  EXPECT_EQ(parsed.request.id, longest);
  // No id: the line's number.
  expectGood({"{\"prompt\":\"p\"}"});
  EXPECT_EQ(parsed.request.id, "7");
  // An error elsewhere leaves the id, wherever it stands.
  EXPECT_FALSE(parse("{\"prompt\":5,\"x\":[{}],\"id\":\"late\"}").ok());
  EXPECT_EQ(parsed.request.id, "late");
}

TEST_F(RequestLineTest, J04_KeysAndTypes) {
  expectRefused({
      {with("\"n\":1,\"n\":1"), "J04", "n", "stands twice"},
      {with("\"n\":1,\"\\u006e\":1"), "J04", "n", "stands twice"},
      {with("\"prompt\":\"q\""), "J04", "prompt", "stands twice"},
      {with("\"temprature\":1"), "J04", "temprature", "unknown field"},
      {with("\"a\\u001b\":[1,{\"b\":null}]"), "J04", "a\\x1b", "unknown field"},
      {"{\"id\":7,\"prompt\":\"p\"}", "J04", "id", "is a number"},
      {"{\"prompt\":null}", "J04", "prompt", "is null, needed is a string"},
      {"{\"prompt\":[\"p\"]}", "J04", "prompt", "is an array"},
      {"{\"messages\":\"hi\"}", "J04", "messages", "needed is an array"},
      {"{\"prompt_ids\":\"1,2\"}", "J04", "prompt_ids", "needed is an array"},
      {"{\"prompt_ids\":[\"1\"]}", "J04", "prompt_ids", "holds a string"},
      {with("\"answer\":72"), "J04", "answer", "needed is a string"},
      {with("\"n\":\"4\""), "J04", "n", "is a string"},
      {with("\"n\":true"), "J04", "n", "is a truth value"},
      {with("\"n\":1.5"), "J04", "n", "is 1.5, needed is a whole number"},
      {with("\"n\":1e1"), "J04", "n", "is 1e1"},
      {with("\"temperature\":\"hot\""), "J04", "temperature", "is a string"},
      {with("\"temperature\":{}"), "J04", "temperature", "is an object"},
      {with("\"stop\":3"), "J04", "stop", "needed is a string or an array"},
      {with("\"stop\":[3]"), "J04", "stop", "holds a number"},
      {with("\"logit_bias\":[1]"), "J04", "logit_bias", "needed is an object"},
      {with("\"logit_bias\":{\"1\":\"2\"}"), "J04", "logit_bias", "holds"},
      {with("\"allowed\":3"), "J04", "allowed", "needed is an array"},
      {with("\"allowed\":[[]]"), "J04", "allowed", "holds an array"},
      {"{\"id\":\"x\"}", "J04", "", "has no prompt"},
      {"{}", "J04", "", "has no prompt"},
      {with("\"prompt_ids\":[1]"), "J04", "", "more than one of prompt"},
      {"{\"messages\":[{\"role\":\"user\",\"role\":\"user\",\"content\":\"\"}]"
       "}",
       "J04", "role", "stands twice"},
  });
  expectGood({with("\"n\":4"), with("\"temperature\":1"), with("\"stop\":[]"),
              with("\"stop\":\"x\""), with("\"logit_bias\":{\"1\":2}"),
              with("\"allowed\":[1]"), "{\"prompt_ids\":[1]}",
              "{\"messages\":[{\"role\":\"user\",\"content\":\"\"}]}"});
}

TEST_F(RequestLineTest, J05_OutOfRange) {
  expectRefused({
      {with("\"temperature\":-1"), "J05", "temperature",
       "is -1, allowed is 0 or 0.001 to 1000"},
      {with("\"temperature\":NaN"), "J05", "temperature", "0.001 to 1000"},
      {with("\"temperature\":-Infinity"), "J05", "temperature", "0.001"},
      {with("\"temperature\":1e308"), "J05", "temperature", "allowed is 0 or"},
      {with("\"temperature\":1e999"), "J05", "temperature", "is inf"},
      {with("\"top_p\":0"), "J05", "top_p", "is 0, allowed is above 0, to 1"},
      {with("\"top_p\":2"), "J05", "top_p", "is 2"},
      {with("\"min_p\":1.5"), "J05", "min_p", "is 1.5"},
      {with("\"repetition_penalty\":0"), "J05", "repetition_penalty", "0.01"},
      {with("\"presence_penalty\":101"), "J05", "presence_penalty", "100"},
      {with("\"frequency_penalty\":-101"), "J05", "frequency_penalty", "-100"},
      {with("\"n\":1000000000"), "J05", "n",
       "is 1000000000, allowed is 1 to 65536"},
      {with("\"n\":0"), "J05", "n", "is 0"},
      {with("\"n\":-1"), "J05", "n", "is -1"},
      {with("\"max_tokens\":9223372036854775808"), "J05", "max_tokens",
       "is 9223372036854775808, allowed is 1 to 9223372036854775807"},
      {with("\"max_tokens\":-1"), "J05", "max_tokens", "is -1"},
      {with("\"max_tokens\":0"), "J05", "max_tokens", "is 0"},
      {with("\"seed\":18446744073709551616"), "J05", "seed",
       "allowed is 0 to 18446744073709551615"},
      {with("\"seed\":-1"), "J05", "seed", "is -1"},
      {with("\"top_k\":-1"), "J05", "top_k", "is -1, allowed is 0"},
      {with("\"min_tokens\":-1"), "J05", "min_tokens", "is -1"},
      {with("\"logit_bias\":{\"1\":1e9}"), "J05", "logit_bias", "1000"},
      {with("\"logit_bias\":{\"1\":1e99}"), "J05", "logit_bias", "is inf"},
      {with("\"logit_bias\":{\"1\":-1e99}"), "J05", "logit_bias", "is -inf"},
  });
  expectGood({with("\"temperature\":0"), with("\"temperature\":1000"),
              with("\"temperature\":1e-999"), with("\"top_p\":1"),
              with("\"top_p\":1e-9"), with("\"min_p\":1"), with("\"n\":65536"),
              with("\"max_tokens\":9223372036854775807"),
              with("\"max_tokens\":1"), with("\"seed\":18446744073709551615"),
              with("\"top_k\":0"), with("\"min_tokens\":0"),
              with("\"logit_bias\":{\"1\":-1000}"),
              with("\"logit_bias\":{\"1\":1e-99}")});
}

TEST_F(RequestLineTest, J07_StopStringsAndTokenIds) {
  auto strings = [](size_t count) {
    std::string text = "\"stop\":[\"a\"";
    for (size_t i = 1; i < count; ++i)
      text += ",\"a\"";
    return with(text + "]");
  };
  expectRefused({
      {strings(10000), "J07", "stop", "has 10000 strings, allowed are 1024"},
      {with("\"stop\":\"\""), "J07", "stop", "empty string"},
      {with("\"stop\":[\"a\",\"\"]"), "J07", "stop", "empty string"},
      {with("\"stop\":\"" + std::string(65537, 's') + "\""), "J07", "stop",
       "65537 bytes"},
      {with("\"logit_bias\":{\"100\":1}"), "J07", "logit_bias",
       "names token '100', allowed is 0 to 99"},
      {with("\"logit_bias\":{\"-1\":1}"), "J07", "logit_bias", "-1"},
      {with("\"logit_bias\":{\"x\":1}"), "J07", "logit_bias", "'x'"},
      {with("\"logit_bias\":{\"3\":1,\"3\":2}"), "J07", "logit_bias", "twice"},
      {with("\"allowed\":[1,100]"), "J07", "allowed", "names token '100'"},
      {with("\"allowed\":[99999999999]"), "J07", "allowed", "99999999999"},
      {with("\"allowed\":[1,1]"), "J07", "allowed", "twice"},
      {with("\"allowed\":[1.5]"), "J07", "allowed", "1.5"},
      {"{\"prompt_ids\":[100]}", "J07", "prompt_ids", "names token '100'"},
      {"{\"prompt_ids\":[-1]}", "J07", "prompt_ids", "names token '-1'"},
  });
  expectGood({strings(1024), with("\"stop\":\"a\""),
              with("\"logit_bias\":{\"99\":1,\"0\":1}"),
              with("\"allowed\":[99,0]"), "{\"prompt_ids\":[99,0]}"});
}

/// Without any list all tokens are allowed: an empty one must not become that.
TEST_F(RequestLineTest, N02_EmptyListOfAllowedTokens) {
  expectRefused({{with("\"allowed\":[]"), "N02", "allowed", "is empty"}});
  expectGood({with("\"allowed\":[0]"), with("")});
}

TEST_F(RequestLineTest, T09_InvalidText) {
  expectRefused({
      {"{\"prompt\":\"a\xff\"}", "T09", "column 13", "invalid UTF-8"},
      {"{\"prompt\":\"\xed\xa0\x80\"}", "T09", "column 12", "invalid UTF-8"},
      {"{\"prompt\":\"\\ud800\"}", "T09", "column 12", "lone surrogate"},
      {"{\"messages\":[{\"role\":\"user\",\"content\":\"\\udc00\"}]}", "T09",
       "column 40", "lone surrogate"},
  });
  expectGood({"{\"prompt\":\"\\ud83d\\ude00 \xF0\x9F\x98\x80\"}"});
}

TEST_F(RequestLineTest, MessagesFitOneLine) {
  Status status = parse("{\"" + std::string(100000, 'k') + "\n\":1}");
  EXPECT_LE(status.line("chorus-run").size(), 512u);
  status = parse("{\"" + std::string(100000, 'k') + "\":1}");
  EXPECT_LE(status.line("chorus-run").size(), 512u);
}

//===----------------------------------------------------------------------===//
// Ids over all lines
//===----------------------------------------------------------------------===//

class ScanTest : public testing::Test {
protected:
  Status scan(const std::string &bytes) {
    writeFile(folder.path("in"), bytes);
    OutputPlace place = std::move(*OutputPlace::open(folder.path("out")));
    StatusOr<JsonlInput> input = JsonlInput::open(folder.path("in"), place);
    lines = failed = 0;
    return scanRequestLines(*input, place, Request(), vocab,
                            [&](RequestLine &, const Status &status) {
                              ++lines;
                              failed += !status.ok();
                              return Status();
                            });
  }

  TemporaryFolder folder;
  int64_t lines = 0, failed = 0;
};

TEST_F(ScanTest, J03_DuplicateIds) {
  Status status = scan("{\"id\":\"a\",\"prompt\":\"1\"}\n"
                       "{\"id\":\"b\",\"prompt\":\"2\"}\n\n"
                       "{\"id\":\"\\u0061\",\"prompt\":\"3\"}\n"
                       "{\"id\":\"b\",\"prompt\":\"4\"}\n");
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_EQ(status.code(), "J03");
  EXPECT_EQ(status.place().substr(folder.path().size()), "/in:4: id");
  EXPECT_EQ(status.message(), "'a' is also the id of line 1");
  // The number of a line without an id is one too.
  EXPECT_EQ(
      scan("{\"id\":\"2\",\"prompt\":\"1\"}\n{\"prompt\":\"2\"}\n").code(),
      "J03");
  // A line with another fault keeps its id.
  EXPECT_EQ(scan("{\"id\":\"a\"}\n{\"id\":\"a\",\"prompt\":\"2\"}\n").code(),
            "J03");
  // A broken line has none.
  EXPECT_TRUE(scan("broken\n{\"id\":\"1\",\"prompt\":\"2\"}\n").ok());
  EXPECT_EQ(failed, 1);
  EXPECT_TRUE(scan("{\"id\":\"a\",\"prompt\":\"1\"}\n"
                   "{\"id\":\"A\",\"prompt\":\"1\"}\n"
                   "{\"prompt\":\"1\"}\n{\"prompt\":\"1\"}\n")
                  .ok());
  EXPECT_EQ(lines, 4);
}

/// The scan of `count` lines; the last line has the id of one before it.
Cost costOfScan(const TemporaryFolder &folder, int64_t count) {
  {
    std::ofstream file(folder.path("in"));
    for (int64_t i = 0; i + 1 < count; ++i)
      file << "{\"id\":\"" << i * 7919 % 1000003 << "\",\"prompt\":\"p\"}\n";
    file << "{\"id\":\"7919\",\"prompt\":\"p\"}\n";
  }
  return costOf([&] {
    OutputPlace place = std::move(*OutputPlace::open(folder.path("out")));
    StatusOr<JsonlInput> input = JsonlInput::open(folder.path("in"), place);
    Status status = scanRequestLines(
        *input, place, Request(), vocab,
        [](RequestLine &, const Status &) { return Status(); });
    EXPECT_EQ(status.code(), "J03");
    EXPECT_EQ(status.message(), "'7919' is also the id of line 2");
  });
}

TEST_F(ScanTest, J09_AMillionLinesInTheMemoryOfTenThousand) {
  double few = costOfScan(folder, 10000).mebibytes;
  double many = costOfScan(folder, 1000000).mebibytes;
  if (underSanitizer)
    return;
  EXPECT_LE(many, 12);
  // Full buffers, no more.
  EXPECT_LE(many - few, 6);
}

} // namespace
