//===- Decoder.cpp - One step of many sequences ---------------------------===//

#include "chorus_rt/Decoder.h"

#include <cassert>
#include <cstring>
#include <new>

namespace chorus::rt {

static Status stepOutOfMemory() {
  return limitError("N10", "step", "out of memory");
}

//===----------------------------------------------------------------------===//
// PagedDecoder
//===----------------------------------------------------------------------===//

Status PagedDecoder::step(const std::vector<SequenceRows> &batch, float *logits,
                          float *logSumExp) try {
  tables.tokens.clear();
  tables.positions.clear();
  tables.rowPages.clear();
  tables.outputRows.clear();
  copies.clear();
  uint64_t positionsRead = 0;
  for (const SequenceRows &part : batch) {
    Sequence &sequence = *part.sequence;
    int64_t first = sequence.computed();
    assert(part.rows > 0 && first + part.rows <= sequence.length());
    CHORUS_RETURN_IF_ERROR(sequence.cache()->prepare(part.rows, copies));
    for (int64_t i = 0; i < part.rows; ++i) {
      if (i >= part.rows - part.outputs)
        tables.outputRows.push_back(static_cast<int32_t>(tables.tokens.size()));
      tables.tokens.push_back(
          sequence.tokens()[static_cast<size_t>(first + i)]);
      tables.positions.push_back(static_cast<int32_t>(first + i));
      positionsRead += static_cast<uint64_t>(first + i + 1);
      tables.rowPages.push_back(sequence.cache()->table());
    }
  }
  CHORUS_RETURN_IF_ERROR(arena.reserve(
      program.arenaBytes(static_cast<int64_t>(tables.tokens.size()),
                         static_cast<int64_t>(tables.outputRows.size()))));
  // A page that several sequences copy is a page that none of them writes in
  // this step, save its last holder, which writes after the copies are made.
  threads.forEachRange(
      static_cast<int64_t>(copies.size()), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          PageCopy copy = copies[static_cast<size_t>(i)];
          std::memcpy(pool.pageData(copy.to), pool.pageData(copy.from),
                      pool.pageBytes());
        }
      });
  if (program.hasValues())
    lastValues.resize(tables.outputRows.size());
  {
    FloatControlScope floatControl;
    CHORUS_RETURN_IF_ERROR(program.run(tables, pool.data(), arena.data(),
                                       *threads.api(), logits, logSumExp,
                                       lastValues.data()));
  }
  for (const SequenceRows &part : batch)
    part.sequence->advance(part.rows);
  ++counts.steps;
  counts.rowsComputed += tables.tokens.size();
  counts.outputRows += tables.outputRows.size();
  counts.positionsRead += positionsRead;
  return Status();
} catch (const std::bad_alloc &) {
  return stepOutOfMemory();
}

DecoderCounters PagedDecoder::counters() const {
  DecoderCounters result = counts;
  result.pagesAllocated = pool.pagesAllocated();
  result.peakPages = pool.peakPages();
  return result;
}

std::string PagedDecoder::locateNonFinite(const Sequence &sequence) const {
  int64_t position = sequence.computed() - 1;
  PageId page =
      sequence.cache()
          ->pageTable()[static_cast<size_t>(position / CHORUS_PAGE_POSITIONS)];
  std::optional<int64_t> layer = program.firstNonFiniteLayer(
      pool.pageData(page), position % CHORUS_PAGE_POSITIONS);
  return layer
             ? "first in the keys and values of layer " + std::to_string(*layer)
             : "behind the keys and values of layer " +
                   std::to_string(program.layers() - 1) + ", the last";
}

//===----------------------------------------------------------------------===//
// RecomputingDecoder
//===----------------------------------------------------------------------===//

Status RecomputingDecoder::step(const std::vector<SequenceRows> &batch,
                                float *logits, float *logSumExp) try {
  size_t vocab = static_cast<size_t>(program.vocabSize());
  std::vector<int32_t> tokens;
  lastValues.clear();
  for (const SequenceRows &part : batch) {
    Sequence &sequence = *part.sequence;
    int64_t length = sequence.computed() + part.rows;
    assert(part.rows > 0 && length <= sequence.length());
    if (part.outputs > 0) {
      size_t count = static_cast<size_t>(length);
      tokens.assign(sequence.tokens().begin(),
                    sequence.tokens().begin() + length);
      CHORUS_RETURN_IF_ERROR(arena.reserve(program.arenaBytes(length)));
      CHORUS_RETURN_IF_ERROR(allLogits.reserve(count * vocab * sizeof(float)));
      allLogSumExp.resize(count);
      if (program.hasValues())
        allValues.resize(count);
      {
        FloatControlScope floatControl;
        CHORUS_RETURN_IF_ERROR(program.run(
            tokens, arena.data(), *threads.api(), allLogits.as<float>(),
            allLogSumExp.data(), allValues.data()));
      }
      size_t wanted = static_cast<size_t>(part.outputs);
      size_t first = count - wanted;
      std::memcpy(logits, allLogits.as<float>() + first * vocab,
                  wanted * vocab * sizeof(float));
      std::memcpy(logSumExp, allLogSumExp.data() + first,
                  wanted * sizeof(float));
      if (program.hasValues())
        lastValues.insert(lastValues.end(),
                          allValues.end() - static_cast<ptrdiff_t>(wanted),
                          allValues.end());
      logits += wanted * vocab;
      logSumExp += wanted;
      counts.rowsComputed += count;
      counts.outputRows += wanted;
      counts.positionsRead += count * (count + 1) / 2;
    }
  }
  for (const SequenceRows &part : batch)
    part.sequence->advance(part.rows);
  ++counts.steps;
  return Status();
} catch (const std::bad_alloc &) {
  return stepOutOfMemory();
}

DecoderCounters RecomputingDecoder::counters() const { return counts; }

} // namespace chorus::rt
