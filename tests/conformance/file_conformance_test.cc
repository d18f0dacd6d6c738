// Files over all pollers, and the failures of the ring that does them.

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/internal/file_ring.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/io_uring_poller.h"
#include "coil/net/file.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/conformance/pollers.h"
#include "tests/net/file_testing.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil::internal::UringCqe;
using coil::internal::UringParams;
using coil::internal::UringSqe;
using coil_testing::ContentOf;
using coil_testing::ErrorOf;
using coil_testing::FileFolder;
using coil_testing::Pattern;
using coil_testing::PollerKind;
using coil_testing::RunNet;
using coil_testing::ScopedPollerKind;
using coil_testing::Turns;

class FilePollerTest : public coil_testing::NetTest,
                       public testing::WithParamInterface<const PollerKind*> {
 protected:
  FileFolder folder_;
  ScopedPollerKind kind_{*GetParam()};
};

TEST_P(FilePollerTest, ManyFilesAtOnce) {
  RunNet([&]() -> Co<void> {
    std::vector<Task<void>> tasks;
    auto copy = [&](int i) -> Co<void> {
      const std::string name = folder_.Path(std::to_string(i));
      const std::string data = Pattern(static_cast<size_t>(i) * 300);
      co_await WriteFile(name, data);
      const std::string read = co_await ReadFile(name);
      EXPECT_TRUE(read == data) << i;
    };
    for (int i = 0; i < 300; ++i) tasks.push_back(CreateTask(copy(i)));
    for (Task<void>& task : tasks) co_await task;
  });
}

TEST_P(FilePollerTest, TheKernelsOwnErrors) {
  RunNet([&]() -> Co<void> {
    const File full = co_await OpenFile("/dev/full", "w");
    EXPECT_EQ(co_await ErrorOf(full.Write("0123")),
              "write to /dev/full: No space left on device");
    EXPECT_EQ(full.Tell(), 0u);
    const File memory = co_await OpenFile("/proc/self/mem");
    EXPECT_EQ(co_await ErrorOf(memory.Read(4)),
              "read from /proc/self/mem: Input/output error");
    EXPECT_EQ(co_await ErrorOf(OpenFile("/nowhere/at/all")),
              "open /nowhere/at/all: No such file or directory");
  });
}

TEST_P(FilePollerTest, OthersGoOnMeanwhile) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const std::string data = Pattern(9'000'000);
    Task<void> write = CreateTask(WriteFile(path, data));
    // Always something ready, and no descriptor that is watched.
    int turns = 0;
    while (!write.Done()) {
      co_await Yield();
      ++turns;
    }
    EXPECT_GT(turns, 2);
    EXPECT_TRUE(ContentOf(path) == data);
  });
}

TEST_P(FilePollerTest, CancelledAtAnyTimeItIsNeitherTornNorLost) {
  const std::string data = Pattern(300'000);
  for (int turns = 0; turns < 24; ++turns) {
    RunNet([&]() -> Co<void> {
      const std::string path = folder_.Path("file");
      const File file = co_await OpenFile(path, "w+");
      Task<void> write = CreateTask(file.Write(data));
      co_await Turns(turns);
      write.Cancel();
      const std::string how = co_await ErrorOf(write);
      const std::string written = ContentOf(path);
      EXPECT_TRUE(written.empty() || written == data) << written.size();
      EXPECT_TRUE(how == "cancelled" || written == data) << how;
      EXPECT_EQ(file.Tell(), written.size());

      co_await file.Seek(0);
      Task<std::string> read = CreateTask(file.ReadAll());
      co_await Turns(turns);
      read.Cancel();
      if (co_await ErrorOf(read) == "cancelled") {
        EXPECT_EQ(file.Tell(), 0u);
      } else {
        EXPECT_EQ(file.Tell(), written.size());
      }
      EXPECT_EQ((co_await file.ReadAt(0, data.size())).size(), written.size());
      Task<void> close = CreateTask(file.Close());
      co_await Turns(1 + turns % 5);  // it has begun
      close.Cancel();
      co_await ErrorOf(close);
      EXPECT_EQ(file.Descriptor(), -1);
    });
  }
}

TEST_P(FilePollerTest, ALoopMayEndAtAnyTime) {
  const std::string data = Pattern(300'000);
  const std::string path = folder_.Path("file");
  for (int turns = 0; turns < 12; ++turns) {
    ::unlink(path.c_str());
    {
      Runner runner;
      runner.Run([&]() -> Co<void> {
        const File file = co_await OpenFile(path, "w+");
        CreateTask(file.Write(data));
        CreateTask(file.ReadAt(0, 100'000));
        CreateTask(ReadFile("/proc/self/stat"));
        co_await Turns(turns);
      });
    }
    const std::string written = ContentOf(path);
    EXPECT_TRUE(written.empty() || written == data) << written.size();
  }
}

// Run() may stop, and the loop go on in another thread, in the midst of it.
TEST_P(FilePollerTest, ALoopMayGoOnInAnotherThread) {
  const std::string data = Pattern(300'000);
  const std::string path = folder_.Path("file");
  Runner runner;
  EventLoop& loop = runner.Loop();
  bool written = false;
  auto write = [&]() -> Co<void> {
    for (int i = 0; i < 20; ++i) co_await WriteFile(path, data);
    written = true;
  };
  std::shared_ptr<Task<void>> task;
  loop.CallSoon([&] {
    task = std::make_shared<Task<void>>(CreateTask(write()));
    loop.CallSoon([&] { loop.Stop(); });
  });
  loop.RunForever();
  for (int round = 0; round < 10; ++round) {
    std::thread([&] {
      loop.CallSoon([&] { loop.CallSoon([&] { loop.Stop(); }); });
      loop.RunForever();
    }).join();
  }
  std::thread([&] {
    task->AddDoneCallback([&](const auto&) { loop.Stop(); });
    if (!task->Done()) loop.RunForever();
  }).join();
  EXPECT_TRUE(written);
  EXPECT_TRUE(ContentOf(path) == data);
  task.reset();
}

std::string NameOfKind(const testing::TestParamInfo<const PollerKind*>& info) {
  return info.param->name;
}

INSTANTIATE_TEST_SUITE_P(Pollers, FilePollerTest,
                         testing::ValuesIn(coil_testing::Available(
                             {&coil_testing::kEpoll, &coil_testing::kIoUring,
                              &coil_testing::kIoUringUndeferred,
                              &coil_testing::kIoUringPlain,
                              &coil_testing::kIoUringTiny})),
                         NameOfKind);

// ---- a ring that does not do what it is told

struct RingFaults {
  uint32_t most = 0;     // bytes of one operation
  uint8_t unknown = 0;   // a kind that the kernel does not know
  int error = 0;         // what it says instead
  int only = 0;          // of so many only; 0: of all
  int refuse_enter = 0;  // so many calls fail with EAGAIN
  int refuse_setup = 0;  // errno of the ring of files
};
RingFaults g_faults;
struct Mapping {
  char* memory = nullptr;
  size_t size = 0;
};
std::map<int, Mapping> g_sqes;
std::map<int, Mapping> g_rings;
std::map<int, UringParams> g_params;

constexpr uint8_t kNoSuchKind = 200;

class RingFaultTest : public coil_testing::NetTest {
 protected:
  using Table = coil::internal::IoUringTable;
  static inline const Table& kReal = coil::internal::kRealIoUringCalls;

  RingFaultTest() : table_(MakeTable()), scope_(&table_) {
    g_faults = {};
    coil::internal::g_poller_factory.store(+[]() -> std::unique_ptr<Poller> {
      return coil::MakeIoUringPollerOrEpoll();
    });
  }
  ~RingFaultTest() override {
    coil::internal::g_poller_factory.store(previous_);
  }

  static bool IsOfFiles(const UringParams& params) {
    return (params.flags & coil::internal::kUringSingleIssuer) == 0;
  }

  static Table MakeTable() {
    Table table = kReal;
    table.setup = [](unsigned entries, UringParams* params) {
      if (g_faults.refuse_setup != 0 && IsOfFiles(*params)) {
        errno = g_faults.refuse_setup;
        return -1;
      }
      const int ring = kReal.setup(entries, params);
      if (ring >= 0) g_params[ring] = *params;
      return ring;
    };
    table.map = [](size_t size, int ring, off_t offset) {
      void* const memory = kReal.map(size, ring, offset);
      auto& of = offset == coil::internal::kUringOffsetSqes ? g_sqes : g_rings;
      of[ring] = {static_cast<char*>(memory), size};
      return memory;
    };
    table.enter = [](int ring, unsigned submit, unsigned wait_for,
                     unsigned flags, const void* argument, size_t size) {
      if (!IsOfFiles(g_params[ring])) {
        return kReal.enter(ring, submit, wait_for, flags, argument, size);
      }
      if (g_faults.refuse_enter > 0 && submit > 0) {
        --g_faults.refuse_enter;
        errno = EAGAIN;
        return -1;
      }
      Spoil(ring);
      const int result =
          kReal.enter(ring, submit, wait_for, flags, argument, size);
      Lie(ring);
      return result;
    };
    return table;
  }

  // Changes what is handed over, and perhaps was before.
  static void Spoil(int ring) {
    auto* const sqes = reinterpret_cast<UringSqe*>(g_sqes[ring].memory);
    const size_t count = g_sqes[ring].size / sizeof(UringSqe);
    for (size_t i = 0; i < count; ++i) {
      UringSqe& sqe = sqes[i];
      const bool moves = sqe.opcode == coil::internal::kUringRead ||
                         sqe.opcode == coil::internal::kUringWrite;
      if (moves && g_faults.most != 0 && sqe.length > g_faults.most) {
        sqe.length = g_faults.most;
      }
      if (sqe.opcode == g_faults.unknown && g_faults.unknown != 0) {
        sqe.opcode = kNoSuchKind;
        if (g_faults.only != 0 && --g_faults.only == 0) g_faults.unknown = 0;
      }
    }
  }
  // What the kernel says of a kind that it does not know becomes the error.
  static void Lie(int ring) {
    if (g_faults.error == 0) return;
    const UringParams& params = g_params[ring];
    char* const memory = g_rings[ring].memory;
    auto* const cqes = reinterpret_cast<UringCqe*>(memory + params.cq.cqes);
    for (uint32_t i = 0; i < params.cq_entries; ++i) {
      if (cqes[i].result == -EINVAL) cqes[i].result = -g_faults.error;
    }
  }

  FileFolder folder_;
  Table table_;
  coil::internal::ScopedIoUringCalls scope_;
  coil::internal::PollerFactory previous_ =
      coil::internal::g_poller_factory.load();
};

TEST_F(RingFaultTest, ShortOperationsAreContinued) {
  g_faults.most = 1000;
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    co_await WriteFile(path, Pattern(20'500));
    EXPECT_EQ(ContentOf(path), Pattern(20'500));
    EXPECT_EQ(co_await ReadFile(path), Pattern(20'500));
  });
}

TEST_F(RingFaultTest, WhatTheRingDoesNotKnowIsDoneByAThread) {
  for (const uint8_t kind :
       {coil::internal::kUringRead, coil::internal::kUringWrite,
        coil::internal::kUringOpenAt, coil::internal::kUringClose,
        coil::internal::kUringFsync}) {
    for (const int error : {EINVAL, EAGAIN, EOPNOTSUPP, ECANCELED}) {
      g_faults = {};
      g_faults.unknown = kind;
      g_faults.error = error;
      RunNet([&]() -> Co<void> {
        const std::string path = folder_.Path("file");
        const File file = co_await OpenFile(path, "w+");
        co_await file.Write("0123456789");
        co_await file.Sync();
        co_await file.Seek(4);
        EXPECT_EQ(co_await file.ReadAll(), "456789");
        co_await file.Close();
        EXPECT_EQ(ContentOf(path), "0123456789");
      });
    }
  }
}

TEST_F(RingFaultTest, WhoIsInterruptedTriesAgain) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w+");
    g_faults = {};
    g_faults.most = 4;
    g_faults.unknown = coil::internal::kUringWrite;
    g_faults.error = EINTR;
    g_faults.only = 2;
    co_await file.Write("0123456789");
    EXPECT_EQ(ContentOf(path), "0123456789");
    EXPECT_EQ(g_faults.unknown, 0);
  });
}

TEST_F(RingFaultTest, ErrorsAreToldAndThePositionIsExact) {
  if (!IoUringPoller::Available()) return;
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w+");
    co_await file.Write("0123");
    g_faults.unknown = coil::internal::kUringWrite;
    g_faults.error = ENOSPC;
    EXPECT_EQ(co_await ErrorOf(file.Write("4567")),
              "write to " + path + ": No space left on device");
    EXPECT_EQ(file.Tell(), 4u);
    co_await file.Seek(1);
    g_faults.unknown = coil::internal::kUringRead;
    g_faults.error = EIO;
    EXPECT_EQ(co_await ErrorOf(file.Read(2)),
              "read from " + path + ": Input/output error");
    EXPECT_EQ(file.Tell(), 1u);
    g_faults.unknown = coil::internal::kUringFsync;
    EXPECT_EQ(co_await ErrorOf(file.Sync()),
              "fsync " + path + ": Input/output error");
  });
}

TEST_F(RingFaultTest, AKernelWithoutMemoryIsAskedAgain) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    g_faults.refuse_enter = 5;
    co_await WriteFile(path, Pattern(5'000));
    EXPECT_EQ(ContentOf(path), Pattern(5'000));
  });
}

TEST_F(RingFaultTest, WithoutASecondRingThreadsDoIt) {
  for (const int error : {EMFILE, ENOMEM, EPERM}) {
    g_faults.refuse_setup = error;
    RunNet([&]() -> Co<void> {
      const std::string path = folder_.Path("file");
      co_await WriteFile(path, Pattern(5'000));
      EXPECT_EQ(co_await ReadFile(path), Pattern(5'000));
    });
  }
}

// ---- the ring by itself

class Operation final : public coil::internal::FileRing::Operation {
 public:
  void OnDone(int32_t result) noexcept override { results.push_back(result); }
  std::vector<int32_t> results;
};

class FileRingTest : public coil_testing::NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    data_ = Pattern(100'000);
    path_ = folder_.Make("file", data_);
    fd_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
    poller_ = coil::MakeIoUringPollerOrEpoll();
    ring_ = poller_->Files();  // null on epoll
  }
  void TearDown() override {
    poller_.reset();
    ::close(fd_);
    NetTest::TearDown();
  }
  void Fill(Operation& read, std::string& out) const {
    read.fd = fd_;
    read.address = out.data();
    read.size = static_cast<uint32_t>(out.size());
    read.aside = true;
  }

  FileFolder folder_;
  std::string data_;
  std::string path_;
  int fd_ = -1;
  std::unique_ptr<Poller> poller_;
  coil::internal::FileRing* ring_ = nullptr;
};

TEST_F(FileRingTest, AnOperationIsToldOfByPoll) {
  if (ring_ == nullptr) return;
  std::string out(data_.size(), 'x');
  Operation read;
  Fill(read, out);
  ASSERT_TRUE(ring_->Begin(read));
  EXPECT_EQ(poller_->WatchCount(), 1);
  while (read.results.empty()) poller_->Poll(absl::InfiniteDuration());
  EXPECT_EQ(read.results, std::vector<int32_t>{100'000});
  EXPECT_TRUE(out == data_);
  EXPECT_EQ(poller_->WatchCount(), 0);
}

TEST_F(FileRingTest, AbortWaitsAndTellsNobodyElse) {
  if (ring_ == nullptr) return;
  for (const bool ask : {false, true}) {
    for (const bool polled : {false, true}) {
      std::string out(data_.size(), 'x');
      Operation read;
      Fill(read, out);
      ASSERT_TRUE(ring_->Begin(read));
      if (polled) poller_->Poll(absl::ZeroDuration());
      if (!read.results.empty()) continue;
      const int32_t result = ring_->Abort(read, ask);
      EXPECT_TRUE(result == 100'000 || (ask && result == -ECANCELED)) << result;
      if (result > 0) {
        EXPECT_TRUE(out == data_);
      }
      poller_->Poll(absl::ZeroDuration());
      EXPECT_TRUE(read.results.empty());
      EXPECT_EQ(poller_->WatchCount(), 0);
    }
  }
}

// More than fit into the ring: those that wait can be asked to stop, too.
TEST_F(FileRingTest, MoreThanTheKernelTakesWaitInLine) {
  if (ring_ == nullptr) return;
  constexpr size_t kCount = 1000;
  std::vector<std::string> outs(kCount, std::string(1000, 'x'));
  std::vector<std::unique_ptr<Operation>> reads;
  for (size_t i = 0; i < kCount; ++i) {
    reads.push_back(std::make_unique<Operation>());
    Fill(*reads[i], outs[i]);
    reads[i]->offset = static_cast<int64_t>(i) * 100;
    ASSERT_TRUE(ring_->Begin(*reads[i]));
  }
  for (size_t i = 0; i < kCount; i += 3) ring_->AskToStop(*reads[i]);
  const int32_t aborted = ring_->Abort(*reads[kCount - 1], false);
  EXPECT_TRUE(aborted == 100 || aborted == -ECANCELED) << aborted;
  ring_->FinishAll();
  for (size_t i = 0; i + 1 < kCount; ++i) {
    ASSERT_EQ(reads[i]->results.size(), 1u) << i;
    const int32_t result = reads[i]->results[0];
    if (result == -ECANCELED) {
      EXPECT_EQ(i % 3, 0u);
      continue;
    }
    EXPECT_EQ(result,
              i <= 990 ? 1000 : static_cast<int32_t>(100'000 - i * 100));
    EXPECT_EQ(outs[i].substr(0, static_cast<size_t>(result)),
              data_.substr(i * 100, 1000));
  }
  EXPECT_EQ(poller_->WatchCount(), 0);
}

}  // namespace
}  // namespace coil::net
