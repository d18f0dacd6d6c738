// Files whose operations are cancelled, fail, or are under way when everything
// else ends: on threads that a test holds up, and in a ring that it plays.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/epoll_poller.h"
#include "coil/loop/internal/file_ring.h"
#include "coil/loop/internal/poller_choice.h"
#include "coil/net/file.h"
#include "coil/task/gather.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/net/file_testing.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil::internal::FileRing;
using coil::internal::kRealSocketCalls;
using coil_testing::ContentOf;
using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::FileFolder;
using coil_testing::Pattern;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::SystemShim;
using coil_testing::Turns;

// ---- on threads, which are held up

std::atomic<bool> g_held{false};
std::atomic<int> g_inside{0};

void WaitInside() {
  ++g_inside;
  g_inside.notify_all();
  g_held.wait(true);
}
ssize_t HeldPread(int fd, void* out, size_t size, off_t offset) {
  WaitInside();
  return kRealSocketCalls.pread(fd, out, size, offset);
}
// A third of what was asked for, as a disk that is nearly full.
ssize_t HeldPwrite(int fd, const void* data, size_t size, off_t offset) {
  WaitInside();
  return kRealSocketCalls.pwrite(fd, data, size / 3 + 1, offset);
}
int HeldOpen(const char* path, int flags, mode_t permissions) {
  const int fd = kRealSocketCalls.open_file(path, flags, permissions);
  WaitInside();
  return fd;
}

// The loops of these tests use threads, whatever the environment says.
class OnThreads {
 public:
  OnThreads()
      : previous_(coil::internal::g_poller_factory.exchange(
            +[]() -> std::unique_ptr<Poller> {
              return std::make_unique<EpollPoller>();
            })) {}
  OnThreads(const OnThreads&) = delete;
  OnThreads& operator=(const OnThreads&) = delete;
  ~OnThreads() { coil::internal::g_poller_factory.store(previous_); }

 private:
  coil::internal::PollerFactory previous_;
};

class FileThreadTest : public coil_testing::NetTest {
 protected:
  FileThreadTest() {
    g_held = true;
    g_inside = 0;
    shim_.table().pread = HeldPread;
    shim_.table().pwrite = HeldPwrite;
    shim_.table().open_file = HeldOpen;
  }
  ~FileThreadTest() override { LetGo(); }

  static void LetGo() {
    g_held = false;
    g_held.notify_all();
  }
  // Until a thread is held up.
  static Co<void> Held(int count = 1) {
    EXPECT_TRUE(co_await Eventually([&] { return g_inside >= count; }));
  }
  File Open(const std::string& path, int flags) {
    return File::FromDescriptor(::open(path.c_str(), flags | O_CLOEXEC), path);
  }

  FileFolder folder_;
  OnThreads on_threads_;
  SocketShim shim_;
};

TEST_F(FileThreadTest, TheLoopGoesOnWhileAThreadReads) {
  RunNet([&]() -> Co<void> {
    const File file = Open(folder_.Make("file", "0123456789"), O_RDONLY);
    Task<std::string> read = CreateTask(file.Read(5));
    co_await Held();
    EXPECT_FALSE(read.Done());
    EXPECT_NE(DumpTasks().find("read of " + folder_.Path("file")),
              std::string::npos)
        << DumpTasks();
    LetGo();
    EXPECT_EQ(co_await read, "01234");
  });
}

TEST_F(FileThreadTest, ACancelledReadKeepsItsBytesUntilTheThreadLetsGo) {
  RunNet([&]() -> Co<void> {
    const File file = Open(folder_.Make("file", "0123456789"), O_RDONLY);
    char bytes[5] = {};
    Task<size_t> read = CreateTask(file.Read(absl::MakeSpan(bytes)));
    co_await Held();
    EXPECT_TRUE(read.Cancel());
    co_await Turns(20);
    EXPECT_FALSE(read.Done());
    LetGo();
    EXPECT_EQ(co_await ErrorOf(read), "cancelled");
    EXPECT_EQ(file.Tell(), 0u);
    EXPECT_EQ(co_await file.ReadAll(), "0123456789");
  });
}

// A third of what was asked for, so that there is something left to be done.
TEST_F(FileThreadTest, ACancelThatIsTakenBackCutsNothingShort) {
  shim_.table().pread = [](int fd, void* out, size_t size, off_t offset) {
    WaitInside();
    return kRealSocketCalls.pread(fd, out, size / 3 + 1, offset);
  };
  RunNet([&]() -> Co<void> {
    const File file = Open(folder_.Make("file", "0123456789"), O_RDONLY);
    Task<std::string> read = CreateTask(file.Read(10));
    co_await Held();
    EXPECT_TRUE(read.Cancel());
    EXPECT_EQ(read.Uncancel(), 0);
    LetGo();
    EXPECT_EQ(co_await read, "0123456789");
    EXPECT_EQ(file.Tell(), 10u);
  });
}

TEST_F(FileThreadTest, ACancelledWriteIsFinishedAndThePositionIsBehindIt) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "");
    const File file = Open(path, O_WRONLY);
    const std::string data = Pattern(1000);
    Task<void> write = CreateTask(file.Write(data));
    Task<void> in_line = CreateTask(file.Write("in line"));
    Task<void> last = CreateTask(file.Write("last"));
    co_await Held();
    write.Cancel();
    in_line.Cancel();
    co_await Turns(20);
    EXPECT_FALSE(write.Done());
    EXPECT_TRUE(in_line.Done());
    LetGo();
    EXPECT_EQ(co_await ErrorOf(write), "cancelled");
    EXPECT_EQ(co_await ErrorOf(in_line), "cancelled");
    co_await last;
    EXPECT_EQ(file.Tell(), 1004u);
    EXPECT_EQ(ContentOf(path), data + "last");
    EXPECT_GT(g_inside, 5);  // it was short several times
  });
}

TEST_F(FileThreadTest, ACancelledOpenLeavesNothingOpen) {
  RunNet([&]() -> Co<void> {
    Task<File> open = CreateTask(OpenFile(folder_.Make("file", "0123")));
    co_await Held();
    open.Cancel();
    co_await Turns(20);
    EXPECT_FALSE(open.Done());
    LetGo();
    EXPECT_EQ(co_await ErrorOf(open), "cancelled");
  });
}

TEST_F(FileThreadTest, ACancelledCloseClosesOnceTheOthersAreDone) {
  RunNet([&]() -> Co<void> {
    const File file = Open(folder_.Make("file", "0123"), O_RDONLY);
    const int fd = file.Descriptor();
    Task<std::string> read = CreateTask(file.Read(2));
    Task<void> close = CreateTask(file.Close());
    co_await Held();
    close.Cancel();
    EXPECT_EQ(co_await ErrorOf(close), "cancelled");
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
    EXPECT_THROW(static_cast<void>(file.Read(1)), InvalidStateError);
    LetGo();
    EXPECT_EQ(co_await read, "01");
    EXPECT_EQ(file.Descriptor(), -1);
    EXPECT_EQ(::fcntl(fd, F_GETFD), -1);
  });
}

TEST_F(FileThreadTest, ALoopThatEndsWaitsForItsThreads) {
  const std::string path = folder_.Make("file", "");
  const std::string data = Pattern(1000);
  {
    Runner runner;
    Task<void> write;
    runner.Run([&]() -> Co<void> {
      const File file = Open(path, O_WRONLY);
      write = CreateTask(file.Write(data));
      CreateTask(file.Write("never begun"));
      co_await Held();
    });
    LetGo();
  }
  const std::string written = ContentOf(path);
  EXPECT_TRUE(written == data) << written.size();
}

// ---- what the system says

int g_error = 0;
int g_calls = 0;
int g_error_at = 0;
size_t g_most = 0;

// Calls g_error_at and after it fail; others move at most g_most bytes.
template <class F>
ssize_t Limited(size_t size, F call) {
  if (++g_calls >= g_error_at && g_error != 0) {
    errno = g_error;
    if (g_error == EINTR) g_error = 0;
    return -1;
  }
  return call(g_most != 0 && size > g_most ? g_most : size);
}

class FileFaultTest : public coil_testing::NetTest {
 protected:
  FileFaultTest() { Set(0); }
  static void Set(int error, int at = 1, size_t most = 0) {
    g_error = error;
    g_error_at = at;
    g_most = most;
    g_calls = 0;
  }
  FileFolder folder_;
  OnThreads on_threads_;
};

class FileCallsTest : public FileFaultTest {
 protected:
  FileCallsTest() {
    shim_.table().pread = [](int fd, void* out, size_t size, off_t offset) {
      return Limited(size, [=](size_t n) {
        return kRealSocketCalls.pread(fd, out, n, offset);
      });
    };
    shim_.table().pwrite = [](int fd, const void* data, size_t size,
                              off_t offset) {
      return Limited(size, [=](size_t n) {
        return kRealSocketCalls.pwrite(fd, data, n, offset);
      });
    };
    shim_.table().fsync = [](int fd) {
      return static_cast<int>(
          Limited(0, [=](size_t) { return kRealSocketCalls.fsync(fd); }));
    };
  }
  SocketShim shim_;
};

TEST_F(FileCallsTest, ShortCallsAreContinued) {
  RunNet([&]() -> Co<void> {
    Set(0, 1, 7);
    const std::string path = folder_.Path("file");
    const std::string data = Pattern(1000);
    co_await WriteFile(path, data);
    EXPECT_EQ(ContentOf(path), data);
    EXPECT_EQ(g_calls, 143);
    EXPECT_EQ(co_await ReadFile(path), data);
  });
}

TEST_F(FileCallsTest, WhoIsInterruptedTriesAgain) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    Set(EINTR, 3, 300);
    co_await WriteFile(path, Pattern(1000));
    Set(EINTR, 2, 300);
    EXPECT_EQ(co_await ReadFile(path), Pattern(1000));
    const File file = co_await OpenFile(path, "r+");
    Set(EINTR);
    co_await file.Sync();
    EXPECT_EQ(g_calls, 2);
  });
}

TEST_F(FileCallsTest, AFullDiskTakesAPartAndThePositionSaysWhich) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w");
    Set(ENOSPC, 4, 100);
    EXPECT_EQ(co_await ErrorOf(file.Write(Pattern(1000))),
              "write to " + path + ": No space left on device");
    EXPECT_EQ(file.Tell(), 300u);
    Set(0);
    co_await file.Write("on");
    EXPECT_EQ(ContentOf(path), Pattern(300) + "on");
    Set(EIO);
    EXPECT_EQ(co_await ErrorOf(file.Sync()),
              "fsync " + path + ": Input/output error");
  });
}

TEST_F(FileCallsTest, AReadThatFailsHasConsumedNothing) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", Pattern(200000));
    const File file = co_await OpenFile(path);
    for (int at = 1; at < 4; ++at) {
      Set(EIO, at, 50000);
      EXPECT_EQ(co_await ErrorOf(file.ReadAll()),
                "read from " + path + ": Input/output error");
      EXPECT_EQ(file.Tell(), 0u);
    }
    Set(0);
    EXPECT_EQ(co_await file.ReadAll(), Pattern(200000));
  });
}

TEST_F(FileFaultTest, AWriteThatTakesNothingIsAnError) {
  RunNet([&]() -> Co<void> {
    SocketShim shim;
    shim.table().pwrite = [](int, const void*, size_t, off_t) -> ssize_t {
      return 0;
    };
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w");
    EXPECT_EQ(co_await ErrorOf(file.Write("0123")),
              "write to " + path + ": Input/output error");
  });
}

TEST_F(FileFaultTest, WhatCloseSaysIsTold) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w");
    {
      SystemShim shim;
      shim.table().close = [](int fd) {
        coil::internal::kRealSyscalls.close(fd);
        errno = EIO;
        return -1;
      };
      EXPECT_EQ(co_await ErrorOf(file.Close()),
                "close " + path + ": Input/output error");
    }
    EXPECT_EQ(file.Descriptor(), -1);
    co_await file.Close();
  });
}

// ---- a ring that is played: repeatable, so that all can be swept

// Whether some of them have to be done by a thread, after all.
bool g_gives_to_threads = true;

// Does one operation in each Poll(), and a part of it only.
class PlayedRing final : public Poller, private FileRing {
 public:
  void Add(Watch& watch, int fd, IoEvents interest, Trigger trigger) override {
    real_.Add(watch, fd, interest, trigger);
  }
  void Modify(Watch& watch, IoEvents interest, Trigger trigger) override {
    real_.Modify(watch, interest, trigger);
  }
  void Remove(Watch& watch) noexcept override { real_.Remove(watch); }
  int Poll(absl::Duration timeout) override {
    if (begun_.empty()) return real_.Poll(timeout);
    real_.Poll(absl::ZeroDuration());
    Operation& operation = begun_.Pop();
    CountOperations(-1);
    const int32_t result = Perform(operation);
    operation.OnDone(result);
    return 1;
  }
  const char* Name() const noexcept override { return "played"; }
  FileRing* Files() noexcept override { return this; }

 private:
  bool Begin(Operation& operation) noexcept override {
    CountOperations(1);
    begun_.Push(operation);
    return true;
  }
  void AskToStop(Operation& operation) noexcept override {
    stopped_ = &operation;
  }
  int32_t Abort(Operation& operation, bool ask) noexcept override {
    begun_.Remove(operation);
    CountOperations(-1);
    return ask ? -ECANCELED : Perform(operation);
  }
  void FinishAll() noexcept override {
    while (!begun_.empty()) Poll(absl::ZeroDuration());
  }
  int32_t Perform(Operation& operation) noexcept {
    if (std::exchange(stopped_, nullptr) == &operation) return -ECANCELED;
    if (++turn_ % 5 == 0) {
      // A close that is interrupted has closed all the same.
      if (operation.kind == Kind::kClose) ::close(operation.fd);
      return -EINTR;
    }
    if (turn_ % 7 == 0 && g_gives_to_threads) return -EINVAL;
    const uint32_t size = operation.size > 1 ? operation.size / 2 : 1;
    auto* const bytes =
        const_cast<char*>(static_cast<const char*>(operation.address));
    ssize_t n = -1;
    switch (operation.kind) {
      case Kind::kOpen:
        n = ::open(bytes, operation.flags, operation.permissions);
        break;
      case Kind::kRead:
        n = ::pread(operation.fd, bytes, size, operation.offset);
        break;
      case Kind::kWrite:
        n = operation.offset == kPosition
                ? ::write(operation.fd, bytes, size)
                : ::pwrite(operation.fd, bytes, size, operation.offset);
        break;
      case Kind::kSync:
        n = ::fsync(operation.fd);
        break;
      case Kind::kSyncData:
        n = ::fdatasync(operation.fd);
        break;
      case Kind::kClose:
        n = ::close(operation.fd);
        break;
    }
    return n < 0 ? -errno : static_cast<int32_t>(n);
  }

  EpollPoller real_;
  Row begun_;
  Operation* stopped_ = nullptr;
  int turn_ = 0;
};

// Loops of a scope have it. What a thread does meanwhile is repeatable as long
// as nothing else goes on: virtual time stands still.
class OnPlayedRing {
 public:
  OnPlayedRing()
      : previous_(coil::internal::g_poller_factory.exchange(
            +[]() -> std::unique_ptr<Poller> {
              return std::make_unique<PlayedRing>();
            })) {}
  OnPlayedRing(const OnPlayedRing&) = delete;
  OnPlayedRing& operator=(const OnPlayedRing&) = delete;
  ~OnPlayedRing() { coil::internal::g_poller_factory.store(previous_); }

 private:
  coil::internal::PollerFactory previous_;
};

constexpr std::string_view kFirst = "0123456789abcdef";
constexpr std::string_view kSecond = "ABCDEFGH";

// The position is always behind what is in the file.
Co<void> WriteTwice(File file) {
  co_await file.Write(kFirst);
  co_await file.Write(kSecond);
}

Co<void> ReadInPieces(File file, std::string& all) {
  for (;;) {
    const uint64_t before = file.Tell();
    EXPECT_EQ(before, all.size());
    const std::string part = co_await file.Read(5);
    if (part.empty()) co_return;
    all += part;
  }
}

// Whole writes, in their order.
void ExpectWhole(const std::string& content) {
  std::vector<std::string> good = {""};
  const std::string first(kFirst);
  const std::string second(kSecond);
  good.insert(good.end(), {first, first + second, second});
  EXPECT_NE(std::find(good.begin(), good.end(), content), good.end())
      << content;
}

Co<void> WriteAndRead(SweepRun& run, const std::string& path) {
  ::unlink(path.c_str());
  run.AtEnd([path] { ExpectWhole(ContentOf(path)); });
  const File file = co_await OpenFile(path, "w+");
  struct Check {
    const File& file;
    const std::string& path;
    ~Check() {
      if (file.IsOpen()) {
        EXPECT_EQ(file.Tell(), ContentOf(path).size());
      }
    }
  };
  {
    const Check check{file, path};
    co_await WriteTwice(file);
  }
  co_await file.Sync();
  const File reader = co_await OpenFile(path);
  std::string all;
  co_await ReadInPieces(reader, all);
  EXPECT_EQ(all, std::string(kFirst) + std::string(kSecond));
  EXPECT_EQ(co_await reader.ReadAt(3, 4), "3456");
  co_await file.Close();
}

class FileSweepTest : public testing::Test {
 protected:
  auto Scenario() {
    return [path = folder_.Path("file")](SweepRun& run) {
      return WriteAndRead(run, path);
    };
  }
  FileFolder folder_;
  OnPlayedRing on_played_ring_;
};

TEST_F(FileSweepTest, NothingIsTornWhereverItIsCancelled) {
  for (const bool threads : {false, true}) {
    g_gives_to_threads = threads;
    const SweepResult result =
        ForEachCancellationPoint(Scenario(), SweepOptions().SecondCancel());
    EXPECT_GT(result.points, 20u);
    EXPECT_GT(result.cancelled, 20u);
  }
}

TEST_F(FileSweepTest, NothingIsTornWhereverTheLoopEnds) {
  // The end of a pool runs the loop once more, and would begin with others.
  g_gives_to_threads = false;
  const SweepResult result = ForEachDestructionPoint(Scenario());
  EXPECT_GT(result.points, 10u);
}

// Several tasks on one file.
TEST_F(FileSweepTest, TheLineGoesOnWhoeverIsCancelled) {
  g_gives_to_threads = false;
  const std::string path = folder_.Path("file");
  const SweepResult result = ForEachCancellationPoint(
      [&](SweepRun& run) -> Co<void> {
        ::unlink(path.c_str());
        run.AtEnd([&] { EXPECT_EQ(ContentOf(path).size() % 10, 0u); });
        const File file = co_await OpenFile(path, "a");
        co_await Gather(file.Write("0123456789"), file.Write("abcdefghij"),
                        file.ReadAt(0, 0), file.Write("ABCDEFGHIJ"));
        EXPECT_EQ(file.Tell(), 30u);
        const std::string content = ContentOf(path);
        EXPECT_EQ(content.size(), 30u);
        for (size_t i = 0; i < 30; i += 10) {
          const std::string part = content.substr(i, 10);
          EXPECT_TRUE(part == "0123456789" || part == "abcdefghij" ||
                      part == "ABCDEFGHIJ")
              << content;
        }
        co_await file.Close();
      },
      SweepOptions().Seeds(3));
  EXPECT_GT(result.points, 20u);
}

}  // namespace
}  // namespace coil::net
