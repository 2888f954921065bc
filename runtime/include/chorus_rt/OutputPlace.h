//===- OutputPlace.h - Where a file is written ------------------*- C++ -*-===//

#ifndef CHORUS_RT_OUTPUTPLACE_H
#define CHORUS_RT_OUTPUTPLACE_H

#include "chorus_rt/Status.h"

#include <string>
#include <string_view>

namespace chorus::rt {

/// A file's folder, held open, and its name in there: what is made beside a
/// file stays beside it, whatever happens to the path.
class OutputPlace {
public:
  /// Usage error (exit code 2) if `path` names no file or its folder does not
  /// exist, exit code 5 if the folder cannot be opened. The file itself is not
  /// looked at.
  static StatusOr<OutputPlace> open(const std::string &path);

  /// No place; to be assigned to.
  OutputPlace() = default;
  OutputPlace(OutputPlace &&other) noexcept;
  OutputPlace &operator=(OutputPlace &&other) noexcept;
  ~OutputPlace();

  /// The folder's descriptor, owned by this.
  int folder() const { return folderFd; }
  const std::string &name() const { return fileName; }
  const std::string &path() const { return filePath; }
  /// The path for messages.
  std::string shown() const { return escapeForMessage(filePath, 200); }

  /// A hidden file's name beside it: `.NAME.SUFFIX`, or one of bounded length
  /// that depends on NAME alone.
  std::string hiddenName(std::string_view suffix) const;

  /// Whether the path still leads to this folder.
  bool stillThere() const;

private:
  std::string filePath, folderPath, fileName;
  int folderFd = -1;
};

} // namespace chorus::rt

#endif // CHORUS_RT_OUTPUTPLACE_H
