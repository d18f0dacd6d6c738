// quickstart [FILE...]: counts words by a service on a loopback port.
//
// 200 clients stream the lines of real files (by default this project's own
// README and headers) through the service, and the ten most frequent words are
// printed. What to look for: a server, a queue with a shutdown, a semaphore, a
// timeout, a task group, work in a thread, and a clean end by Ctrl-C.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
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
constexpr int kBusyAtOnce = 64;  // clients that connect or send
constexpr size_t kLinesPerChunk = 20;
constexpr absl::Duration kTimeLimit = absl::Seconds(30);

// ---------------------------------------------------------------- the service

// Counts the words of what comes in until the client has no more, then answers
// with a line "word count" for each. It looks at the bytes as they come, and
// not at lines, because a line may be too long to be kept.
coil::Co<void> Serve(StreamReader reader, StreamWriter writer) {
  WordCounter counter;
  for (;;) {
    const std::string_view text = co_await reader.Peek();
    if (text.empty()) break;
    counter.Add(text);
    reader.Consume(text.size());
  }
  std::string answer;
  for (const auto& [word, count] : counter.Finish()) {
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

coil::Co<void> Send(StreamWriter& writer, const Chunk& chunk) {
  for (const std::string& line : chunk) co_await writer.Write(line);
}

coil::Co<void> AddAnswer(StreamReader& reader, WordCounts& counts) {
  std::istringstream answer(co_await reader.ReadAll());
  std::string word;
  for (size_t count = 0; answer >> word >> count;) counts[word] += count;
}

// One connection: sends chunks for as long as there are any, and adds up the
// answer.
coil::Co<void> Client(int port, coil::Queue<Chunk>& chunks,
                      coil::Semaphore& busy, Totals& totals) {
  coil::Permit permit = co_await busy.Acquire();
  auto [reader, writer] = co_await coil::WithTimeout(
      kTimeLimit, coil::net::OpenConnection("127.0.0.1", port));
  permit.Release();
  ++totals.connections;
  while (auto chunk = co_await chunks.Next()) {
    permit = co_await busy.Acquire();
    co_await coil::WithTimeout(kTimeLimit, Send(writer, *chunk));
    permit.Release();
    totals.lines += chunk->size();
  }
  writer.WriteEof();
  co_await coil::WithTimeout(kTimeLimit, AddAnswer(reader, totals.counts));
  co_await writer.Close();
}

// ------------------------------------------------------------------- the files

// Open() and ReadChunk() block, so they run in a thread.
std::ifstream Open(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::system_error(errno, std::generic_category(), path);
  if (std::filesystem::is_directory(path)) {
    throw std::system_error(EISDIR, std::generic_category(), path);
  }
  return file;
}

// The next lines, with their newlines; none at the end of the file.
Chunk ReadChunk(std::ifstream& file, const std::string& path) {
  errno = 0;
  Chunk lines;
  std::string line;
  while (lines.size() < kLinesPerChunk && std::getline(file, line)) {
    lines.push_back(line + "\n");
  }
  if (file.bad()) throw std::system_error(errno, std::generic_category(), path);
  return lines;
}

// A pipe may be silent for long, and so may a terminal: who waits for them in a
// thread does not hear Ctrl-C.
bool IsPipe(const std::string& path) {
  const std::filesystem::file_status status = std::filesystem::status(path);
  if (!std::filesystem::is_character_file(status)) {
    return std::filesystem::is_fifo(status);
  }
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  const bool terminal = fd >= 0 && isatty(fd);
  close(fd);
  return terminal;
}

// Until somebody writes: before that a pipe is at its end.
coil::Co<void> WaitForWriter(const coil::net::PipeEnd& pipe) {
  struct Watch {
    ~Watch() { coil::EventLoop::Current().RemoveReader(fd); }
    int fd;
  } watch{pipe.Descriptor()};
  coil::Future<void> readable;
  coil::EventLoop::Current().AddReader(watch.fd, [&readable] {
    if (!readable.Done()) readable.SetResult();
  });
  co_await readable;
}

coil::Co<void> ReadPipe(const std::string& path, coil::Queue<Chunk>& chunks) {
  coil::net::PipeEnd end = coil::net::PipeEnd::Adopt(
      open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!end) throw std::system_error(errno, std::generic_category(), path);
  co_await WaitForWriter(end);
  StreamReader pipe = coil::net::ConnectReadPipe(std::move(end));
  Chunk lines;
  std::string line;
  for (;;) {
    const std::string_view text = co_await pipe.Peek();
    for (const char c : text) {
      line += c;
      if (c == '\n') lines.push_back(std::exchange(line, {}));
    }
    const bool ended = text.empty();
    pipe.Consume(text.size());
    if (ended && !line.empty()) lines.push_back(line + "\n");
    Chunk ready = std::exchange(lines, {});
    if (!ready.empty()) co_await chunks.Put(std::move(ready));
    if (ended) co_return;
  }
}

// Piece by piece: the file may be long, and a pipe may never end.
coil::Co<void> ReadFile(const std::string& path, coil::Queue<Chunk>& chunks) {
  if (IsPipe(path)) {
    co_await ReadPipe(path, chunks);
    co_return;
  }
  std::ifstream file = co_await coil::ToThread(Open, path);
  for (;;) {
    Chunk chunk = co_await coil::ToThread(ReadChunk, std::ref(file), path);
    if (chunk.empty()) co_return;
    co_await chunks.Put(std::move(chunk));
  }
}

// Feeds the queue; a file that cannot be read is named, and the rest goes on.
coil::Co<void> ReadFiles(const std::vector<std::string>& paths,
                         coil::Queue<Chunk>& chunks, Totals& totals) {
  for (const std::string& path : paths) {
    // Throws nothing but a cancellation: the outcome holds the file's error.
    auto outcome = co_await coil::Settle(ReadFile(path, chunks));
    if (outcome.Ok()) {
      ++totals.files;
      continue;
    }
    ++totals.failures;
    const absl::Status status = coil::StatusOf(outcome.Exception());
    std::fprintf(stderr, "quickstart: cannot read %s\n",
                 std::string(status.message()).c_str());
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
  coil::net::Server server = co_await coil::net::StartServer(
      Serve, "127.0.0.1", 0, coil::net::ServerOptions().Backlog(kClients));
  Totals totals;
  coil::Queue<Chunk> chunks(2 * kClients);
  coil::Semaphore busy(kBusyAtOnce);

  coil::Task<void> progress;
  if (isatty(STDERR_FILENO)) progress = coil::CreateTask(ShowProgress(totals));
  // However the group ends: the progress is of a variable of this function.
  auto end_progress = [&]() -> coil::Co<void> {
    if (!progress) co_return;
    co_await coil::CancelAndWait(progress);
    std::fputs("\r\x1b[K", stderr);
  };
  auto count = [&] {
    return coil::WithTaskGroup([&](coil::TaskGroup& group) {
      group.CreateTask(ReadFiles(paths, chunks, totals));
      for (int i = 0; i < kClients; ++i) {
        group.CreateTask(Client(server.Port(), chunks, busy, totals));
      }
    });
  };
  co_await coil::Finally(count, end_progress);

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
