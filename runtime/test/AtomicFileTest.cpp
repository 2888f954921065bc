//===- AtomicFileTest.cpp -------------------------------------------------===//

#include "chorus_rt/AtomicFile.h"

#include "FileFaults.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstring>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chorus::rt;
using namespace chorus::rt::test;

static Status writeAll(const std::string &path, const std::string &bytes) {
  StatusOr<AtomicFile> file = AtomicFile::create(path);
  if (!file.ok())
    return file.status();
  CHORUS_RETURN_IF_ERROR(file->append(bytes.data(), bytes.size()));
  return file->commit();
}

TEST(AtomicFile, AppearsAtCommitOnly) {
  TemporaryFolder folder;
  StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
  ASSERT_TRUE(file.ok()) << file.status().line("test");
  ASSERT_TRUE(file->append("header..", 8).ok());
  ASSERT_TRUE(file->append("data", 4).ok());
  ASSERT_TRUE(file->alignTo(16).ok());
  EXPECT_EQ(file->size(), 16u);
  ASSERT_TRUE(file->alignTo(16).ok());
  EXPECT_EQ(file->size(), 16u);
  std::string large(1 << 20, 'L');
  ASSERT_TRUE(file->append(large.data(), large.size()).ok());
  ASSERT_TRUE(file->append("end", 3).ok());
  ASSERT_TRUE(file->writeAt(0, "HEADER", 6).ok());
  EXPECT_EQ(folder.names(), std::set<std::string>{file->temporaryName()});
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(folder.names(), std::set<std::string>{"out"});
  EXPECT_EQ(readFile(folder.path("out")),
            "HEADER..data" + std::string(4, '\0') + large + "end");
}

TEST(AtomicFile, ReplacesAnOldFileWhole) {
  TemporaryFolder folder;
  writeFile(folder.path("out"), "old and longer");
  ASSERT_TRUE(writeAll(folder.path("out"), "new").ok());
  EXPECT_EQ(readFile(folder.path("out")), "new");
}

TEST(AtomicFile, NothingIsLeftWithoutCommit) {
  TemporaryFolder folder;
  writeFile(folder.path("out"), "old");
  {
    StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->append("new", 3).ok());
    AtomicFile moved = std::move(*file);
    EXPECT_EQ(folder.names().size(), 2u);
  }
  EXPECT_EQ(folder.names(), std::set<std::string>{"out"});
  EXPECT_EQ(readFile(folder.path("out")), "old");
}

TEST(AtomicFile, W02_BytesAreOnDiskBeforeTheNameAndTheNameBeforeTheEnd) {
  TemporaryFolder folder;
  std::vector<FileEvent> events;
  StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
  recordFileEvents(&events);
  ASSERT_TRUE(file->append("data", 4).ok());
  ASSERT_TRUE(file->commit().ok());
  recordFileEvents(nullptr);
  std::vector<std::string> calls;
  calls.reserve(events.size());
  for (const FileEvent &event : events)
    calls.push_back(event.call);
  ASSERT_EQ(calls,
            (std::vector<std::string>{"pwrite", "fsync", "renameat", "fsync"}));
  EXPECT_EQ(events[1].fd, events[0].fd);
  EXPECT_EQ(events[2].bytes, "out");
  EXPECT_EQ(events[3].fd, events[2].fd); // The folder.
}

TEST(AtomicFile, C06_TargetsThatAreNoFiles) {
  TemporaryFolder folder;
  std::filesystem::create_directory(folder.path("dir"));
  writeFile(folder.path("real"), "precious");
  ASSERT_EQ(symlink("real", folder.path("link").c_str()), 0);
  ASSERT_EQ(symlink("nowhere", folder.path("dangling").c_str()), 0);
  ASSERT_EQ(mkfifo(folder.path("fifo").c_str(), 0600), 0);
  std::set<std::string> before = folder.names();
  struct Case {
    std::string path;
    const char *message;
  };
  for (const Case &c : {Case{folder.path("dir"), "is a directory"},
                        Case{folder.path("link"), "is a symbolic link"},
                        Case{folder.path("dangling"), "is a symbolic link"},
                        Case{folder.path("fifo"), "is no regular file"},
                        Case{"/dev/null", "is no regular file"},
                        Case{folder.path("dir/"), "names no file"},
                        Case{folder.path("."), "names no file"},
                        Case{folder.path("missing/out"), "folder"},
                        Case{folder.path("real/out"), "folder"},
                        Case{folder.path(std::string(256, 'n')), "long"}}) {
    Status status = AtomicFile::create(c.path).status();
    EXPECT_EQ(status.code(), "usage") << c.path;
    EXPECT_EQ(status.exitCode(), ExitCode::Usage);
    EXPECT_NE(status.message().find(c.message), std::string::npos)
        << status.line("test");
  }
  EXPECT_EQ(folder.names(), before);
  EXPECT_EQ(readFile(folder.path("real")), "precious");
}

TEST(AtomicFile, C06_TargetThatBecomesALinkIsNotReplaced) {
  TemporaryFolder folder;
  writeFile(folder.path("real"), "precious");
  StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
  ASSERT_TRUE(file.ok());
  ASSERT_EQ(symlink("real", folder.path("out").c_str()), 0);
  EXPECT_EQ(file->commit().exitCode(), ExitCode::Usage);
  EXPECT_EQ(readFile(folder.path("out")), "precious");
}

TEST(AtomicFile, C06_SecondWriterIsTurnedAway) {
  TemporaryFolder folder;
  StatusOr<AtomicFile> first = AtomicFile::create(folder.path("out"));
  ASSERT_TRUE(first.ok());
  Status second = AtomicFile::create(folder.path("out")).status();
  EXPECT_EQ(second.code(), "usage");
  EXPECT_NE(second.message().find("another process is writing it"),
            std::string::npos);
  ASSERT_TRUE(first->append("1", 1).ok());
  ASSERT_TRUE(first->commit().ok());
  EXPECT_TRUE(writeAll(folder.path("out"), "2").ok());
}

TEST(AtomicFile, LeftOversOfAKilledWriterAreTakenOver) {
  TemporaryFolder folder;
  pid_t child = fork();
  if (child == 0) {
    StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
    if (file.ok() && file->append("junk", 4).ok() && file->flush().ok())
      raise(SIGKILL);
    _exit(1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(folder.names().size(), 1u);
  ASSERT_TRUE(writeAll(folder.path("out"), "x").ok());
  EXPECT_EQ(folder.names(), std::set<std::string>{"out"});
  EXPECT_EQ(readFile(folder.path("out")), "x");
}

TEST(AtomicFile, ChildWritesParentCommits) {
  TemporaryFolder folder;
  StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
  ASSERT_TRUE(file.ok());
  for (bool childSucceeds : {false, true}) {
    pid_t child = fork();
    if (child == 0) {
      bool written = file->append("from child", 10).ok() && file->flush().ok();
      AtomicFile dropped = std::move(*file); // Must not remove the file.
      _exit(written && childSucceeds ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), childSucceeds ? 0 : 1);
    EXPECT_EQ(folder.names().size(), 1u);
  }
  ASSERT_TRUE(file->commit().ok());
  EXPECT_EQ(readFile(folder.path("out")), "from child");
}

TEST(AtomicFile, C07_OddNames) {
  TemporaryFolder folder;
  for (const std::string &name :
       {std::string(255, 'n'), std::string("-o"), std::string("new\nline"),
        std::string("not\xffutf8"), std::string("with blanks ")}) {
    ASSERT_TRUE(writeAll(folder.path(name), name).ok()) << name;
    EXPECT_EQ(readFile(folder.path(name)), name);
  }
  EXPECT_EQ(folder.names().size(), 5u);
}

TEST(AtomicFile, WriteErrorsAreFinal) {
  TemporaryFolder folder;
  writeFile(folder.path("out"), "old");
  // A limit on the file size stands for a full disk.
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {1000, 1000};
    setrlimit(RLIMIT_FSIZE, &limit);
    bool asExpected = false;
    {
      StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
      std::string bytes(1 << 20, 'x');
      Status status = file->append(bytes.data(), bytes.size());
      asExpected = status.exitCode() == ExitCode::IO &&
                   file->commit().exitCode() == ExitCode::IO;
    }
    _exit(asExpected ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(folder.names(), std::set<std::string>{"out"});
  EXPECT_EQ(readFile(folder.path("out")), "old");
}

TEST(AtomicFile, BytesThatWereNotWrittenCannotBePatched) {
  TemporaryFolder folder;
  StatusOr<AtomicFile> file = AtomicFile::create(folder.path("out"));
  ASSERT_TRUE(file->append("12345678", 8).ok());
  EXPECT_TRUE(file->writeAt(4, "5678", 4).ok());
  EXPECT_FALSE(file->writeAt(5, "5678", 4).ok());
}
