//===- ScratchFolder.h - A folder that a test may fill ----------*- C++ -*-===//

#ifndef CHORUS_TEST_UNITTESTS_IMPORT_SCRATCHFOLDER_H
#define CHORUS_TEST_UNITTESTS_IMPORT_SCRATCHFOLDER_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace chorus::test {

/// A new folder, removed with all that is in it.
class ScratchFolder {
public:
  ScratchFolder() {
    std::string name = ::testing::TempDir() + "chorus-XXXXXX";
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder = name + "/";
  }
  ~ScratchFolder() { std::filesystem::remove_all(folder); }

  std::string path(const std::string &name) const { return folder + name; }
  std::string write(const std::string &name, const std::string &bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

private:
  std::string folder;
};

} // namespace chorus::test

#endif // CHORUS_TEST_UNITTESTS_IMPORT_SCRATCHFOLDER_H
