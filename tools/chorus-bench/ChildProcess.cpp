//===- ChildProcess.cpp - Work with memory peaks of its own ---------------===//

#include "ChildProcess.h"

#include <nlohmann/json.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace chorus;
using Json = nlohmann::ordered_json;

static rt::StatusOr<Json>
guarded(const std::function<rt::StatusOr<Json>()> &work) {
  try {
    return work();
  } catch (const std::bad_alloc &) {
    return rt::limitError("N10", "", "out of memory");
  } catch (const std::exception &error) {
    return rt::Status::error(rt::ExitCode::Internal, "internal", "",
                             rt::escapeForMessage(error.what(), 300));
  }
}

[[noreturn]] static void
childMain(int output, const std::function<rt::StatusOr<Json>()> &work) {
  // A parent that is gone has no use for the result.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  rt::StatusOr<Json> result = guarded(work);
  Json message;
  if (result.ok()) {
    message["result"] = *result;
  } else {
    const rt::Status &status = result.status();
    message["error"] = {static_cast<int>(status.exitCode()), status.code(),
                        status.place(), status.message()};
  }
  std::string bytes = message.dump();
  for (size_t at = 0; at < bytes.size();) {
    ssize_t written = write(output, bytes.data() + at, bytes.size() - at);
    if (written < 0 && errno != EINTR)
      _exit(static_cast<int>(rt::ExitCode::IO));
    if (written > 0)
      at += static_cast<size_t>(written);
  }
  _exit(0);
}

rt::StatusOr<Json>
bench::runInChild(const std::function<rt::StatusOr<Json>()> &work) {
  auto failed = [](const char *what) {
    return rt::ioError("child", what, std::strerror(errno));
  };
  int ends[2];
  if (pipe(ends) != 0)
    return failed("pipe");
  pid_t child = fork();
  if (child < 0) {
    rt::Status status = failed("fork");
    close(ends[0]);
    close(ends[1]);
    return status;
  }
  if (child == 0) {
    close(ends[0]);
    childMain(ends[1], work);
  }
  close(ends[1]);
  std::string bytes;
  char buffer[4096];
  ssize_t count;
  while ((count = read(ends[0], buffer, sizeof buffer)) != 0)
    if (count > 0)
      bytes.append(buffer, static_cast<size_t>(count));
    else if (errno != EINTR)
      break;
  close(ends[0]);
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR)
    ;
  Json message = Json::parse(bytes, nullptr, /*allow_exceptions=*/false);
  if (!message.is_object())
    return rt::Status::error(rt::ExitCode::Internal, "child", "",
                             WIFSIGNALED(state)
                                 ? "the measuring process died of signal " +
                                       std::to_string(WTERMSIG(state))
                                 : "the measuring process gave no result");
  if (auto error = message.find("error"); error != message.end())
    return rt::Status::error(static_cast<rt::ExitCode>(error->at(0).get<int>()),
                             error->at(1), error->at(2), error->at(3));
  return message["result"];
}
