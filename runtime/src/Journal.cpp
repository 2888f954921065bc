//===- Journal.cpp - What a long run has finished -------------------------===//

#include "chorus_rt/Journal.h"

#include "FileAccess.h"
#include "chorus_rt/Crc32c.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

static constexpr char magic[] = "CHORUSJL";
static constexpr uint32_t formatVersion = 1;
static constexpr uint64_t fileHeaderBytes = 16;

enum Tag : uint32_t {
  FingerprintTag = 0x464A4843, // "CHJF"
  RecordTag = 0x524A4843,      // "CHJR"
  MarkTag = 0x4D4A4843,        // "CHJM"
  /// Stands where a damaged region was.
  VoidTag = 0x564A4843, // "CHJV"
};

/// As it stands in the file.
struct Journal::Header {
  uint32_t tag = 0;
  uint32_t flags = 0;
  int64_t request = 0;
  int64_t candidate = 0;
  uint64_t payloadBytes = 0;
  uint32_t payloadCrc = 0;
  uint32_t headerCrc = 0;

  uint32_t computeCrc() const { return crc32c(this, 36); }
  bool isValid() const {
    return (tag == FingerprintTag || tag == RecordTag || tag == MarkTag ||
            tag == VoidTag) &&
           headerCrc == computeCrc();
  }
};

static uint64_t padded(uint64_t bytes) { return (bytes + 7) & ~uint64_t(7); }

/// Appends a record; `payload` includes no padding.
template <typename Header>
static void appendRecord(std::string &out, Tag tag, const JournalKey &key,
                         std::string_view payload) {
  static_assert(sizeof(Header) == 40);
  size_t start = out.size();
  out.append(sizeof(Header), '\0').append(payload);
  out.resize(start + sizeof(Header) + padded(payload.size()));
  char *at = out.data() + start;
  Header header;
  header.tag = tag;
  header.request = key.request;
  header.candidate = key.candidate;
  header.payloadBytes = payload.size();
  header.payloadCrc = crc32c(at + sizeof(Header), padded(payload.size()));
  header.headerCrc = header.computeCrc();
  std::memcpy(at, &header, sizeof header);
}

static std::string fileHeader() {
  std::string bytes(magic, 8);
  bytes.append(reinterpret_cast<const char *>(&formatVersion), 4);
  uint32_t crc = crc32c(bytes.data(), bytes.size());
  bytes.append(reinterpret_cast<const char *>(&crc), 4);
  return bytes;
}

static std::string fingerprintText(const JournalFingerprint &fingerprint) {
  std::string text;
  for (const auto &[name, value] : fingerprint)
    text.append(name).append("=").append(value).append("\n");
  return text;
}

static Status notRegular(const std::string &shown, const char *kind) {
  return usageError("cannot write " + shown + ": it " + kind);
}

Journal::Journal(const OutputPlace &output)
    : output(&output), name(output.name() + ".journal"), index(output) {}

Journal::Journal(Journal &&other) noexcept
    : output(other.output), name(std::move(other.name)),
      fd(std::exchange(other.fd, -1)), empty(other.empty), failed(other.failed),
      end(other.end), pending(std::move(other.pending)),
      index(std::move(other.index)) {}

Journal::~Journal() {
  if (fd < 0)
    return;
  if (empty)
    unlinkat(output->folder(), name.c_str(), 0);
  ::close(fd);
}

std::string Journal::shown() const {
  return escapeForMessage(output->path(), 190) + ".journal";
}

StatusOr<Journal> Journal::open(const OutputPlace &output) {
  Journal journal(output);
  CHORUS_RETURN_IF_ERROR(journal.lock());
  return journal;
}

/// A lock of the process, not of the open file: only those tell their holder.
Status Journal::lock() {
  for (;;) {
    fd = openat(output->folder(), name.c_str(),
                O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (fd < 0 && errno == ELOOP)
      return notRegular(shown(), "is a symbolic link");
    if (fd < 0 && errno == EISDIR)
      return notRegular(shown(), "is a directory");
    if (fd < 0 && errno == ENAMETOOLONG)
      return usageError("cannot write " + shown() + ": " +
                        std::strerror(errno));
    if (fd < 0)
      return fileError(shown(), "create");
    struct stat opened, named;
    if (fstat(fd, &opened) != 0)
      return fileError(shown(), "stat");
    if (!S_ISREG(opened.st_mode))
      return notRegular(shown(), "is no regular file");
    struct flock wanted = {};
    wanted.l_type = F_WRLCK;
    wanted.l_whence = SEEK_SET;
    if (fcntl(fd, F_SETLK, &wanted) != 0) {
      if (errno != EAGAIN && errno != EACCES)
        return fileError(shown(), "lock");
      struct flock held = wanted;
      bool known = fcntl(fd, F_GETLK, &held) == 0 && held.l_pid > 0;
      if (known && held.l_type == F_UNLCK) {
        ::close(std::exchange(fd, -1)); // It has just ended.
        continue;
      }
      return Status::error(ExitCode::Usage, "W08", output->shown(),
                           "another run writes it" +
                               (known
                                    ? ", process " + std::to_string(held.l_pid)
                                    : std::string()));
    }
    // The former holder may have removed the file before we had the lock.
    if (fstatat(output->folder(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) ==
            0 &&
        named.st_ino == opened.st_ino && named.st_dev == opened.st_dev) {
      empty = opened.st_size == 0;
      return Status();
    }
    ::close(std::exchange(fd, -1));
  }
}

//===----------------------------------------------------------------------===//
// Reading what is there
//===----------------------------------------------------------------------===//

/// Walks a file by a buffer of bounded size.
class Journal::Scan {
public:
  Scan(int fd, uint64_t size) : fd(fd), size(size) {}

  /// The record at `offset` if its header is whole.
  bool readHeader(uint64_t offset, Header &header) {
    return copy(offset, &header, sizeof header) && header.isValid();
  }

  /// Whether the record's payload is whole too.
  bool checkPayload(uint64_t offset, const Header &header) {
    uint64_t at = offset + sizeof header;
    if (header.payloadBytes > size - at ||
        padded(header.payloadBytes) > size - at)
      return false;
    uint64_t left = padded(header.payloadBytes);
    uint32_t crc = 0;
    while (left > 0) {
      uint64_t count = std::min<uint64_t>(left, fetch(at));
      if (count == 0)
        return false;
      crc = crc32c(buffer.data() + (at - bufferOffset), count, crc);
      at += count;
      left -= count;
    }
    return crc == header.payloadCrc;
  }

  static uint64_t endOf(uint64_t offset, const Header &header) {
    return offset + sizeof header + padded(header.payloadBytes);
  }

  /// The first place from `offset` on where a whole header stands, or the
  /// file's size.
  uint64_t findHeader(uint64_t offset) {
    Header header;
    for (; offset + sizeof header <= size; offset += 8)
      if (readHeader(offset, header))
        return offset;
    return size;
  }

  bool copy(uint64_t offset, void *out, uint64_t count) {
    char *to = static_cast<char *>(out);
    while (count > 0) {
      uint64_t here = std::min(count, fetch(offset));
      if (here == 0)
        return false;
      std::memcpy(to, buffer.data() + (offset - bufferOffset), here);
      to += here;
      offset += here;
      count -= here;
    }
    return true;
  }

  /// An error of the device, as opposed to an end.
  bool failed() const { return readFailed; }

private:
  /// Makes the byte at `offset` available; returns how many are from there on.
  uint64_t fetch(uint64_t offset) {
    if (offset >= bufferOffset && offset < bufferOffset + buffer.size())
      return bufferOffset + buffer.size() - offset;
    if (offset >= size)
      return 0;
    buffer.resize(std::min<uint64_t>(size - offset, 256 << 10));
    bufferOffset = offset;
    int64_t got = readFully(fd, buffer.data(), buffer.size(), offset);
    readFailed |= got < 0;
    buffer.resize(static_cast<size_t>(std::max<int64_t>(got, 0)));
    return buffer.size();
  }

  int fd;
  uint64_t size;
  std::vector<char> buffer;
  uint64_t bufferOffset = 0;
  bool readFailed = false;
};

Status Journal::damage(uint64_t offset, const std::string &what) const {
  return refused("W07", shown() + " @" + std::to_string(offset), what);
}

StatusOr<Journal::State> Journal::begin(const JournalFingerprint &fingerprint,
                                        bool salvage) {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return fileError(shown(), "stat");
  uint64_t size = static_cast<uint64_t>(info.st_size);
  Scan scan(fd, size);
  State state;

  std::string expected = fileHeader();
  std::string header(std::min(size, fileHeaderBytes), '\0');
  scan.copy(0, header.data(), header.size());
  bool goodHeader = header == expected;
  if (size >= fileHeaderBytes && !goodHeader &&
      header.compare(0, 8, magic) == 0) {
    uint32_t version, crc;
    std::memcpy(&version, header.data() + 8, 4);
    std::memcpy(&crc, header.data() + 12, 4);
    if (crc == crc32c(header.data(), 12))
      return unsupported(shown(), "version " + std::to_string(version) +
                                      ", supported is version " +
                                      std::to_string(formatVersion));
  }

  // Of a group that no mark has confirmed yet.
  std::vector<JournalEntry> group;
  std::vector<std::pair<uint64_t, uint64_t>> groupDamage, damaged;
  std::optional<std::string> found;
  uint64_t offset = fileHeaderBytes, marked = 0;
  while (offset < size) {
    Header record;
    if (!scan.readHeader(offset, record) ||
        !scan.checkPayload(offset, record)) {
      uint64_t next = scan.findHeader(offset + 8);
      if (next == size)
        break;
      if (!groupDamage.empty() && groupDamage.back().second == offset)
        groupDamage.back().second = next;
      else
        groupDamage.emplace_back(offset, next);
      offset = next;
      continue;
    }
    uint64_t next = Scan::endOf(offset, record);
    if (record.tag == FingerprintTag && offset == fileHeaderBytes) {
      found.emplace(record.payloadBytes, '\0');
      scan.copy(offset + sizeof record, found->data(), found->size());
    } else if (record.tag == RecordTag) {
      group.push_back({{record.request, record.candidate}, offset});
    } else if (record.tag == MarkTag) {
      marked = next;
      for (const JournalEntry &entry : group)
        CHORUS_RETURN_IF_ERROR(index.add(entry));
      state.records += static_cast<int64_t>(group.size());
      group.clear();
      damaged.insert(damaged.end(), groupDamage.begin(), groupDamage.end());
      groupDamage.clear();
    }
    offset = next;
  }
  if (scan.failed()) {
    errno = EIO;
    return fileError(shown(), "read");
  }

  if (marked == 0) {
    // Nothing in it was ever acknowledged, but it must be a journal.
    bool zeros = header.find_first_not_of('\0') == std::string::npos;
    bool torn = expected.compare(0, header.size(), header) == 0;
    if (!zeros && !torn)
      return usageError(shown() + " is there and is no journal of Chorus");
    CHORUS_RETURN_IF_ERROR(startAnew(fingerprint));
    return state;
  }
  if (!goodHeader)
    return damage(0, "the header is damaged; without the journal the run "
                     "begins anew");
  if (!found)
    return damage(fileHeaderBytes, "the fingerprint is damaged; without the "
                                   "journal the run begins anew");
  CHORUS_RETURN_IF_ERROR(compare(*found, fingerprint));
  if (!damaged.empty()) {
    if (!salvage)
      return damage(damaged.front().first,
                    "a record is damaged; --salvage keeps the others and runs "
                    "its request again");
    state.damagedRegions = static_cast<int64_t>(damaged.size());
    state.firstDamage = damaged.front().first;
    for (auto [first, last] : damaged)
      CHORUS_RETURN_IF_ERROR(silence(first, last));
  }
  empty = false;
  end = marked;
  state.cutBytes = size - marked;
  if (state.cutBytes > 0 && ftruncate(fd, static_cast<off_t>(marked)) != 0)
    return fail(fileError(shown(), "truncate"));
  if ((state.cutBytes > 0 || state.damagedRegions > 0) && fdatasync(fd) != 0)
    return fail(fileError(shown(), "sync"));
  return state;
}

/// Puts a record around a damaged region, so that it is whole from now on.
Status Journal::silence(uint64_t first, uint64_t last) {
  Header record;
  if (last - first < sizeof record)
    return damage(first, "the damage cannot be taken out; without the journal "
                         "the run begins anew");
  record.tag = VoidTag;
  record.payloadBytes = last - first - sizeof record;
  char buffer[4096];
  for (uint64_t at = first + sizeof record; at < last;) {
    uint64_t count = std::min<uint64_t>(last - at, sizeof buffer);
    if (readFully(fd, buffer, count, at) != static_cast<int64_t>(count))
      return fail(fileError(shown(), "read"));
    record.payloadCrc = crc32c(buffer, count, record.payloadCrc);
    at += count;
  }
  record.headerCrc = record.computeCrc();
  if (!writeFully(fd, &record, sizeof record, first))
    return fail(fileError(shown(), "write"));
  return Status();
}

Status Journal::compare(const std::string &found,
                        const JournalFingerprint &fingerprint) const {
  if (found == fingerprintText(fingerprint))
    return Status();
  auto valueIn = [&](const std::string &parameter) -> std::string {
    std::string key = "\n" + parameter + "=";
    size_t at = ("\n" + found).find(key);
    if (at == std::string::npos)
      return "absent";
    at += key.size() - 1;
    return found.substr(at, found.find('\n', at) - at);
  };
  std::string difference = "parameters are others";
  for (const auto &[parameter, value] : fingerprint)
    if (std::string before = valueIn(parameter); before != value) {
      difference = parameter + " was " + escapeForMessage(before, 32) +
                   ", is " + escapeForMessage(value, 32);
      break;
    }
  return Status::error(ExitCode::Usage, "W09", shown(),
                       "belongs to another run: " + difference +
                           "; another --out, or no journal, begins anew");
}

/// `end` is set first: a failed group is cut off behind it.
Status Journal::startAnew(const JournalFingerprint &fingerprint) {
  empty = true;
  if (ftruncate(fd, 0) != 0)
    return fail(fileError(shown(), "truncate"));
  std::string bytes = fileHeader();
  appendRecord<Header>(bytes, FingerprintTag, {}, fingerprintText(fingerprint));
  if (!writeFully(fd, bytes.data(), bytes.size(), 0))
    return fail(fileError(shown(), "write"));
  if (fdatasync(fd) != 0)
    return fail(fileError(shown(), "sync"));
  if (fsync(output->folder()) != 0)
    return fail(fileError(shown(), "sync the folder of"));
  end = bytes.size();
  return appendMark();
}

//===----------------------------------------------------------------------===//
// Records
//===----------------------------------------------------------------------===//

/// After an error nothing is written any more, and nothing that may not be on
/// disk stays: a sync that failed once may succeed later without the data.
Status Journal::fail(Status status) {
  failed = true;
  // A second error changes nothing: what is behind the last mark is cut off
  // when the journal is opened again.
  [[maybe_unused]] int ignored = ftruncate(fd, static_cast<off_t>(end));
  return status;
}

/// Everything up to `end` is on disk. The mark itself may get lost.
Status Journal::appendMark() {
  std::string mark;
  appendRecord<Header>(mark, MarkTag, {}, {});
  if (!writeFully(fd, mark.data(), mark.size(), end))
    return fail(fileError(shown(), "write"));
  end += mark.size();
  return Status();
}

void Journal::append(const JournalKey &key, std::string_view payload) {
  appendRecord<Header>(pending, RecordTag, key, payload);
}

/// Results that go where nobody finds them are no results.
Status Journal::checkPlace() const {
  struct stat opened, named;
  bool here = fstatat(output->folder(), name.c_str(), &named,
                      AT_SYMLINK_NOFOLLOW) == 0 &&
              fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
              named.st_dev == opened.st_dev;
  if (!here)
    return ioError("W10", shown(), "was removed or renamed during the run");
  if (!output->stillThere())
    return ioError("W10", output->shown(),
                   "its folder was removed or renamed during the run; the "
                   "journal went with it");
  return Status();
}

Status Journal::sync() {
  if (failed)
    return ioError("W04", shown(), "is not written to after an error");
  if (pending.empty())
    return Status();
  CHORUS_RETURN_IF_ERROR(checkPlace());
  if (!writeFully(fd, pending.data(), pending.size(), end))
    return fail(fileError(shown(), "write"));
  if (fdatasync(fd) != 0)
    return fail(fileError(shown(), "sync"));
  uint64_t first = end;
  end += pending.size();
  CHORUS_RETURN_IF_ERROR(appendMark());
  empty = false;
  for (uint64_t at = 0; at < pending.size();) {
    Header record;
    std::memcpy(&record, pending.data() + at, sizeof record);
    CHORUS_RETURN_IF_ERROR(
        index.add({{record.request, record.candidate}, first + at}));
    at = Scan::endOf(at, record);
  }
  pending.clear();
  return Status();
}

Status Journal::read(const JournalEntry &entry, std::string &payload) const {
  Header record;
  int64_t got = readFully(fd, &record, sizeof record, entry.offset);
  if (got < 0)
    return fileError(shown(), "read");
  if (got != sizeof record || !record.isValid() || record.tag != RecordTag ||
      !(JournalKey{record.request, record.candidate} == entry.key))
    return damage(entry.offset, "a record has changed since it was read");
  payload.resize(padded(record.payloadBytes));
  got = readFully(fd, payload.data(), payload.size(),
                  entry.offset + sizeof record);
  if (got < 0)
    return fileError(shown(), "read");
  if (static_cast<size_t>(got) != payload.size() ||
      crc32c(payload.data(), payload.size()) != record.payloadCrc)
    return damage(entry.offset, "a record has changed since it was read");
  payload.resize(record.payloadBytes);
  return Status();
}

Status Journal::remove() {
  if (unlinkat(output->folder(), name.c_str(), 0) != 0)
    return fileError(shown(), "remove");
  ::close(std::exchange(fd, -1));
  return Status();
}

} // namespace chorus::rt
