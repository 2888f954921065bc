//===- JsonlInput.cpp - Lines of a file, as they come ---------------------===//

#include "chorus_rt/JsonlInput.h"

#include "FileAccess.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace chorus::rt {

/// Read at once; also how often the file is checked.
static constexpr size_t pieceBytes = 64 << 10;

StatusOr<JsonlInput>
JsonlInput::open(const std::string &path, const OutputPlace &output,
                 const std::function<bool()> &shouldCancel) {
  JsonlInput input(output);
  if (path == "-") {
    input.name = "stdin";
    CHORUS_RETURN_IF_ERROR(input.copyStandardInput(shouldCancel));
    return input;
  }
  input.name = escapeForMessage(path, 200);
  // O_NONBLOCK: opening a FIFO without a writer must not wait for one.
  input.fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (input.fd < 0 && errno != ENXIO)
    return usageError("cannot open " + input.name + ": " +
                      std::strerror(errno));
  struct stat info;
  if (input.fd < 0 || fstat(input.fd, &info) != 0 || !S_ISREG(info.st_mode))
    return refused("J08", input.name,
                   input.fd >= 0 && S_ISDIR(info.st_mode)
                       ? "is a directory, needed is a file"
                       : "is no regular file; - reads a pipe from stdin");
  CHORUS_RETURN_IF_ERROR(input.noteVersion());
  return input;
}

JsonlInput::JsonlInput(JsonlInput &&other) noexcept
    : name(std::move(other.name)), spool(std::move(other.spool)),
      fd(std::exchange(other.fd, -1)), size(other.size),
      modifiedSeconds(other.modifiedSeconds),
      modifiedNanoseconds(other.modifiedNanoseconds),
      buffer(std::move(other.buffer)), taken(other.taken),
      position(other.position), lines(other.lines), hash(std::move(other.hash)),
      hashed(other.hashed) {}

JsonlInput::~JsonlInput() {
  if (fd >= 0 && fd != spool.descriptor())
    ::close(fd);
}

Status JsonlInput::noteVersion() {
  struct stat info;
  if (fstat(fd, &info) != 0)
    return fileError(name, "stat");
  size = static_cast<uint64_t>(info.st_size);
  modifiedSeconds = info.st_mtim.tv_sec;
  modifiedNanoseconds = info.st_mtim.tv_nsec;
  return Status();
}

Status
JsonlInput::copyStandardInput(const std::function<bool()> &shouldCancel) {
  std::string piece(pieceBytes, '\0');
  for (;;) {
    if (shouldCancel && shouldCancel())
      break;
    ssize_t count = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return fileError(name, "read");
    // Even where nothing comes there is a file to read from then on.
    CHORUS_RETURN_IF_ERROR(
        spool.append(piece.data(), static_cast<size_t>(count)));
    if (count == 0)
      break;
  }
  fd = spool.descriptor();
  return fd < 0 ? Status() : noteVersion();
}

/// Reads on; false at the end. The file must be what it was.
StatusOr<bool> JsonlInput::fill() {
  if (position > 0 || size == 0) {
    struct stat info;
    if (fstat(fd, &info) != 0)
      return fileError(name, "stat");
    bool same = static_cast<uint64_t>(info.st_size) == size &&
                info.st_mtim.tv_sec == modifiedSeconds &&
                info.st_mtim.tv_nsec == modifiedNanoseconds;
    if (!same)
      return refused("J08", name,
                     "has changed since it was opened: it had " +
                         std::to_string(size) + " bytes, now it has " +
                         std::to_string(info.st_size));
  }
  if (position == size)
    return false;
  buffer.resize(std::min<uint64_t>(size - position, pieceBytes));
  taken = 0;
  int64_t got = readFully(fd, buffer.data(), buffer.size(), position);
  if (got < 0)
    return fileError(name, "read");
  if (static_cast<size_t>(got) < buffer.size())
    return refused("J08", name,
                   "has changed since it was opened: it ends at byte " +
                       std::to_string(position + static_cast<uint64_t>(got)) +
                       ", not at " + std::to_string(size));
  if (position == hashed) {
    hash.update(buffer.data(), buffer.size());
    hashed += buffer.size();
  }
  if (position == 0 && buffer.compare(0, 3, "\xEF\xBB\xBF") == 0)
    return refused("J02", name + " @0",
                   "begins with a byte order mark, needed is plain UTF-8");
  position += buffer.size();
  return true;
}

void JsonlInput::seek(uint64_t offset, int64_t line) {
  buffer.clear();
  taken = 0;
  position = offset;
  lines = line;
}

void JsonlInput::rewind() { seek(0, 0); }

Status JsonlInput::readAt(uint64_t offset, JsonlLine &line) {
  seek(offset, 0);
  StatusOr<bool> found = next(line);
  CHORUS_RETURN_IF_ERROR(found.status());
  return *found ? Status()
                : refused("J08", name, "has changed since it was opened");
}

StatusOr<bool> JsonlInput::next(JsonlLine &line) {
  for (;;) {
    line.text.clear();
    line.tooLong = false;
    line.offset = position - (buffer.size() - taken);
    line.number = lines + 1;
    bool any = false;
    for (;;) {
      if (taken == buffer.size()) {
        StatusOr<bool> more = fill();
        CHORUS_RETURN_IF_ERROR(more.status());
        if (!*more)
          break;
      }
      any = true;
      size_t end = buffer.find('\n', taken);
      size_t count = std::min(end, buffer.size()) - taken;
      // One byte more for the CR, which does not count.
      line.tooLong |= line.text.size() + count > maxLineBytes + 1;
      if (line.tooLong)
        line.text.clear();
      else
        line.text.append(buffer, taken, count);
      taken += count;
      if (end != std::string::npos) {
        ++taken;
        break;
      }
    }
    if (!any)
      return false;
    ++lines;
    if (!line.text.empty() && line.text.back() == '\r')
      line.text.pop_back();
    if (line.text.size() > maxLineBytes) {
      line.tooLong = true;
      line.text.clear();
    }
    bool blank = line.text.find_first_not_of(" \t") == std::string::npos;
    if (line.tooLong || !blank)
      return true;
  }
}

} // namespace chorus::rt
