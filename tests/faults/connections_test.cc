// Many connections between a server and its clients, in two processes: T29 and
// T30 of the catalogue of failures.

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/faults/processes.h"
#include "tests/net/net_testing.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COIL_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COIL_SANITIZED 1
#endif
#endif

namespace coil_testing {
namespace {

// A sanitizer keeps what was freed.
#ifdef COIL_SANITIZED
constexpr bool kMemoryCounts = false;
#else
constexpr bool kMemoryCounts = true;
#endif

using coil::Co;
using coil::CreateTask;
using coil::Task;
using coil::net::Address;
using coil::net::OpenConnection;
using coil::net::Server;
using coil::net::ServerOptions;
using coil::net::Socket;
using coil::net::StartServer;
using coil::net::StreamPair;
using coil::net::StreamReader;
using coil::net::StreamWriter;

long Number(const char* variable, long otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::atol(text);
}

// Of this process, in bytes.
double ResidentMemory() {
  std::ifstream file("/proc/self/statm");
  double all = 0;
  double resident = 0;
  file >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

// The slope of a line through the last half of some samples.
class Trend {
 public:
  void Add(double x, double y) { samples_.push_back({x, y}); }
  // How much `y` grows over the last half by that line.
  double GrowthOfLastHalf() const {
    const size_t begin = samples_.size() / 2;
    const auto n = static_cast<double>(samples_.size() - begin);
    double mean_x = 0;
    double mean_y = 0;
    for (size_t i = begin; i < samples_.size(); ++i) {
      mean_x += samples_[i].x / n;
      mean_y += samples_[i].y / n;
    }
    double xy = 0;
    double xx = 0;
    for (size_t i = begin; i < samples_.size(); ++i) {
      xy += (samples_[i].x - mean_x) * (samples_[i].y - mean_y);
      xx += (samples_[i].x - mean_x) * (samples_[i].x - mean_x);
    }
    return xx == 0 ? 0 : xy / xx * (samples_.back().x - samples_[begin].x);
  }
  double Last() const { return samples_.empty() ? 0 : samples_.back().y; }

 private:
  struct Sample {
    double x;
    double y;
  };
  std::vector<Sample> samples_;
};

Co<void> EchoBytes(StreamReader reader, StreamWriter writer) {
  try {
    for (;;) {
      const std::string_view data = co_await reader.Peek();
      if (data.empty()) co_return;
      co_await writer.Write(data);
      reader.Consume(data.size());
    }
  } catch (const coil::OsError&) {
    // Reset.
  }
}

// One of several addresses of this machine: each has ports of its own.
Address TargetOf(long i, int port) {
  return *Address::FromNumeric(absl::StrCat("127.0.0.", 1 + i % 16), port);
}

std::vector<Socket> ListenEverywhere() {
  std::vector<Socket> sockets;
  sockets.emplace_back(AF_INET, SOCK_STREAM);
  sockets[0].SetOption(SOL_SOCKET, SO_REUSEADDR, 1);
  sockets[0].Bind(*Address::FromNumeric("0.0.0.0", 0));
  sockets[0].Listen(4096);
  return sockets;
}

// ---- T30: held

Co<absl::Duration> SlowestOf(std::vector<StreamPair>& active) {
  std::vector<absl::Duration> times;
  for (int round = 0; round < 10; ++round) {
    for (StreamPair& pair : active) {
      const absl::Time start = absl::Now();
      co_await pair.writer.Write("ping");
      EXPECT_EQ(co_await pair.reader.ReadExactly(4), "ping");
      times.push_back(absl::Now() - start);
    }
  }
  std::sort(times.begin(), times.end());
  co_return times[times.size() * 99 / 100];
}

Co<void> HoldThem(long count, int port) {
  std::vector<StreamPair> held;
  held.reserve(static_cast<size_t>(count));
  for (long i = 0; i < 100; ++i) {
    held.push_back(co_await OpenConnection(TargetOf(i, port)));
  }
  const absl::Duration unloaded = co_await SlowestOf(held);
  auto open = [&](long first) -> Co<void> {
    for (long i = first; i < count; i += 50) {
      StreamPair pair = co_await OpenConnection(TargetOf(i, port));
      held.push_back(std::move(pair));
    }
  };
  std::vector<Task<void>> tasks;
  for (long i = 0; i < 50; ++i) tasks.push_back(CreateTask(open(100 + i)));
  for (const Task<void>& task : tasks) co_await task;
  EXPECT_EQ(held.size(), static_cast<size_t>(count));
  std::vector<StreamPair> active(held.begin(), held.begin() + 100);
  const absl::Duration loaded = co_await SlowestOf(active);
  std::printf(
      "p99 of 1,000 round trips: %s with 100 connections, %s with %ld\n",
      absl::FormatDuration(unloaded).c_str(),
      absl::FormatDuration(loaded).c_str(), count);
  // The server is to see all of them at once.
  for (StreamPair& pair : held) co_await pair.writer.Write("x");
  for (StreamPair& pair : held) co_await pair.reader.ReadExactly(1);
  for (StreamPair& pair : held) co_await pair.writer.Close();
}

TEST(ReliabilityT30, ManyConnectionsAreHeldByAServerAndItsClients) {
  long count = Number("COIL_CONNECTIONS", 1000);
  const long descriptors = RaiseDescriptorLimit(count + 200);
  if (descriptors < count + 200) {
    count = descriptors - 200;
    std::printf("the system lets a process have %ld descriptors\n",
                descriptors);
  }
  std::vector<Socket> sockets = ListenEverywhere();
  const int port = sockets[0].SockName().Port();
  const int before = OpenDescriptors();
  const pid_t clients = InAnotherProcess([=] { return HoldThem(count, port); });
  ASSERT_GT(clients, 0);
  coil::Run([&]() -> Co<void> {
    Server server = co_await StartServer(EchoBytes, std::move(sockets),
                                         ServerOptions().Backlog(4096));
    co_await coil::Sleep(absl::Milliseconds(1));
    const double memory = ResidentMemory();
    size_t most = 0;
    double most_memory = 0;
    bool opened = false;
    while (!opened || server.Connections() != 0) {
      co_await coil::Sleep(absl::Milliseconds(2));
      opened = opened || server.Connections() != 0;
      most = std::max(most, server.Connections());
      most_memory = std::max(most_memory, ResidentMemory());
    }
    EXPECT_EQ(most, static_cast<size_t>(count));
    const double each = (most_memory - memory) / static_cast<double>(count);
    std::printf("%ld connections held, %.0f bytes of the server for each\n",
                count, each);
    if (kMemoryCounts) {
      EXPECT_LE(each, 16 << 10);
    }
    server.Close();
    co_await server.WaitClosed();
  });
  EXPECT_EQ(StatusOf(clients), 0);
  EXPECT_EQ(OpenDescriptors(), before - 1);  // without the listener
}

// ---- T29: opened and closed

// Every tenth is reset, every tenth cancelled somewhere.
Co<void> OpenAndClose(long i, int port) {
  const Address target = TargetOf(i, port);
  if (i % 10 == 3) {
    Task<StreamPair> task = CreateTask(OpenConnection(target));
    for (long turns = i / 10 % 4; turns > 0; --turns) co_await coil::Yield();
    task.Cancel();
    co_await coil::Settle(task);
    co_return;
  }
  auto [reader, writer] = co_await OpenConnection(target);
  co_await writer.Write("x");
  EXPECT_EQ(co_await reader.ReadExactly(1), "x");
  if (i % 10 == 6) {
    writer.Abort();
    co_return;
  }
  co_await writer.Close();
}

constexpr int kAtOnce = 50;

void ExpectNoGrowth(const char* who, const Trend& memory, const Trend& files) {
  std::printf(
      "%s: memory %.0f KiB, grows by %.1f KiB in the last half; "
      "descriptors grow by %.2f\n",
      who, memory.Last() / 1024, memory.GrowthOfLastHalf() / 1024,
      files.GrowthOfLastHalf());
  if (kMemoryCounts) {
    EXPECT_LE(memory.GrowthOfLastHalf(),
              std::max(memory.Last() / 100, double{128 << 10}))
        << who;
  }
  // Any number of those under way is open when it is counted.
  EXPECT_LE(files.GrowthOfLastHalf(), 2 * kAtOnce) << who;
}

Co<void> Churn(long count, int port) {
  const ptrdiff_t frames = coil::internal::LiveFrames();
  const int before = OpenDescriptors();
  long next = 0;
  Trend memory;
  Trend files;
  auto work = [&]() -> Co<void> {
    while (next < count) {
      const long i = next++;
      co_await OpenAndClose(i, port);
      if (i % (count / 100) == 0) {
        memory.Add(static_cast<double>(i), ResidentMemory());
        files.Add(static_cast<double>(i), OpenDescriptors());
      }
    }
  };
  {
    std::vector<Task<void>> workers;
    for (int i = 0; i < kAtOnce; ++i) workers.push_back(CreateTask(work()));
    for (const Task<void>& worker : workers) co_await worker;
  }
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_LE(coil::internal::LiveFrames(), frames);
  ExpectNoGrowth("clients", memory, files);
}

TEST(ReliabilityT29, ManyConnectionsAreOpenedAndClosedAndNothingIsLeft) {
  const long count = Number("COIL_CHURN", 10000);
  std::vector<Socket> sockets = ListenEverywhere();
  const int port = sockets[0].SockName().Port();
  const int before = OpenDescriptors();
  const pid_t clients = InAnotherProcess([=] { return Churn(count, port); });
  ASSERT_GT(clients, 0);
  coil::Run([&]() -> Co<void> {
    long served = 0;
    Trend memory;
    Trend files;
    auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
      if (++served % (count / 100) == 0) {
        memory.Add(static_cast<double>(served), ResidentMemory());
        files.Add(static_cast<double>(served), OpenDescriptors());
      }
      co_await EchoBytes(std::move(reader), std::move(writer));
    };
    Server server = co_await StartServer(handler, std::move(sockets),
                                         ServerOptions().Backlog(4096));
    const int listening = OpenDescriptors();
    const ptrdiff_t frames = coil::internal::LiveFrames();
    const absl::Time start = absl::Now();
    siginfo_t info{};
    while (::waitid(P_PID, static_cast<id_t>(clients), &info,
                    WEXITED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == 0) {
      co_await coil::Sleep(absl::Milliseconds(5));
    }
    const double seconds = absl::ToDoubleSeconds(absl::Now() - start);
    while (server.Connections() != 0) {
      co_await coil::Sleep(absl::Milliseconds(1));
    }
    co_await Turns();
    std::printf("%ld connections in %.1f s, %ld of them served\n", count,
                seconds, served);
    // Those that were cancelled may never have been accepted.
    EXPECT_GE(served, count - count / 10);
    EXPECT_EQ(OpenDescriptors(), listening);
    EXPECT_LE(coil::internal::LiveFrames(), frames);
    ExpectNoGrowth("server", memory, files);
  });
  EXPECT_EQ(StatusOf(clients), 0);
  EXPECT_EQ(OpenDescriptors(), before - 1);
}

}  // namespace
}  // namespace coil_testing
