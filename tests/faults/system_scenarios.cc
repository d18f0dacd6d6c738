#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/loop/thread_pool.h"
#include "coil/net/addr_info.h"
#include "coil/net/file.h"
#include "coil/net/resolver.h"
#include "coil/net/signal_set.h"
#include "coil/net/subprocess.h"
#include "coil/task/task.h"
#include "coil/task/to_thread.h"
#include "coil/task/with.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "tests/faults/fault_scenarios.h"
#include "tests/net/file_testing.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::net::Address;
using coil::net::Command;
using coil::net::Process;

Co<void> Timers() {
  coil::EventLoop& loop = coil::EventLoop::Current();
  const coil::LoopTime start = loop.Now();
  // They may run when this has failed already.
  const auto fired = std::make_shared<int>(0);
  loop.CallLater(absl::Microseconds(300), [fired] { ++*fired; });
  loop.CallSoon([fired] { ++*fired; });
  for (int i = 0; i < 4; ++i) co_await coil::Sleep(absl::Microseconds(200));
  Check(*fired == 2, "two callbacks");
  Check(loop.Now() - start >= absl::Microseconds(800), "no sleep is short");
}

Co<void> Posts() {
  coil::EventLoop& loop = coil::EventLoop::Current();
  const auto ran = std::make_shared<int>(0);  // as above
  // Joined whatever becomes of the sleep.
  class Poster {
   public:
    Poster(coil::EventLoop& loop, std::shared_ptr<int> ran)
        : thread_([&loop, ran] {
            for (int i = 0; i < 20; ++i) {
              loop.CallSoonThreadSafe([ran] { ++*ran; });
              std::this_thread::yield();
            }
          }) {}
    ~Poster() { thread_.join(); }

   private:
    std::thread thread_;
  };
  const Poster poster(loop, ran);
  while (*ran < 20) co_await coil::Sleep(absl::Microseconds(100));
}

Co<void> Threads() {
  const int seven = co_await coil::ToThread([] { return 7; });
  Check(seven == 7, "what a thread has returned");
  coil::ThreadPool pool(2);
  const int eight = co_await coil::RunInExecutor(pool, [] { return 8; });
  Check(eight == 8, "what a thread of a pool has returned");
}

Co<void> Signals() {
  coil::net::SignalSet set{SIGUSR1, SIGUSR2};
  ::raise(SIGUSR1);
  const int first = co_await set.Next();
  Check(first == SIGUSR1, "a signal");
  ::raise(SIGUSR2);
  const int second = co_await set.Next();
  Check(second == SIGUSR2, "another signal");
}

Co<void> Names() {
  coil::net::SystemResolver resolver(coil::net::ResolverOptions().CacheSize(0));
  const std::vector<Address> addresses =
      co_await resolver.Resolve(coil::net::ResolveQuery("localhost", 80));
  Check(!addresses.empty(), "localhost has an address");
  coil::net::AddrInfoOptions options;
  options.type = SOCK_STREAM;
  const std::vector<coil::net::AddrInfo> infos =
      co_await coil::net::GetAddrInfo("127.0.0.1", "80", options);
  Check(infos.size() == 1, "a number is one address");
  const coil::net::NameInfo name = co_await coil::net::GetNameInfo(
      *Address::FromNumeric("127.0.0.1", 80), NI_NUMERICHOST | NI_NUMERICSERV);
  Check(name.host == "127.0.0.1" && name.service == "80", "a name");
}

Co<void> RunCommand() {
  const coil::net::CommandResult result =
      co_await Command("cat").Run("through cat");
  // Input that a child does not take is no error.
  Check(std::string_view("through cat").starts_with(result.out),
        "what cat was given");
}

Co<void> Communicate() {
  Process process = Command::Shell("cat; echo err >&2; exit 3")
                        .Stdin(coil::net::Pipe())
                        .Stdout(coil::net::Pipe())
                        .Stderr(coil::net::Pipe())
                        .Cwd("/")
                        .ProcessGroup()
                        .Spawn();
  co_await coil::With(process, [](Process& child) -> Co<void> {
    auto [out, err] = co_await child.Communicate("in");
    Check(std::string_view("in").starts_with(out), "what a child has printed");
    const int code = co_await child.Wait();
    // 255 stands for a status that somebody else has taken.
    Check(code == 3 || code == 255, "how a child has ended");
  });
}

Co<void> KillChildren() {
  int pipe[2];
  Check(::pipe(pipe) == 0, "pipe()");
  class Closing {
   public:
    explicit Closing(int fd) : fd_(fd) {}
    ~Closing() { ::close(fd_); }

   private:
    int fd_;
  };
  const Closing one(pipe[0]);
  const Closing two(pipe[1]);
  Process process = Command("sleep")
                        .Arg("100")
                        .Stdin(coil::net::DevNull())
                        .Stdout(coil::net::UseDescriptor(pipe[1]))
                        .PassFd(pipe[0])
                        .NewSession()
                        .KillOnDrop()
                        .Spawn();
  process.Terminate();
  process.SignalGroup(SIGKILL);
  const int code = co_await process.Wait();
  Check(code == -SIGTERM || code == -SIGKILL || code == 255,
        "how a child was ended");
}

// More than is read before the size is asked for.
Co<void> Files() {
  const FileFolder folder;
  const std::string path = folder.Path("file");
  const std::string data = Pattern(66'000);
  const coil::net::File file = co_await coil::net::OpenFile(path, "w+");
  co_await file.Write(data);
  co_await file.Write(data);
  co_await file.Sync();
  co_await file.Truncate(data.size());
  co_await file.SyncData();
  const uint64_t size = co_await file.Size();
  Check(size == data.size(), "the size of a file");
  co_await file.Seek(0);
  const std::string read = co_await file.ReadAll();
  Check(read == data, "what was written to a file");
  try {
    co_await file.Close();
  } catch (const coil::OsError& error) {
    // It is closed, and what close() says is told.
    Check(error.operation() == "close", "how a file fails that is closed");
  }
  Check(file.Descriptor() < 0, "that a file is closed");
}

}  // namespace

std::vector<FaultScenario> SystemScenarios() {
  return {
      {"timers", Timers},
      {"timers of old", Timers, Call::epoll_pwait2},
      {"posts", Posts},
      {"threads", Threads},
      {"signals", Signals},
      {"names", Names},
      {"run a command", RunCommand},
      {"communicate", Communicate},
      {"kill children", KillChildren},
      {"files", Files},
  };
}

}  // namespace coil_testing
