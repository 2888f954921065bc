//===- FileMappingTest.cpp ------------------------------------------------===//

#include "chorus_rt/FileMapping.h"

#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chorus::rt;
using namespace chorus::rt::test;

TEST(FileMapping, MapsAWholeFile) {
  TemporaryFolder folder;
  writeFile(folder.path("f"), "some bytes");
  StatusOr<FileMapping> mapping = FileMapping::open(folder.path("f"));
  ASSERT_TRUE(mapping.ok()) << mapping.status().line("test");
  EXPECT_EQ(mapping->size(), 10u);
  EXPECT_EQ(std::memcmp(mapping->data(), "some bytes", 10), 0);
  EXPECT_TRUE(mapping->checkUnchanged("G26").ok());
  FileMapping moved = std::move(*mapping);
  EXPECT_EQ(moved.data()[0], 's');
  EXPECT_EQ(mapping->data(), nullptr);
}

TEST(FileMapping, EmptyFileHasNoBytes) {
  TemporaryFolder folder;
  writeFile(folder.path("empty"), "");
  StatusOr<FileMapping> mapping = FileMapping::open(folder.path("empty"));
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(mapping->size(), 0u);
  mapping->release(uint64_t(0), 10);
  // echo -n | sha256sum
  EXPECT_EQ(toHex(*mapping->sha256()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(FileMapping, WhatIsNoRegularFileIsAUsageError) {
  TemporaryFolder folder;
  ASSERT_EQ(mkfifo(folder.path("fifo").c_str(), 0600), 0);
  int socketFd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "%s",
                folder.path("socket").c_str());
  ASSERT_EQ(
      bind(socketFd, reinterpret_cast<sockaddr *>(&address), sizeof address),
      0);
  struct Case {
    std::string path;
    const char *kind;
  };
  for (const Case &c :
       {Case{folder.path(), "a directory"}, Case{folder.path("fifo"), "a FIFO"},
        Case{folder.path("socket"), "a socket"},
        Case{"/dev/null", "a device"}}) {
    Status status = FileMapping::open(c.path).status();
    EXPECT_EQ(status.code(), "usage");
    EXPECT_EQ(status.exitCode(), ExitCode::Usage);
    EXPECT_NE(status.message().find(c.kind), std::string::npos)
        << status.line("test");
    Status withCode = FileMapping::open(c.path, "A15").status();
    EXPECT_EQ(withCode.code(), "A15");
    EXPECT_EQ(withCode.exitCode(), ExitCode::Refused);
  }
  close(socketFd);
  // A link to a regular file is fine.
  writeFile(folder.path("f"), "x");
  ASSERT_EQ(symlink("f", folder.path("link").c_str()), 0);
  EXPECT_TRUE(FileMapping::open(folder.path("link")).ok());
}

TEST(FileMapping, MissingOrUnreadablePathIsAUsageError) {
  TemporaryFolder folder;
  for (const std::string &path :
       {folder.path("missing"), folder.path("missing/file"), std::string(),
        std::string(5000, 'x'), folder.path("esc\x1b")}) {
    Status status = FileMapping::open(path).status();
    EXPECT_EQ(status.exitCode(), ExitCode::Usage) << path;
    EXPECT_EQ(status.line("t").find('\x1b'), std::string::npos);
  }
  writeFile(folder.path("secret"), "x");
  ASSERT_EQ(chmod(folder.path("secret").c_str(), 0), 0);
  if (geteuid() != 0) // Root reads it anyway.
    EXPECT_EQ(FileMapping::open(folder.path("secret")).status().exitCode(),
              ExitCode::Usage);
}

TEST(FileMapping, ReleasedPagesAreReadAgain) {
  TemporaryFolder folder;
  std::string bytes(3 << 20, 'a');
  bytes[5000] = 'b';
  writeFile(folder.path("f"), bytes);
  StatusOr<FileMapping> mapping = FileMapping::open(folder.path("f"));
  ASSERT_TRUE(mapping.ok());
  EXPECT_EQ(mapping->data()[5000], 'b');
  mapping->release(mapping->data() + 4999, 3);
  mapping->release(uint64_t(0), ~uint64_t(0));
  mapping->release(uint64_t(1) << 40, 5);
  mapping->release(bytes.data(), 5); // Not in the mapping: nothing happens.
  EXPECT_EQ(mapping->data()[5000], 'b');
  EXPECT_EQ(bytes[5000], 'b');
  EXPECT_EQ(*mapping->sha256(), *sha256(bytes.data(), bytes.size()));
}

TEST(FileMapping, NoticesChanges) {
  TemporaryFolder folder;
  std::string path = folder.path("f");
  writeFile(path, "0123456789");
  StatusOr<FileMapping> mapping = FileMapping::open(path);
  writeFile(path, "01234");
  Status status = mapping->checkUnchanged("G26");
  EXPECT_EQ(status.code(), "G26");
  EXPECT_EQ(status.message(),
            "changed during reading: had 10 bytes, now has 5");
  mapping = FileMapping::open(path);
  timespec times[2] = {{5, 0}, {5, 7}};
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_EQ(mapping->checkUnchanged("G26").code(), "G26");
  mapping = FileMapping::open(path);
  times[1].tv_nsec = 8; // One nanosecond counts.
  ASSERT_EQ(utimensat(AT_FDCWD, path.c_str(), times, 0), 0);
  EXPECT_EQ(mapping->checkUnchanged("G26").code(), "G26");
}

/// Reads a page that a truncated file has lost; exits 0 if that read zeros and
/// was noticed though size and time have been put back.
static void readLostPage(const std::string &path) {
  FileMapping::installFaultHandler();
  StatusOr<FileMapping> mapping = FileMapping::open(path);
  struct stat info;
  stat(path.c_str(), &info);
  timespec times[2] = {info.st_atim, info.st_mtim};
  bool prepared = truncate(path.c_str(), 100) == 0;
  const volatile uint8_t *bytes = mapping->data();
  bool zero = bytes[100'000] == 0 && bytes[50] == 'a';
  prepared &= truncate(path.c_str(), info.st_size) == 0;
  prepared &= utimensat(AT_FDCWD, path.c_str(), times, 0) == 0;
  Status status = mapping->checkUnchanged("G26");
  bool noticed =
      status.message() == "changed during reading: a page could not be read";
  _exit(prepared && zero && noticed ? 0 : 1);
}

TEST(FileMapping, TruncationWhileMappedIsNoSignalExit) {
  TemporaryFolder folder;
  writeFile(folder.path("f"), std::string(200'000, 'a'));
  pid_t child = fork();
  if (child == 0)
    readLostPage(folder.path("f"));
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(Sha256, KnownDigests) {
  // printf abc | sha256sum
  EXPECT_EQ(toHex(*sha256("abc", 3)),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 pieces;
  pieces.update("a", 1);
  pieces.update("", 0);
  Sha256 moved = std::move(pieces);
  moved.update("bc", 2);
  EXPECT_EQ(*moved.finish(), *sha256("abc", 3));
}
