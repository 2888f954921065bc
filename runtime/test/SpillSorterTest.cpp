//===- SpillSorterTest.cpp ------------------------------------------------===//

#include "chorus_rt/SpillSorter.h"

#include "FileFaults.h"
#include "TemporaryFolder.h"

#include <gtest/gtest.h>

#include <random>

using namespace chorus::rt;
using namespace chorus::rt::test;

namespace {

using Sorter = SpillSorter<uint64_t>;

std::vector<uint64_t> readAll(Sorter &sorter) {
  StatusOr<Sorter::Reader> reader = sorter.read();
  EXPECT_TRUE(reader.ok()) << reader.status().line("test");
  std::vector<uint64_t> items;
  for (uint64_t item;;) {
    StatusOr<bool> more = reader->next(item);
    EXPECT_TRUE(more.ok());
    if (!more.ok() || !*more)
      return items;
    items.push_back(item);
  }
}

TEST(SpillSorter, SortsWhatMemoryHoldsAndMore) {
  TemporaryFolder folder;
  StatusOr<OutputPlace> place = OutputPlace::open(folder.path("out"));
  ASSERT_TRUE(place.ok());
  std::mt19937_64 random(7);
  for (size_t count : {size_t(0), size_t(1), size_t(1000), Sorter::inMemory,
                       Sorter::inMemory + 1, 5 * Sorter::inMemory / 2}) {
    Sorter sorter(*place);
    std::vector<uint64_t> expected;
    for (size_t i = 0; i < count; ++i) {
      expected.push_back(random() % (count / 2 + 1)); // With equal ones.
      ASSERT_TRUE(sorter.add(expected.back()).ok());
    }
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(readAll(sorter), expected) << count;
    EXPECT_EQ(readAll(sorter), expected) << "a second time";
  }
  EXPECT_EQ(folder.names(), std::set<std::string>());
}

TEST(SpillSorter, ItemsAddedMeanwhileComeAtTheNextReading) {
  TemporaryFolder folder;
  StatusOr<OutputPlace> place = OutputPlace::open(folder.path("out"));
  Sorter sorter(*place);
  for (uint64_t i = 0; i < 1000; ++i)
    ASSERT_TRUE(sorter.add(2 * i).ok());
  StatusOr<Sorter::Reader> reader = sorter.read();
  ASSERT_TRUE(reader.ok());
  uint64_t item = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    ASSERT_TRUE(*reader->next(item));
    EXPECT_EQ(item, 2 * i);
    ASSERT_TRUE(sorter.add(2 * i + 1).ok());
  }
  EXPECT_FALSE(*reader->next(item));
  EXPECT_EQ(readAll(sorter).size(), 2000u);
}

TEST(SpillSorter, LeavesNoFileEvenWhenKilled) {
  TemporaryFolder folder;
  writeFile(folder.path(".out.scratch"), "of a killed process");
  StatusOr<OutputPlace> place = OutputPlace::open(folder.path("out"));
  Sorter sorter(*place);
  for (size_t i = 0; i < Sorter::inMemory; ++i)
    ASSERT_TRUE(sorter.add(i).ok());
  EXPECT_EQ(readAll(sorter).size(), Sorter::inMemory);
  EXPECT_EQ(folder.names(), std::set<std::string>());
}

TEST(SpillSorter, W03_FullDisk) {
  TemporaryFolder folder;
  StatusOr<OutputPlace> place = OutputPlace::open(folder.path("out"));
  for (const char *plan : {"openat:ENOSPC@0", "pwrite:ENOSPC@0"}) {
    Sorter sorter(*place);
    setFileFault(plan);
    Status status;
    for (size_t i = 0; i < Sorter::inMemory && status.ok(); ++i)
      status = sorter.add(i);
    setFileFault("");
    EXPECT_EQ(status.code(), "W03") << plan;
    EXPECT_EQ(status.exitCode(), ExitCode::IO);
  }
}

} // namespace
