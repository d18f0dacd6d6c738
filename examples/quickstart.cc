// quickstart [FILE...]: counts words by a service on a loopback port.
//
// 200 clients stream the lines of real files (by default this project's own
// README and headers) through the service, and the ten most frequent words are
// printed. What to look for: a server, a queue with a shutdown, a semaphore, a
// timeout, a task group, work in a thread, and a clean end by Ctrl-C.

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "coil/coil.h"
#include "coil/examples/word_count.h"

namespace quickstart {
namespace {

using coil::net::StreamReader;
using coil::net::StreamWriter;

constexpr int kClients = 200;
constexpr int kConnectionsAtOnce = 64;
constexpr size_t kLinesPerConnection = 20;
constexpr absl::Duration kTimeLimit = absl::Seconds(30);

// ---------------------------------------------------------------- the service

// Counts the words of the lines that come in until the client has no more, then
// answers with a line "word count" for each.
coil::Co<void> Serve(StreamReader reader, StreamWriter writer) {
  WordCounts counts;
  while (auto line = co_await reader.Next()) CountWords(*line, counts);
  std::string answer;
  for (const auto& [word, count] : counts) {
    answer += word + " " + std::to_string(count) + "\n";
  }
  co_await writer.Write(answer);
  co_await writer.Close();
}

// ---------------------------------------------------------------- the clients

using Chunk = std::vector<std::string>;  // some lines of a file

struct Totals {
  WordCounts counts;
  size_t connections = 0;
  size_t lines = 0;
  size_t files = 0;
  size_t failures = 0;
};

// Sends one chunk through a connection of its own and adds up the answer.
coil::Co<void> CountChunk(int port, const Chunk& chunk, Totals& totals) {
  auto [reader, writer] = co_await coil::net::OpenConnection("127.0.0.1", port);
  for (const std::string& line : chunk) co_await writer.Write(line);
  writer.WriteEof();
  while (auto line = co_await reader.Next()) {
    const size_t space = line->find(' ');
    totals.counts[line->substr(0, space)] += std::stoul(line->substr(space));
  }
  co_await writer.Close();
  ++totals.connections;
  totals.lines += chunk.size();
}

coil::Co<void> Client(int port, coil::Queue<Chunk>& chunks,
                      coil::Semaphore& connections, Totals& totals) {
  while (auto chunk = co_await chunks.Next()) {
    coil::Permit permit = co_await connections.Acquire();
    co_await coil::WithTimeout(kTimeLimit, CountChunk(port, *chunk, totals));
  }
}

// ------------------------------------------------------------------- the files

// Blocking, so it runs in a thread. The lines keep their newlines.
std::vector<std::string> ReadLines(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::system_error(errno, std::generic_category(), path);
  if (std::filesystem::is_directory(path)) {
    throw std::system_error(EISDIR, std::generic_category(), path);
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) {
    lines.push_back(line + "\n");
  }
  return lines;
}

// Feeds the queue; a file that cannot be read is named, and the rest goes on.
coil::Co<void> ReadFiles(const std::vector<std::string>& paths,
                         coil::Queue<Chunk>& chunks, Totals& totals) {
  for (const std::string& path : paths) {
    // Throws nothing but a cancellation: the outcome holds the file's error.
    auto outcome = co_await coil::Settle(coil::ToThread(ReadLines, path));
    if (!outcome.Ok()) {
      const absl::Status status = coil::StatusOf(outcome.Exception());
      std::fprintf(stderr, "quickstart: cannot read %s\n",
                   std::string(status.message()).c_str());
      ++totals.failures;
      continue;
    }
    std::vector<std::string> lines = std::move(outcome).Value();
    ++totals.files;
    for (size_t begin = 0; begin < lines.size(); begin += kLinesPerConnection) {
      const size_t end = std::min(begin + kLinesPerConnection, lines.size());
      Chunk chunk(std::make_move_iterator(lines.begin() + begin),
                  std::make_move_iterator(lines.begin() + end));
      co_await chunks.Put(std::move(chunk));
    }
  }
  chunks.Shutdown();  // the clients take what is left, then end
}

// ----------------------------------------------------------------- the program

// Rewrites one line of the terminal ten times a second, until it is cancelled.
coil::Co<void> ShowProgress(const Totals& totals) {
  coil::Interval ten_times_a_second(absl::Milliseconds(100));
  for (;;) {
    co_await ten_times_a_second.Tick();
    std::fprintf(stderr, "\r%zu files, %zu connections, %zu lines ",
                 totals.files, totals.connections, totals.lines);
  }
}

coil::Co<Totals> CountWordsOf(const std::vector<std::string>& paths) {
  coil::net::Server server =
      co_await coil::net::StartServer(Serve, "127.0.0.1", 0);
  Totals totals;
  coil::Queue<Chunk> chunks(2 * kClients);
  coil::Semaphore connections(kConnectionsAtOnce);

  coil::Task<void> progress;
  if (isatty(STDERR_FILENO)) progress = coil::CreateTask(ShowProgress(totals));

  co_await coil::WithTaskGroup([&](coil::TaskGroup& group) {
    group.CreateTask(ReadFiles(paths, chunks, totals));
    for (int i = 0; i < kClients; ++i) {
      group.CreateTask(Client(server.Port(), chunks, connections, totals));
    }
  });

  if (progress) {
    co_await coil::CancelAndWait(progress);
    std::fputs("\r\x1b[K", stderr);
  }
  server.Close();
  co_await server.WaitClosed();
  co_return totals;
}

// This project's README and headers: in the workspace where `bazel run` was
// called, or among the files that Bazel laid out for this program.
std::vector<std::string> DefaultFiles(const char* program) {
  namespace fs = std::filesystem;
  const std::string runfiles = std::string(program) + ".runfiles/";
  for (const fs::path& root : {fs::path("."), fs::path(runfiles + "coil"),
                               fs::path(runfiles + "_main")}) {
    if (!fs::exists(root / "README.md")) continue;
    std::vector<std::string> paths = {(root / "README.md").string()};
    for (const char* package : {"loop", "task", "timers", "sync", "net"}) {
      if (!fs::exists(root / package)) continue;
      for (const auto& entry :
           fs::recursive_directory_iterator(root / package)) {
        if (entry.path().extension() == ".h") paths.push_back(entry.path());
      }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  return {};
}

int Main(int argc, char** argv) {
  std::vector<std::string> paths(argv + 1, argv + argc);
  if (paths.empty()) paths = DefaultFiles(argv[0]);
  if (paths.empty()) {
    std::fputs("usage: quickstart FILE...\n", stderr);
    return 2;
  }
  // `bazel run` starts programs elsewhere; names of files are meant from where
  // the user is.
  if (const char* folder = std::getenv("BUILD_WORKING_DIRECTORY");
      argc > 1 && folder) {
    std::filesystem::current_path(folder);
  }
  const auto begin = std::chrono::steady_clock::now();
  const Totals totals = coil::Run(CountWordsOf(paths));
  const std::chrono::duration<double> took =
      std::chrono::steady_clock::now() - begin;

  for (const auto& [word, count] : MostFrequent(totals.counts, 10)) {
    std::printf("%8zu  %s\n", count, word.c_str());
  }
  std::printf("%zu connections, %zu lines of %zu files, %.3f s\n",
              totals.connections, totals.lines, totals.files, took.count());
  return totals.failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace quickstart

int main(int argc, char** argv) { return quickstart::Main(argc, argv); }
