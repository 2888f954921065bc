//===- TokenizerData.h - Vocabularies and cases of test/data ----*- C++ -*-===//

#ifndef CHORUS_RT_TEST_TOKENIZERDATA_H
#define CHORUS_RT_TEST_TOKENIZERDATA_H

#include "chorus_rt/Tokenizer.h"
#include "chorus_rt/TokenizerBuilder.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace chorus::rt {

inline std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline std::string tokenizerData(const std::string &name) {
  return CHORUS_SOURCE_DIR "/test/data/tokenizer/" + name;
}

/// What llama.cpp makes of a text.
struct TokenizerCase {
  std::string text;
  std::vector<int32_t> ids, idsParseSpecial;
};

inline std::vector<TokenizerCase> readTokenizerCases(const std::string &path) {
  std::vector<TokenizerCase> cases;
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in.good()) << path;
  for (std::string line; std::getline(in, line);) {
    nlohmann::json json = nlohmann::json::parse(line);
    TokenizerCase read;
    read.text = json.at("text").get<std::string>();
    read.ids = json.at("ids").get<std::vector<int32_t>>();
    read.idsParseSpecial = json.value("ids_parse_special", read.ids);
    cases.push_back(std::move(read));
  }
  return cases;
}

/// A vocabulary that owns its texts.
struct OwnedTokenizerSource {
  std::vector<std::string> tokens, merges;
  TokenizerSource source;

  /// The source with views of the texts as they are now.
  const TokenizerSource &view() {
    source.tokens.assign(tokens.begin(), tokens.end());
    source.merges.assign(merges.begin(), merges.end());
    return source;
  }
};

inline OwnedTokenizerSource readVocabulary(const std::string &pre) {
  nlohmann::json json =
      nlohmann::json::parse(readFile(tokenizerData(pre + ".vocabulary.json")));
  OwnedTokenizerSource read;
  json.at("tokens").get_to(read.tokens);
  json.at("merges").get_to(read.merges);
  json.at("token_type").get_to(read.source.kinds);
  json.at("pre").get_to(read.source.pre);
  read.source.bosId = json.at("bos_token_id").get<int64_t>();
  read.source.eosId = json.at("eos_token_id").get<int64_t>();
  return read;
}

inline std::unique_ptr<Tokenizer> makeTokenizer(std::string_view segment) {
  StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::create(segment);
  if (!tokenizer.ok()) {
    ADD_FAILURE() << tokenizer.status().line("test");
    return nullptr;
  }
  return std::move(*tokenizer);
}

inline std::unique_ptr<Tokenizer> makeTokenizer(OwnedTokenizerSource &source) {
  StatusOr<std::string> segment = buildTokenizerSegment(source.view());
  if (!segment.ok()) {
    ADD_FAILURE() << segment.status().line("test");
    return nullptr;
  }
  return makeTokenizer(*segment);
}

/// SmolLM2's vocabulary.
inline const Tokenizer &smolLM2() {
  static const std::unique_ptr<Tokenizer> tokenizer =
      makeTokenizer(readFile(tokenizerData("smollm2.segment")));
  return *tokenizer;
}

inline std::vector<int32_t> encode(const Tokenizer &tokenizer,
                                   std::string_view text,
                                   bool parseSpecial = false) {
  std::vector<int32_t> ids;
  Status status = tokenizer.encode(text, parseSpecial, ids);
  EXPECT_TRUE(status.ok()) << status.line("test");
  return ids;
}

} // namespace chorus::rt

#endif // CHORUS_RT_TEST_TOKENIZERDATA_H
