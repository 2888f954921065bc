//===- Lexer.h - Tokens of a chat template ----------------------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_LEXER_H
#define CHORUS_RT_TEXT_TEMPLATE_LEXER_H

#include "RenderState.h"

#include <string>
#include <string_view>
#include <vector>

namespace chorus::rt::jinja {

enum class TokenKind {
  Data, ///< Text between tags, whitespace control applied.
  VariableBegin,
  VariableEnd,
  BlockBegin,
  BlockEnd,
  Name,
  String, ///< Text with escapes resolved.
  Integer,
  Float,
  Operator,
  End,
};

struct Token {
  TokenKind kind;
  Position at;
  /// Integers and floats without underscores.
  std::string text;
};

/// Splits `source` (newlines already normalised to \n) with trim_blocks and
/// lstrip_blocks on. Throws TemplateError. The last token is End.
std::vector<Token> tokenize(std::string_view source);

/// \r\n and \r become \n, and one newline at the end goes.
std::string normalizeNewlines(std::string source);

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_LEXER_H
