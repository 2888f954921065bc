//===- TemporaryFolder.h - A folder of a test's own -------------*- C++ -*-===//

#ifndef CHORUS_RUNTIME_TEST_TEMPORARYFOLDER_H
#define CHORUS_RUNTIME_TEST_TEMPORARYFOLDER_H

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

namespace chorus::rt::test {

/// Made empty, removed with its contents at the end.
class TemporaryFolder {
public:
  TemporaryFolder() {
    folder = testing::TempDir() + "chorus-XXXXXX";
    if (!mkdtemp(folder.data()))
      ADD_FAILURE() << "cannot make " << folder;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  TemporaryFolder(const TemporaryFolder &) = delete;
  TemporaryFolder &operator=(const TemporaryFolder &) = delete;

  std::string path(const std::string &name = "") const {
    return name.empty() ? folder : folder + "/" + name;
  }
  /// Names of everything inside.
  std::set<std::string> names() const {
    std::set<std::string> found;
    for (const auto &entry : std::filesystem::directory_iterator(folder))
      found.insert(entry.path().filename().string());
    return found;
  }

private:
  std::string folder;
};

inline void writeFile(const std::string &path, const std::string &bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

inline std::string readFile(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

} // namespace chorus::rt::test

#endif // CHORUS_RUNTIME_TEST_TEMPORARYFOLDER_H
