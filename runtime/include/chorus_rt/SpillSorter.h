//===- SpillSorter.h - Sorts more than memory holds -------------*- C++ -*-===//

#ifndef CHORUS_RT_SPILLSORTER_H
#define CHORUS_RT_SPILLSORTER_H

#include "chorus_rt/OutputPlace.h"
#include "chorus_rt/Status.h"

#include <algorithm>
#include <cstdint>
#include <queue>
#include <type_traits>
#include <utility>
#include <vector>

namespace chorus::rt {

/// A file without a name, made in the folder of an output when the first bytes
/// come.
class SpillFile {
public:
  /// `place` outlives the file.
  explicit SpillFile(const OutputPlace &place) : place(&place) {}
  SpillFile(SpillFile &&other) noexcept
      : place(other.place), fd(std::exchange(other.fd, -1)),
        sizeBytes(std::exchange(other.sizeBytes, 0)) {}
  SpillFile &operator=(SpillFile &&) = delete;
  ~SpillFile();

  uint64_t size() const { return sizeBytes; }
  /// The descriptor, owned by this; -1 before the first bytes.
  int descriptor() const { return fd; }
  /// Errors: exit code 5.
  Status append(const void *data, uint64_t count);
  /// Reads bytes that were appended.
  Status read(void *data, uint64_t count, uint64_t offset) const;

private:
  const OutputPlace *place;
  int fd = -1;
  uint64_t sizeBytes = 0;
};

/// Takes items in any order and gives them in rising order. Only `inMemory` of
/// them are held at once; runs of so many are sorted and written to a file
/// beside an output, and merged when they are read.
template <typename T> class SpillSorter {
  static_assert(std::is_trivially_copyable_v<T>);

public:
  static constexpr size_t inMemory = 65536;
  /// Of each run, so many items are read at once.
  static constexpr size_t readAhead = 128;

  /// `place` outlives the sorter.
  explicit SpillSorter(const OutputPlace &place) : file(place) {}

  Status add(const T &item) {
    items.reserve(inMemory);
    items.push_back(item);
    return items.size() < inMemory ? Status() : spill();
  }

  /// Items that were added before it was made, in rising order.
  class Reader {
  public:
    /// Gives the next item; false after the last. Errors: exit code 5.
    StatusOr<bool> next(T &item) {
      if (cursors.empty())
        return false;
      std::pop_heap(cursors.begin(), cursors.end(), isLater);
      Cursor &cursor = cursors.back();
      item = cursor.items[cursor.at++];
      StatusOr<bool> more = fill(cursor);
      if (!more.ok())
        return more.status();
      if (*more)
        std::push_heap(cursors.begin(), cursors.end(), isLater);
      else
        cursors.pop_back();
      return true;
    }

  private:
    friend class SpillSorter;
    struct Cursor {
      uint64_t offset, end; ///< Bytes of the run that are still in the file.
      std::vector<T> items;
      size_t at;
    };
    explicit Reader(const SpillFile &file) : file(&file) {}

    static bool isLater(const Cursor &a, const Cursor &b) {
      return b.items[b.at] < a.items[a.at];
    }
    /// Makes sure that a cursor has an item; false at the end of its run.
    StatusOr<bool> fill(Cursor &cursor) {
      if (cursor.at < cursor.items.size())
        return true;
      uint64_t left = (cursor.end - cursor.offset) / sizeof(T);
      if (left == 0)
        return false;
      cursor.items.resize(std::min<uint64_t>(left, readAhead));
      cursor.at = 0;
      uint64_t bytes = cursor.items.size() * sizeof(T);
      CHORUS_RETURN_IF_ERROR(
          file->read(cursor.items.data(), bytes, cursor.offset));
      cursor.offset += bytes;
      return true;
    }

    const SpillFile *file;
    std::vector<Cursor> cursors; ///< A heap.
  };

  /// Later items do not disturb the reader. The sorter outlives it and does not
  /// move.
  StatusOr<Reader> read() {
    Reader reader(file);
    std::sort(items.begin(), items.end());
    if (!items.empty())
      reader.cursors.push_back({0, 0, items, 0});
    for (auto [offset, end] : runs) {
      typename Reader::Cursor cursor{offset, end, {}, 0};
      CHORUS_RETURN_IF_ERROR(reader.fill(cursor).status());
      reader.cursors.push_back(std::move(cursor));
    }
    std::make_heap(reader.cursors.begin(), reader.cursors.end(),
                   Reader::isLater);
    return reader;
  }

private:
  /// Writes what is in memory as one run.
  Status spill() {
    std::sort(items.begin(), items.end());
    uint64_t offset = file.size();
    CHORUS_RETURN_IF_ERROR(file.append(items.data(), items.size() * sizeof(T)));
    runs.emplace_back(offset, file.size());
    items.clear();
    return Status();
  }

  SpillFile file;
  std::vector<T> items;
  std::vector<std::pair<uint64_t, uint64_t>> runs; ///< Bytes of the file.
};

} // namespace chorus::rt

#endif // CHORUS_RT_SPILLSORTER_H
