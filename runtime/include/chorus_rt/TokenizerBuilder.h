//===- TokenizerBuilder.h - Vocabularies to segment bytes -------*- C++ -*-===//
//
// Checks a vocabulary as it stands in a GGUF file and writes the tokenizer
// segment of an artifact. Used by the compiler and by tests.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TOKENIZERBUILDER_H
#define CHORUS_RT_TOKENIZERBUILDER_H

#include "chorus_rt/Status.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// A vocabulary, field by field as GGUF's keys `tokenizer.ggml.*`. An absent
/// optional is an absent key.
struct TokenizerSource {
  /// `pre`: "gpt-2", "llama-bpe" or "smollm".
  std::string pre;
  /// `tokens`: texts by id, normal ones in GPT-2's byte alphabet.
  std::vector<std::string_view> tokens;
  /// `token_type`: one a token, or empty (all normal).
  std::vector<int32_t> kinds;
  /// `merges`: "left right" in rank order.
  std::vector<std::string_view> merges;
  /// Length of `scores`, which byte-pair encoding does not use.
  std::optional<uint64_t> numScores;
  /// `bos_token_id`, `eos_token_id`, `unknown_token_id`, `padding_token_id`.
  std::optional<int64_t> bosId, eosId, unknownId, paddingId;
  /// `add_bos_token`, `add_eos_token`. Without the key, BOS is added for
  /// "llama-bpe" where there is a BOS token, EOS never.
  std::optional<bool> addBos, addEos;
};

/// Whether `pre` names a pre-tokeniser that the runtime has.
bool isKnownPreTokenizer(std::string_view pre);

/// Whether llama.cpp ends generation at a token of this text.
bool isEndOfGenerationText(std::string_view tokenText);

/// Whether llama.cpp takes a token of this text for a control token whatever
/// its type: the texts above and those of fill-in-the-middle.
bool isControlText(std::string_view tokenText);

/// The segment's bytes; equal sources give equal bytes. A normal or
/// user-defined token with a control text that no merge makes is stored as a
/// control token.
///
/// Errors are refusals whose place is the GGUF key and index: `unsupported`
/// (pre-tokeniser), G24 (byte token that is not <0xHH>, scores or types of
/// another length, unknown type, special id out of range, BOS or EOS asked for
/// but not named), T03 (merge malformed, with an unknown part or result, or
/// repeated), T04 (token text repeated), T05 (special token without text). Exit
/// 4, code T01, if the vocabulary does not fit a segment.
StatusOr<std::string> buildTokenizerSegment(const TokenizerSource &source);

} // namespace chorus::rt

#endif // CHORUS_RT_TOKENIZERBUILDER_H
