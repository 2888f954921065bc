//===- FileFaults.h - Faults at the n-th call on a file ---------*- C++ -*-===//
//
// Stands between a program and the C library's calls on files: open, openat,
// close, read, pread, write, pwrite, fsync, fdatasync, ftruncate, rename,
// renameat, unlink, unlinkat, flock, fcntl, fstat, fstatat, stat. Syncs do not
// reach the disk. Linked into a unit test, or preloaded into a tool; a tool
// takes its plan from the environment:
//
//   CHORUS_FILE_FAULT=PLAN    see setFileFault
//   CHORUS_FILE_COUNT=PATH    writes the number of calls there at the end
//
//===----------------------------------------------------------------------===//

#ifndef CHORUS_RUNTIME_TEST_FILEFAULTS_H
#define CHORUS_RUNTIME_TEST_FILEFAULTS_H

#include <cstdint>
#include <string>
#include <vector>

namespace chorus::rt::test {

/// From now on calls are counted from 0, and the plan holds: CALL:WHAT@N, or
/// CALL:WHAT@N+ for call N and all later ones. CALL is a name, or `any`. WHAT
/// is an errno's name (ENOSPC, EIO, ...), `short` (half of the bytes are
/// written), `kill` (SIGKILL before the call) or `torn` (half of the bytes are
/// written, then SIGKILL). Empty: no fault.
void setFileFault(const std::string &plan);

/// A call that changes files or syncs them.
struct FileEvent {
  std::string call;
  int fd = -1; ///< Or a folder's.
  uint64_t offset = 0;
  std::string bytes; ///< That were written, or a name.
};

/// From now on such calls that succeed are added to `events`; null ends it.
void recordFileEvents(std::vector<FileEvent> *events);

} // namespace chorus::rt::test

#endif // CHORUS_RUNTIME_TEST_FILEFAULTS_H
