//===- Journal.h - What a long run has finished -----------------*- C++ -*-===//
//
// OUT.journal stands beside the output OUT of a run and only grows. A group of
// records is written and synced; then a mark behind it says that everything
// before the mark is on disk. Little endian:
//
//   header   "CHORUSJL", u32 version, u32 CRC-32C of these 12 bytes
//   record   u32 tag, u32 flags, i64 request, i64 candidate, u64 payload size,
//            u32 CRC-32C of the payload, u32 CRC-32C of these 36 bytes;
//            the payload, zeros up to a multiple of 8
//
// The first record is the fingerprint. Bytes behind the last mark were never
// acknowledged and are cut off; a bad record before it is damage.
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RT_JOURNAL_H
#define CHORUS_RT_JOURNAL_H

#include "chorus_rt/OutputPlace.h"
#include "chorus_rt/SpillSorter.h"
#include "chorus_rt/Status.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus::rt {

/// A request, by a number that rises in the order of the output, and one of its
/// candidates.
struct JournalKey {
  static constexpr int64_t wholeRequest = -1;

  int64_t request = 0;
  int64_t candidate = wholeRequest;

  bool operator<(const JournalKey &other) const {
    return std::pair(request, candidate) <
           std::pair(other.request, other.candidate);
  }
  bool operator==(const JournalKey &other) const {
    return request == other.request && candidate == other.candidate;
  }
};

/// Where a record stands.
struct JournalEntry {
  JournalKey key;
  uint64_t offset = 0;

  bool operator<(const JournalEntry &other) const {
    return key < other.key || (key == other.key && offset < other.offset);
  }
};

/// Names and values of all that a run's results depend on, in the order in
/// which differences are told. Values are one line each.
using JournalFingerprint = std::vector<std::pair<std::string, std::string>>;

/// The journal of one output, locked. Not thread safe. Memory does not grow
/// with the records.
class Journal {
public:
  /// Opens or creates OUT.journal and locks it. Exit code 2: W08 if another
  /// process has the lock, names it; usage if the path is no regular file. Exit
  /// code 5 if the folder cannot be written to. `output` outlives the journal.
  static StatusOr<Journal> open(const OutputPlace &output);

  Journal(Journal &&other) noexcept;
  Journal &operator=(Journal &&) = delete;
  /// Removes a journal that never got a record.
  ~Journal();

  /// What begin() found.
  struct State {
    int64_t records = 0;
    uint64_t cutBytes = 0;      ///< Behind the last mark.
    int64_t damagedRegions = 0; ///< Taken out by `salvage`.
    uint64_t firstDamage = 0;   ///< Its offset.
  };

  /// Reads what is there, or writes the beginning; call once, before all that
  /// follows. Errors: W09 (exit 2) names the first difference between
  /// fingerprints; W07 (exit 3) for damage, which `salvage` takes out; W03,
  /// W04, io (exit 5).
  StatusOr<State> begin(const JournalFingerprint &fingerprint, bool salvage);

  /// Adds a record to the group that the next sync() writes.
  void append(const JournalKey &key, std::string_view payload);

  /// Bytes that wait for sync().
  size_t pendingBytes() const { return pending.size(); }

  /// Writes what was appended and waits for the disk: Ok acknowledges it. An
  /// error (exit code 5: W03, W04, W10, io) is final.
  Status sync();

  /// Entries of all records appended or found so far, in rising key.
  StatusOr<SpillSorter<JournalEntry>::Reader> entries() { return index.read(); }

  /// Reads a record that was synced. W07 (exit 3) if it has changed.
  Status read(const JournalEntry &entry, std::string &payload) const;

  /// W10 (exit 5) if the path does not lead to the journal any more.
  Status checkPlace() const;

  /// Removes the file: all that it held is in the output.
  Status remove();

  /// The path for messages.
  std::string shown() const;

private:
  struct Header;
  class Scan;

  explicit Journal(const OutputPlace &output);
  Status lock();
  Status startAnew(const JournalFingerprint &fingerprint);
  Status compare(const std::string &found,
                 const JournalFingerprint &fingerprint) const;
  Status silence(uint64_t begin, uint64_t end);
  Status appendMark();
  Status fail(Status status);
  Status damage(uint64_t offset, const std::string &what) const;

  const OutputPlace *output;
  std::string name;
  int fd = -1;
  /// Nothing in it is worth keeping.
  bool empty = false;
  bool failed = false;
  uint64_t end = 0; ///< Of what was synced and marked.
  std::string pending;
  SpillSorter<JournalEntry> index;
};

} // namespace chorus::rt

#endif // CHORUS_RT_JOURNAL_H
