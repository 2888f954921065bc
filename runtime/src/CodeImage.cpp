//===- CodeImage.cpp - Verified and loaded machine code -------------------===//

#include "CodeImage.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

using namespace chorus::rt;

/// A file in memory that may hold code, or -1 with errno.
static int createMemoryFile() {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  int fd = memfd_create("chorus-code", flags | MFD_EXEC);
  // Kernels before 6.3 do not know MFD_EXEC and need none.
  if (fd < 0 && errno == EINVAL)
    fd = memfd_create("chorus-code", flags);
  return fd;
}

static Status memoryFileError(const std::string &place, int error) {
  if (error == EACCES)
    return ioError("A16", place,
                   "the setting vm.memfd_noexec forbids executable memory "
                   "files, which compiled code is loaded from");
  if (error == EPERM || error == ENOSYS)
    return ioError("A16", place,
                   std::string("a system call policy (seccomp) forbids "
                               "memfd_create, which compiled code is loaded "
                               "with: ") +
                       std::strerror(error));
  return ioError("io", place,
                 std::string("cannot create a memory file for the code: ") +
                     std::strerror(error));
}

static Status writeAndSeal(int fd, const std::vector<uint8_t> &bytes,
                           const std::string &place) {
  for (size_t done = 0; done < bytes.size();) {
    ssize_t count = write(fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return limitError("N10", place,
                        std::string("cannot hold the code in memory: ") +
                            std::strerror(errno));
    done += static_cast<size_t>(count);
  }
  // What was verified is what runs.
  if (fcntl(fd, F_ADD_SEALS,
            F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return ioError("io", place,
                   std::string("cannot seal the code's memory file: ") +
                       std::strerror(errno));
  return Status();
}

/// dlerror's text without the name that it begins with.
static std::string loaderMessage(const std::string &name) {
  const char *text = dlerror();
  std::string message = text ? text : "unknown";
  if (message.rfind(name + ": ", 0) == 0)
    message.erase(0, name.size() + 2);
  return escapeForMessage(message, 200);
}

StatusOr<CodeImage> CodeImage::load(const std::vector<uint8_t> &bytes,
                                    const std::string &place) {
  StatusOr<FunctionTable> functions = verifyCodeImage(bytes, place);
  if (!functions.ok())
    return functions.status();
  CodeImage image;
  image.functions = std::move(*functions);
  image.fd = createMemoryFile();
  if (image.fd < 0)
    return memoryFileError(place, errno);
  Status status = writeAndSeal(image.fd, bytes, place);
  if (!status.ok())
    return status;
  std::string name = "/proc/self/fd/" + std::to_string(image.fd);
  if (access(name.c_str(), F_OK) != 0)
    return ioError("io", place,
                   "/proc is not mounted, and compiled code is loaded through "
                   "/proc/self/fd");
  image.handle = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!image.handle)
    return ioError("A16", place,
                   "the system refuses to map the code as executable (a W^X or "
                   "noexec policy, or a memory limit): " +
                       loaderMessage(name));
  link_map *map = nullptr;
  if (dlinfo(image.handle, RTLD_DI_LINKMAP, static_cast<void *>(&map)) != 0)
    return ioError("io", place, "the loader does not say where the code is");
  image.base = map->l_addr;
  return image;
}

CodeImage::CodeImage(CodeImage &&other) noexcept { *this = std::move(other); }

CodeImage &CodeImage::operator=(CodeImage &&other) noexcept {
  std::swap(handle, other.handle);
  std::swap(base, other.base);
  std::swap(fd, other.fd);
  std::swap(functions, other.functions);
  return *this;
}

CodeImage::~CodeImage() {
  if (handle)
    dlclose(handle);
  if (fd >= 0)
    close(fd);
}

void *CodeImage::function(std::string_view name) const {
  auto found = functions.find(name);
  if (found == functions.end())
    return nullptr;
  // The loader says where the code is as a number.
  // NOLINTNEXTLINE(performance-no-int-to-ptr)
  return reinterpret_cast<void *>(base + found->second);
}
