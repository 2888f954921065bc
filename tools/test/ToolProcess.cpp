//===- ToolProcess.cpp - Runs a tool and keeps what it says ---------------===//

#include "ToolProcess.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <pty.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace chorus;
using namespace chorus::test;

std::string test::temporaryFolder() {
  struct Folder {
    std::string path;
    Folder() {
      std::string pattern =
          (std::filesystem::temp_directory_path() / "chorus-XXXXXX").string();
      if (!mkdtemp(pattern.data()))
        std::abort();
      path = pattern;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
  };
  static Folder folder;
  return folder.path;
}

std::string test::writeTemporary(const std::string &name,
                                 const std::string &bytes) {
  std::string path = temporaryFolder() + "/" + name;
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  return path;
}

static std::string readFile(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

std::vector<std::string> ToolResult::lines() const {
  std::vector<std::string> result;
  for (size_t at = 0; at < out.size();) {
    size_t end = out.find('\n', at);
    if (end == std::string::npos)
      end = out.size();
    result.push_back(out.substr(at, end - at));
    at = end + 1;
  }
  return result;
}

static void execute(const std::string &program,
                    std::vector<std::string> &arguments) {
  std::vector<char *> argv = {const_cast<char *>(program.c_str())};
  for (std::string &argument : arguments)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(program.c_str(), argv.data());
  _exit(127);
}

static int exitCodeOf(pid_t child) {
  int state = 0;
  while (waitpid(child, &state, 0) < 0 && errno == EINTR)
    ;
  return WIFEXITED(state) ? WEXITSTATUS(state) : 256 + WTERMSIG(state);
}

ToolResult test::runTool(const std::string &program,
                         std::vector<std::string> arguments,
                         const ToolInput &input) {
  std::string in = writeTemporary("stdin", input.standardInput);
  std::string out = input.outputPath.empty() ? temporaryFolder() + "/stdout"
                                             : input.outputPath;
  std::string err = temporaryFolder() + "/stderr";
  pid_t child = fork();
  if (child == 0) {
    auto redirect = [](const std::string &path, int flags, int to) {
      int file = open(path.c_str(), flags, 0600);
      if (file < 0 || dup2(file, to) < 0)
        _exit(126);
    };
    redirect(in, O_RDONLY, STDIN_FILENO);
    redirect(out, O_WRONLY | O_CREAT | O_TRUNC, STDOUT_FILENO);
    redirect(err, O_WRONLY | O_CREAT | O_TRUNC, STDERR_FILENO);
    execute(program, arguments);
  }
  if (input.signal != 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(input.signalAfterMs));
    kill(child, input.signal);
  }
  ToolResult result;
  result.exitCode = exitCodeOf(child);
  if (input.outputPath.empty())
    result.out = readFile(out);
  result.err = readFile(err);
  return result;
}

ToolResult test::runOnTerminal(const std::string &program,
                               std::vector<std::string> arguments,
                               const std::string &typed) {
  int terminal = -1;
  pid_t child = forkpty(&terminal, nullptr, nullptr, nullptr);
  if (child == 0)
    execute(program, arguments);
  std::string keys = typed + "\x04";
  ToolResult result;
  if (write(terminal, keys.data(), keys.size()) !=
      static_cast<ssize_t>(keys.size()))
    return result;
  char buffer[4096];
  // An error is how a terminal tells that its last user is gone.
  for (ssize_t count; (count = read(terminal, buffer, sizeof buffer)) > 0;)
    result.out.append(buffer, static_cast<size_t>(count));
  result.exitCode = exitCodeOf(child);
  close(terminal);
  return result;
}
