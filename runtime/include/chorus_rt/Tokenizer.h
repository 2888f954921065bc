//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
//
// Byte-level byte-pair encoding as GGUF files of tokenizer model "gpt2"
// describe it, with the same ids as llama.cpp:
//
//  1. special tokens are cut out of the text, longest token first;
//  2. the rest is split into words by the pre-tokeniser's regular expression;
//  3. each word's bytes are merged pair by pair, lowest merge rank first.
//
// A byte that the vocabulary has no token for gives no id, as there. The one
// difference is deliberate: plain text never gives a control token, even where
// a whole word or a merge spells one.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_TOKENIZER_H
#define CHORUS_RT_TOKENIZER_H

#include "chorus_rt/Status.h"
#include "chorus_rt/TextSpan.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace chorus::rt {

/// Kinds of tokens, numbered as in GGUF's tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  Undefined = 0,
  Normal = 1,
  Unknown = 2,
  Control = 3,
  UserDefined = 4,
  Unused = 5,
  Byte = 6,
};

/// An immutable vocabulary. All const members may run at the same time.
class Tokenizer {
public:
  /// The longest text that is tokenised, in bytes; a longer one is T08.
  static constexpr size_t maxTextBytes = size_t(16) << 20;

  /// Reads a tokenizer segment (runtime/schema/tokenizer.fbs). The bytes are
  /// copied: they need not outlive the call. Errors: A04 for a damaged
  /// structure, A08 for an id outside the vocabulary, `unsupported` for a
  /// pre-tokeniser that this version does not know.
  static StatusOr<std::unique_ptr<Tokenizer>>
  create(std::string_view segmentBytes);

  ~Tokenizer();
  Tokenizer(const Tokenizer &) = delete;
  Tokenizer &operator=(const Tokenizer &) = delete;

  /// Replaces `ids` by the tokens of `text`, without BOS and EOS. Texts of
  /// user-defined tokens are always recognised; those of control and unknown
  /// tokens only if `parseSpecial`, else they are plain text and never give a
  /// control token.
  /// Errors, with `ids` empty: T08 (exit 4) for a text over `maxTextBytes`,
  /// T09 (exit 3) with the byte offset of the first invalid UTF-8.
  Status encode(std::string_view text, bool parseSpecial,
                std::vector<int32_t> &ids) const;

  /// The same for a rendered chat: the spans are one text, words run across
  /// their borders, but a control or unknown token is recognised only where
  /// none of its bytes is user text. Offsets in errors count from the first
  /// span's first byte.
  Status encode(const std::vector<TextSpan> &spans,
                std::vector<int32_t> &ids) const;

  /// Number of tokens; ids are 0 to size()-1.
  int32_t size() const;

  /// The id, or -1 where the model names none.
  int32_t bosId() const;
  int32_t eosId() const;
  int32_t unknownId() const;
  int32_t paddingId() const;
  /// Whether the model asks for BOS before, EOS after a prompt. If so the id
  /// exists.
  bool addBos() const;
  bool addEos() const;

  /// Errors of the three: T11 for an id outside the vocabulary. The views live
  /// as long as the tokenizer.
  StatusOr<TokenKind> kind(int32_t id) const;
  /// The bytes that a token adds to a text, not always whole characters: empty
  /// for control, unknown, unused and undefined tokens.
  StatusOr<std::string_view> tokenBytes(int32_t id) const;
  /// The token's text, special tokens included ("<|im_end|>"); equal to
  /// `tokenBytes` where that is not empty.
  StatusOr<std::string_view> tokenText(int32_t id) const;

private:
  struct Tables;
  explicit Tokenizer(std::unique_ptr<Tables> tables);

  std::unique_ptr<Tables> tables;
};

} // namespace chorus::rt

#endif // CHORUS_RT_TOKENIZER_H
