//===- Status.cpp - Errors that end as one line and an exit code ----------===//

#include "chorus_rt/Status.h"

#include "chorus_rt/Utf8.h"

#include <cstdio>

namespace chorus::rt {

Status Status::error(ExitCode exitCode, std::string code, std::string place,
                     std::string message) {
  Status status;
  status.exit = exitCode;
  status.errorCode = std::move(code);
  status.errorPlace = std::move(place);
  status.errorMessage = std::move(message);
  return status;
}

std::string Status::line(std::string_view program) const {
  constexpr size_t maxLineBytes = 512;
  std::string text(program);
  text += ": error " + errorCode + ": ";
  if (!errorPlace.empty())
    text += errorPlace + ": ";
  text += errorMessage;
  for (char &c : text)
    if (c == '\n' || c == '\r')
      c = ' ';
  if (text.size() > maxLineBytes) {
    text.resize(maxLineBytes - 3);
    while (!text.empty() &&
           (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80)
      text.pop_back();
    if (!text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0)
      text.pop_back();
    text += "...";
  }
  return text;
}

static void appendJsonString(std::string &out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof buffer, "\\u%04x", c);
      out += buffer;
    } else {
      out += c;
    }
  }
  out += '"';
}

std::string Status::json(std::string_view program) const {
  std::string out = "{\"program\":";
  appendJsonString(out, program);
  out += ",\"severity\":\"error\",\"code\":";
  appendJsonString(out, errorCode);
  out += ",\"exit_code\":" + std::to_string(static_cast<int>(exit));
  out += ",\"place\":";
  appendJsonString(out, errorPlace);
  out += ",\"message\":";
  appendJsonString(out, errorMessage);
  return out + "}";
}

Status usageError(std::string message) {
  return Status::error(ExitCode::Usage, "usage", "", std::move(message));
}

Status refused(std::string code, std::string place, std::string message) {
  return Status::error(ExitCode::Refused, std::move(code), std::move(place),
                       std::move(message));
}

Status limitError(std::string code, std::string place, std::string message) {
  return Status::error(ExitCode::Limit, std::move(code), std::move(place),
                       std::move(message));
}

Status ioError(std::string code, std::string place, std::string message) {
  return Status::error(ExitCode::IO, std::move(code), std::move(place),
                       std::move(message));
}

Status unsupported(std::string place, std::string message) {
  return Status::error(ExitCode::Refused, "unsupported", std::move(place),
                       std::move(message));
}

std::string escapeForMessage(std::string_view text, size_t maxBytes) {
  std::string out;
  while (!text.empty()) {
    size_t length = utf8SequenceLength(text);
    unsigned char lead = static_cast<unsigned char>(text[0]);
    // C0, DEL and C1 controls (U+0080 to U+009F) can steer a terminal.
    bool control = lead < 0x20 || lead == 0x7F ||
                   (length == 2 && lead == 0xC2 &&
                    static_cast<unsigned char>(text[1]) < 0xA0);
    std::string piece;
    if (length == 0 || control) {
      length = length == 0 ? 1 : length;
      for (size_t i = 0; i < length; ++i) {
        char buffer[8];
        std::snprintf(buffer, sizeof buffer, "\\x%02x",
                      static_cast<unsigned char>(text[i]));
        piece += buffer;
      }
    } else if (lead == '\\') {
      piece = "\\\\";
    } else {
      piece = std::string(text.substr(0, length));
    }
    if (out.size() + piece.size() > maxBytes) {
      out += "...";
      break;
    }
    out += piece;
    text.remove_prefix(length);
  }
  return out;
}

} // namespace chorus::rt
