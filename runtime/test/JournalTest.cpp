//===- JournalTest.cpp ----------------------------------------------------===//

#include "chorus_rt/Journal.h"

#include "FileFaults.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <csignal>
#include <map>
#include <random>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

JournalFingerprint fingerprint() {
  return {{"artifact", "0123abcd"}, {"input", "4567"}, {"temperature", "0.8"}};
}

std::string payloadOf(int64_t request) {
  return "{\"id\":\"" + std::to_string(request) + "\",\"text\":\"" +
         std::string(static_cast<size_t>(request % 13), 'x') + "\"}";
}

/// A journal of `out` in a folder of its own.
class JournalTest : public testing::Test {
protected:
  JournalTest() : place(std::move(*OutputPlace::open(folder.path("out")))) {}

  std::string path() const { return folder.path("out.journal"); }

  /// Makes the journal have these bytes. A new file: one that is cut and
  /// written again may wait for the disk.
  void put(const std::string &bytes) const {
    unlink(path().c_str());
    writeFile(path(), bytes);
  }

  /// Appends requests [first, last) as one group.
  static Status add(Journal &journal, int64_t first, int64_t last) {
    for (int64_t request = first; request < last; ++request)
      journal.append({request}, payloadOf(request));
    return journal.sync();
  }

  /// Three groups: requests 0 to 3, 4, 5 to 6.
  void writeThreeGroups() {
    StatusOr<Journal> journal = Journal::open(place);
    ASSERT_TRUE(journal.ok());
    ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
    ASSERT_TRUE(add(*journal, 0, 4).ok());
    ASSERT_TRUE(add(*journal, 4, 5).ok());
    ASSERT_TRUE(add(*journal, 5, 7).ok());
  }

  struct Found {
    Status status;
    Journal::State state;
    std::map<int64_t, std::string> records;
  };

  /// What a run that goes on would find.
  Found find(bool salvage = false,
             const JournalFingerprint &as = fingerprint()) {
    Found found;
    StatusOr<Journal> journal = Journal::open(place);
    if (!journal.ok())
      return {journal.status(), {}, {}};
    StatusOr<Journal::State> state = journal->begin(as, salvage);
    if (!state.ok())
      return {state.status(), {}, {}};
    found.state = *state;
    auto entries = journal->entries();
    EXPECT_TRUE(entries.ok());
    JournalKey before{-1};
    for (JournalEntry entry; *entries->next(entry);) {
      EXPECT_TRUE(before < entry.key);
      before = entry.key;
      std::string payload;
      EXPECT_TRUE(journal->read(entry, payload).ok());
      found.records[entry.key.request] = payload;
    }
    EXPECT_EQ(found.state.records, int64_t(found.records.size()));
    for (const auto &[request, payload] : found.records)
      EXPECT_EQ(payload, payloadOf(request));
    return found;
  }

  TemporaryFolder folder;
  OutputPlace place;
};

TEST_F(JournalTest, FindsWhatWasSynced) {
  StatusOr<Journal> journal = Journal::open(place);
  ASSERT_TRUE(journal.ok());
  StatusOr<Journal::State> state = journal->begin(fingerprint(), false);
  ASSERT_TRUE(state.ok()) << state.status().line("test");
  EXPECT_EQ(state->records, 0);
  // In the order of finishing; candidates and whole requests.
  journal->append({3}, "three");
  journal->append({1, 1}, "one, second");
  ASSERT_TRUE(journal->sync().ok());
  journal->append({1, 0}, std::string("one, \0 first", 12));
  journal->append({2}, "");
  ASSERT_TRUE(journal->sync().ok());
  journal->append({9}, "never synced");
  std::string found;
  auto readAll = [&](Journal &from) {
    found.clear();
    auto entries = from.entries();
    ASSERT_TRUE(entries.ok());
    for (JournalEntry entry; *entries->next(entry);) {
      std::string payload;
      ASSERT_TRUE(from.read(entry, payload).ok());
      found += std::to_string(entry.key.request) + "/" +
               std::to_string(entry.key.candidate) + " " + payload + ";";
    }
  };
  std::string expected = std::string("1/0 one, \0 first;", 17) +
                         "1/1 one, second;2/-1 ;3/-1 three;";
  readAll(*journal);
  EXPECT_EQ(found, expected);
  {
    Journal closed = std::move(*journal);
  }
  StatusOr<Journal> again = Journal::open(place);
  ASSERT_TRUE(again.ok());
  state = again->begin(fingerprint(), false);
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->records, 4);
  EXPECT_EQ(state->cutBytes, 0u);
  readAll(*again);
  EXPECT_EQ(found, expected);
  ASSERT_TRUE(again->remove().ok());
  EXPECT_EQ(folder.names(), std::set<std::string>());
}

TEST_F(JournalTest, StaysOnlyWithRecords) {
  {
    StatusOr<Journal> journal = Journal::open(place);
    ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
    EXPECT_EQ(folder.names(), std::set<std::string>{"out.journal"});
  }
  EXPECT_EQ(folder.names(), std::set<std::string>());
  writeThreeGroups();
  EXPECT_EQ(folder.names(), std::set<std::string>{"out.journal"});
}

TEST_F(JournalTest, PathsThatAreNoJournals) {
  put("a text of somebody");
  EXPECT_EQ(find().status.code(), "usage");
  EXPECT_EQ(readFile(path()), "a text of somebody");
  unlink(path().c_str());
  ASSERT_EQ(symlink("elsewhere", path().c_str()), 0);
  EXPECT_EQ(find().status.code(), "usage");
  unlink(path().c_str());
  ASSERT_EQ(mkdir(path().c_str(), 0700), 0);
  EXPECT_EQ(find().status.code(), "usage");
  rmdir(path().c_str());
  // The nearest good ones: nothing, and what a power failure may leave.
  for (const std::string &bytes :
       {std::string(), std::string("CHORUS"), std::string(100, '\0')}) {
    put(bytes);
    EXPECT_TRUE(find().status.ok()) << bytes;
  }
}

TEST_F(JournalTest, W06_CutAtEveryByte) {
  writeThreeGroups();
  std::string whole = readFile(path());
  std::set<size_t> seen;
  for (size_t size = 0; size <= whole.size(); ++size) {
    put(whole.substr(0, size));
    Found found = find();
    ASSERT_TRUE(found.status.ok()) << size << found.status.line("test");
    // Groups are there as a whole, the first ones.
    seen.insert(found.records.size());
    if (found.records.empty())
      continue;
    ASSERT_EQ(found.records.rbegin()->first + 1, int64_t(found.records.size()));
    // It is whole from now on.
    EXPECT_EQ(find().state.cutBytes, 0u);
    EXPECT_EQ(readFile(path()).size() + found.state.cutBytes, size);
  }
  EXPECT_EQ(seen, (std::set<size_t>{0, 4, 5, 7}));
}

TEST_F(JournalTest, W06_GarbageBehindTheLastMark) {
  writeThreeGroups();
  std::string whole = readFile(path());
  for (const std::string &tail : {std::string("x"), std::string(1000, '\0'),
                                  whole.substr(0, whole.find("CHJM"))}) {
    put(whole + tail);
    Found found = find();
    ASSERT_TRUE(found.status.ok());
    EXPECT_EQ(found.records.size(), 7u);
    EXPECT_EQ(found.state.cutBytes, tail.size());
    EXPECT_EQ(readFile(path()), whole);
  }
}

TEST_F(JournalTest, W07_EveryBitFlipped) {
  writeThreeGroups();
  std::string whole = readFile(path());
  size_t lastMark = whole.rfind("CHJM");
  size_t beginnings = whole.find("CHJR");
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 1 << at % 8);
    put(flipped);
    Found found = find();
    if (at >= lastMark) {
      // The group before it was not confirmed.
      ASSERT_TRUE(found.status.ok()) << at;
      EXPECT_EQ(found.records.size(), 5u);
      EXPECT_GT(found.state.cutBytes, 0u);
      continue;
    }
    ASSERT_EQ(found.status.exitCode(), ExitCode::Refused) << at;
    ASSERT_EQ(found.status.code(), "W07");
    size_t offset = std::stoul(
        found.status.place().substr(found.status.place().rfind('@') + 1));
    EXPECT_LE(offset, at);
    EXPECT_EQ(readFile(path()), flipped);
    Found salvaged = find(true);
    if (at < beginnings && whole.rfind("CHJM", at) == std::string::npos) {
      // Header or fingerprint: whose records these are is not known.
      if (!salvaged.status.ok()) {
        EXPECT_EQ(salvaged.status.code(), "W07");
        continue;
      }
    }
    ASSERT_TRUE(salvaged.status.ok()) << at << salvaged.status.line("test");
    EXPECT_EQ(salvaged.state.damagedRegions, 1);
    EXPECT_EQ(salvaged.state.firstDamage, offset);
    EXPECT_GE(salvaged.records.size(), 6u);
    // Taken out for good.
    Found again = find();
    ASSERT_TRUE(again.status.ok()) << at;
    EXPECT_EQ(again.records, salvaged.records);
  }
}

TEST_F(JournalTest, W07_SalvageOfSeveralRecordsInARow) {
  writeThreeGroups();
  std::string bytes = readFile(path());
  size_t second = bytes.find("CHJR", bytes.find("CHJR") + 1);
  for (size_t at = second; at < second + 100; ++at)
    bytes[at] = 'z';
  put(bytes);
  Found found = find(true);
  ASSERT_TRUE(found.status.ok()) << found.status.line("test");
  EXPECT_EQ(found.state.damagedRegions, 1);
  EXPECT_EQ(found.records.count(0), 1u);
  EXPECT_EQ(found.records.count(1), 0u);
  EXPECT_EQ(found.records.count(6), 1u);
  // What is missing is written again behind the rest.
  {
    StatusOr<Journal> journal = Journal::open(place);
    ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
    for (int64_t request = 0; request < 7; ++request)
      if (!found.records.count(request))
        journal->append({request}, payloadOf(request));
    ASSERT_TRUE(journal->sync().ok());
  }
  EXPECT_EQ(find().records.size(), 7u);
}

TEST_F(JournalTest, W07_RecordThatChangesDuringTheRun) {
  writeThreeGroups();
  StatusOr<Journal> journal = Journal::open(place);
  ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
  std::string bytes = readFile(path());
  bytes[bytes.find("\"id\":\"4\"")] ^= 1;
  writeFile(path(), bytes); // The file that is open.
  auto entries = journal->entries();
  for (JournalEntry entry; *entries->next(entry);) {
    std::string payload;
    EXPECT_EQ(journal->read(entry, payload).ok(), entry.key.request != 4);
  }
}

TEST_F(JournalTest, W08_SecondRunIsTurnedAwayAndToldWhoRuns) {
  StatusOr<Journal> journal = Journal::open(place);
  ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
  std::string parent = std::to_string(getpid());
  pid_t child = fork();
  if (child == 0) {
    Status status = Journal::open(place).status();
    bool good = status.code() == "W08" &&
                status.exitCode() == ExitCode::Usage &&
                status.message().find("process " + parent) != std::string::npos;
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(JournalTest, W09_NamesTheDifference) {
  writeThreeGroups();
  std::string whole = readFile(path());
  struct Case {
    JournalFingerprint other;
    const char *message;
  };
  for (const Case &c :
       {Case{
            {{"artifact", "0123abce"}, {"input", "4567"}, {"temperature", "1"}},
            "artifact was 0123abcd, is 0123abce"},
        Case{{{"artifact", "0123abcd"}, {"input", "456"}, {"temperature", "1"}},
             "input was 4567, is 456"},
        Case{
            {{"artifact", "0123abcd"}, {"input", "4567"}, {"temperature", "1"}},
            "temperature was 0.8, is 1"},
        Case{{{"artifact", "0123abcd"},
              {"input", "4567"},
              {"top_k", "3"},
              {"temperature", "0.8"}},
             "top_k was absent, is 3"}}) {
    Found found = find(false, c.other);
    EXPECT_EQ(found.status.code(), "W09");
    EXPECT_EQ(found.status.exitCode(), ExitCode::Usage);
    EXPECT_NE(found.status.message().find(c.message), std::string::npos)
        << found.status.message();
    EXPECT_EQ(readFile(path()), whole);
  }
  EXPECT_TRUE(find().status.ok());
}

/// Runs five groups of one record against `plan`; returns how many were
/// acknowledged and the first error.
std::pair<int64_t, Status> runAgainst(const std::string &plan,
                                      const OutputPlace &place) {
  setFileFault(plan);
  int64_t acknowledged = 0;
  Status error;
  {
    StatusOr<Journal> journal = Journal::open(place);
    error = journal.status();
    if (error.ok())
      error = journal->begin(fingerprint(), false).status();
    for (int64_t i = 0; i < 5 && error.ok(); ++i) {
      journal->append({i}, payloadOf(i));
      error = journal->sync();
      acknowledged += error.ok();
    }
    // An error is final.
    if (journal.ok() && !error.ok() && acknowledged > 0) {
      journal->append({99}, "late");
      EXPECT_FALSE(journal->sync().ok());
    }
  }
  setFileFault("");
  return {acknowledged, error};
}

/// A fault of the n-th call for every n, until it is not reached.
void everyFault(TemporaryFolder &folder, const OutputPlace &place,
                const std::string &fault, const char *code) {
  int64_t refused = 0;
  for (int64_t n = 0;; ++n) {
    unlink(folder.path("out.journal").c_str());
    std::string plan = fault + "@" + std::to_string(n);
    auto [acknowledged, error] = runAgainst(plan, place);
    if (error.ok()) {
      EXPECT_EQ(acknowledged, 5) << plan;
      break;
    }
    ++refused;
    EXPECT_EQ(error.code(), code) << plan;
    EXPECT_EQ(error.exitCode(), ExitCode::IO) << plan;
    StatusOr<Journal> journal = Journal::open(place);
    ASSERT_TRUE(journal.ok());
    StatusOr<Journal::State> state = journal->begin(fingerprint(), false);
    ASSERT_TRUE(state.ok()) << plan << state.status().line("test");
    EXPECT_EQ(state->records, acknowledged) << plan;
  }
  EXPECT_GE(refused, 5) << fault;
}

TEST_F(JournalTest, W03_EveryWriteMeetsAFullDisk) {
  for (const char *error : {"ENOSPC", "EDQUOT", "EFBIG"})
    everyFault(folder, place, std::string("pwrite:") + error, "W03");
}

TEST_F(JournalTest, W03_FileSizeLimit) {
  pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit = {400, 400};
    setrlimit(RLIMIT_FSIZE, &limit);
    auto [acknowledged, error] = runAgainst("", place);
    _exit(error.code() == "W03" ? static_cast<int>(acknowledged) : 99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  int acknowledged = WEXITSTATUS(status);
  EXPECT_GT(acknowledged, 0);
  EXPECT_LT(acknowledged, 5);
  EXPECT_EQ(find().records.size(), size_t(acknowledged));
}

TEST_F(JournalTest, W04_EveryDeviceErrorIsFinal) {
  everyFault(folder, place, "pwrite:EIO", "W04");
  everyFault(folder, place, "fdatasync:EIO", "W04");
}

TEST_F(JournalTest, W05_ShortWritesAndInterruptions) {
  std::string expected;
  for (const char *what : {"short", "EINTR", "EAGAIN"})
    for (int64_t n = 0; n < 12; ++n) {
      unlink(path().c_str());
      auto [acknowledged, error] = runAgainst(
          std::string("pwrite:") + what + "@" + std::to_string(n), place);
      EXPECT_TRUE(error.ok()) << error.line("test");
      EXPECT_EQ(acknowledged, 5);
      if (expected.empty())
        expected = readFile(path());
      EXPECT_EQ(readFile(path()), expected) << what << n;
    }
}

TEST_F(JournalTest, W01_KilledAtEveryCall) {
  auto *acknowledged =
      static_cast<int64_t *>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                                  MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  for (const char *fault : {"any:kill@", "pwrite:torn@"}) {
    int64_t killed = 0;
    for (int64_t n = 0;; ++n) {
      unlink(path().c_str());
      *acknowledged = 0;
      pid_t child = fork();
      if (child == 0) {
        setFileFault(fault + std::to_string(n));
        StatusOr<Journal> journal = Journal::open(place);
        bool good = journal.ok() && journal->begin(fingerprint(), false).ok();
        for (int64_t i = 0; good && i < 3; ++i) {
          journal->append({i}, payloadOf(i));
          good = journal->sync().ok();
          *acknowledged += good;
        }
        setFileFault("");
        _exit(good ? 0 : 1);
      }
      int status = 0;
      waitpid(child, &status, 0);
      Found found = find();
      ASSERT_TRUE(found.status.ok()) << fault << n;
      EXPECT_GE(int64_t(found.records.size()), *acknowledged) << fault << n;
      if (!WIFSIGNALED(status)) {
        EXPECT_EQ(status, 0);
        EXPECT_EQ(found.records.size(), 3u);
        break;
      }
      ++killed;
    }
    EXPECT_GT(killed, 6) << fault;
  }
  munmap(acknowledged, 4096);
}

/// The file after a power failure: writes up to the last sync are there, of
/// later ones any, whole or in sectors, on zeros or on what was there before.
std::string afterPowerFailure(const std::vector<FileEvent> &events, size_t end,
                              std::mt19937 &random) {
  size_t synced = 0;
  for (size_t i = 0; i < end; ++i)
    if (events[i].call == "fdatasync")
      synced = i;
  std::string file;
  for (size_t i = 0; i < end; ++i) {
    const FileEvent &event = events[i];
    if (event.call != "pwrite")
      continue;
    constexpr uint64_t sector = 64; // Small ones tear more.
    for (uint64_t at = 0; at < event.bytes.size();) {
      uint64_t offset = event.offset + at;
      uint64_t size =
          std::min<uint64_t>(sector - offset % sector, event.bytes.size() - at);
      at += size;
      if (i >= synced && random() % 3 == 0)
        continue; // Lost, though the file may have grown.
      if (file.size() < offset + size)
        file.resize(offset + size);
      file.replace(offset, size, event.bytes, at - size, size);
    }
  }
  return file;
}

TEST_F(JournalTest, W02_PowerFailureKeepsWhatWasAcknowledged) {
  std::vector<FileEvent> events;
  std::vector<size_t> acknowledged; // Events until each group was.
  recordFileEvents(&events);
  {
    StatusOr<Journal> journal = Journal::open(place);
    ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
    for (int64_t i = 0; i < 6; ++i) {
      journal->append({2 * i}, payloadOf(2 * i));
      journal->append({2 * i + 1}, payloadOf(2 * i + 1));
      ASSERT_TRUE(journal->sync().ok());
      acknowledged.push_back(events.size());
    }
  }
  recordFileEvents(nullptr);
  // The folder is synced before the first record.
  auto folderSync = std::find_if(events.begin(), events.end(), [](auto &event) {
    return event.call == "fsync";
  });
  EXPECT_LT(folderSync - events.begin(), int64_t(acknowledged.front()));

  std::mt19937 random(11);
  for (size_t end = 0; end <= events.size(); ++end)
    for (int round = 0; round < 20; ++round) {
      put(afterPowerFailure(events, end, random));
      // The last mark is never synced; a group without one runs again, so that
      // of the last group acknowledged nothing need be there. All before it is.
      int64_t least = 0;
      for (size_t i = 1; i < acknowledged.size(); ++i)
        if (acknowledged[i] <= end)
          least = int64_t(2 * i);
      Found found = find();
      ASSERT_TRUE(found.status.ok()) << end << " " << found.status.line("test");
      EXPECT_GE(int64_t(found.records.size()), least) << end;
      for (int64_t i = 0; i < least; ++i)
        EXPECT_EQ(found.records.count(i), 1u) << end;
    }
}

TEST_F(JournalTest, W10_FolderOrJournalGone) {
  StatusOr<Journal> journal = Journal::open(place);
  ASSERT_TRUE(journal->begin(fingerprint(), false).ok());
  ASSERT_TRUE(add(*journal, 0, 4).ok());
  std::string moved = folder.path() + "-moved";
  std::filesystem::rename(folder.path(), moved);
  Status status = add(*journal, 4, 5);
  EXPECT_EQ(status.exitCode(), ExitCode::IO);
  EXPECT_EQ(status.code(), "W10") << status.line("test");
  std::filesystem::rename(moved, folder.path());
  {
    Journal closed = std::move(*journal);
  }
  EXPECT_EQ(find().records.size(), 4u);

  StatusOr<Journal> again = Journal::open(place);
  ASSERT_TRUE(again->begin(fingerprint(), false).ok());
  unlink(path().c_str());
  EXPECT_EQ(add(*again, 4, 5).code(), "W10");
}

TEST_F(JournalTest, OtherVersionIsRefused) {
  writeThreeGroups();
  std::string bytes = readFile(path());
  // Version 2, with the right checksum of these 12 bytes.
  bytes[8] = 2;
  uint32_t crc = 0xFFFFFFFF;
  for (int i = 0; i < 12; ++i) {
    crc ^= static_cast<unsigned char>(bytes[static_cast<size_t>(i)]);
    for (int bit = 0; bit < 8; ++bit)
      crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0);
  }
  crc = ~crc;
  memcpy(bytes.data() + 12, &crc, 4);
  put(bytes);
  Status status = find(true).status;
  EXPECT_EQ(status.exitCode(), ExitCode::Refused);
  EXPECT_NE(status.message().find("version 2, supported is version 1"),
            std::string::npos)
      << status.line("test");
}

} // namespace
