//===- RenderState.h - Errors and costs of one rendering --------*- C++ -*-===//

#ifndef CHORUS_RT_TEXT_TEMPLATE_RENDERSTATE_H
#define CHORUS_RT_TEXT_TEMPLATE_RENDERSTATE_H

#include "MarkedText.h"
#include "chorus_rt/ChatTemplate.h"

#include <cstdint>
#include <string>
#include <utility>

namespace chorus::rt::jinja {

/// Line and column (in bytes), both from 1; 0 where there is none.
struct Position {
  uint32_t line = 0, column = 0;
};

/// Thrown inside the interpreter only; ChatTemplate turns it into a Status.
struct TemplateError {
  std::string code;
  Position at;
  std::string message;
};

/// Counts what a rendering costs and knows where it is.
class RenderState {
public:
  explicit RenderState(const TemplateBudget &budget) : budget(budget) {}

  /// Place of the node that is being evaluated.
  Position at;

  [[noreturn]] void fail(std::string message) const {
    throw TemplateError{"template", at, std::move(message)};
  }
  [[noreturn]] void exceed(std::string message) const {
    throw TemplateError{"T12", at, std::move(message)};
  }

  void charge(uint64_t count = 1) {
    steps += count;
    if (steps > budget.maxSteps)
      exceed("rendering takes more than " + std::to_string(budget.maxSteps) +
             " steps");
  }
  /// One pass over `bytes` of text.
  void chargeText(size_t bytes) { charge(1 + bytes / 64); }
  /// Memory of a new value.
  void chargeValue(size_t bytes) {
    charge(1 + bytes / 64);
    valueBytes += bytes;
    if (valueBytes > budget.maxValueBytes || bytes > budget.maxValueBytes)
      exceed("rendering makes values of more than " +
             std::to_string(budget.maxValueBytes) + " bytes");
  }

  /// One level of nested evaluation, for the time of a scope.
  class Nesting {
  public:
    explicit Nesting(RenderState &state) : state(state) {
      if (state.depth >= state.budget.maxDepth)
        state.exceed("evaluation nests deeper than " +
                     std::to_string(state.budget.maxDepth) + " levels");
      ++state.depth;
    }
    ~Nesting() { --state.depth; }
    Nesting(const Nesting &) = delete;
    Nesting &operator=(const Nesting &) = delete;

  private:
    RenderState &state;
  };

  /// Lists and dicts nest at most this deep, so that walking them is safe.
  static constexpr unsigned maxValueDepth = 200;

  const TemplateBudget budget;

private:
  uint64_t steps = 0;
  size_t valueBytes = 0;
  unsigned depth = 0;
};

/// Text under construction whose growth is charged.
class TextBuilder {
public:
  explicit TextBuilder(RenderState &state) : state(state) {}

  void append(std::string_view piece, bool isUser) {
    grow(piece.size());
    text.append(piece, isUser);
  }
  void append(const MarkedText &piece) { append(piece, 0, piece.size()); }
  void append(const MarkedText &piece, size_t begin, size_t end) {
    size_t runs = begin < end ? piece.runAt(end - 1) - piece.runAt(begin) : 0;
    grow(end - begin + runs * sizeof(MarkedText::Run));
    text.append(piece, begin, end);
  }

  size_t size() const { return text.size(); }
  MarkedText take() { return std::move(text); }

private:
  void grow(size_t bytes) {
    state.chargeValue(bytes + sizeof(MarkedText::Run));
  }

  RenderState &state;
  MarkedText text;
};

} // namespace chorus::rt::jinja

#endif // CHORUS_RT_TEXT_TEMPLATE_RENDERSTATE_H
