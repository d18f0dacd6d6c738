#include "coil/net/sharded.h"

#include <exception>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "coil/sync/event.h"
#include "coil/task/errors.h"
#include "coil/task/task_group.h"
#include "coil/task/thread_future.h"
#include "coil/task/to_thread.h"

namespace coil::net {
namespace {

constexpr int kMostShards = 1024;

// A thread with a loop that runs until it is told to stop.
class Worker {
 public:
  // Returns when the loop runs. Throws what keeps it from that.
  explicit Worker(const RunOptions& options)
      : thread_([this, options] { Main(options); }) {
    started_.WaitForNotification();
    if (error_ == nullptr) return;
    thread_.join();
    std::rethrow_exception(error_);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    Stop();
    Join();
  }

  EventLoop& loop() const { return *loop_; }
  void Stop() {
    if (std::exchange(stopping_, true)) return;
    try {
      loop_->CallSoonThreadSafe([this] { stop_.Set(); });
    } catch (const std::runtime_error&) {
      // It has ended by itself: somebody stopped it, or Ctrl-C left it.
    }
  }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  // After Join(): why the loop has ended, if not by Stop().
  const std::exception_ptr& error() const { return error_; }

 private:
  void Main(RunOptions options) noexcept {
    options.on_interrupt = InterruptPolicy::kLeaveAlone;
    try {
      runner_.emplace(options);
      runner_->Run([this]() -> Co<void> {
        loop_ = &EventLoop::Current();
        started_.Notify();
        co_await stop_.Wait();
      });
    } catch (...) {
      error_ = std::current_exception();
    }
    try {
      if (runner_.has_value()) runner_->Close();
    } catch (...) {
      if (error_ == nullptr) error_ = std::current_exception();
    }
    if (!started_.HasBeenNotified()) started_.Notify();
  }

  absl::Notification started_;
  EventLoop* loop_ = nullptr;
  // Not in the loop's first coroutine: that is gone when the loop has ended by
  // itself, and Stop() may have its post under way to it then.
  Event stop_;
  bool stopping_ = false;
  std::exception_ptr error_;
  std::optional<Runner> runner_;  // as long as others may post to its loop
  std::thread thread_;            // last: it uses the others
};

Co<void> RunShard(const ShardFactory& factory, Shard shard) {
  co_await factory(shard);
}

// Runs it on its own loop, and ends when it has ended there, also if this task
// is cancelled meanwhile.
Co<void> AwaitShard(const ShardFactory& factory, Shard shard) {
  const ThreadFuture<void> future = RunCoroutineThreadSafe(
      RunShard(factory, shard), shard.Loop(shard.Index()));
  std::exception_ptr cancelled;
  while (!future.Done()) {
    try {
      co_await future;
    } catch (const CancelledError&) {
      cancelled = std::current_exception();
    }
  }
  if (cancelled != nullptr) std::rethrow_exception(cancelled);
  co_await future;
}

Co<void> RunAll(const ShardFactory& factory, int shards,
                const RunOptions& options) {
  std::vector<std::unique_ptr<Worker>> workers;
  std::vector<EventLoop*> loops = {&EventLoop::Current()};
  for (int i = 1; i < shards; ++i) {
    workers.push_back(std::make_unique<Worker>(options));
    loops.push_back(&workers.back()->loop());
  }
  const auto shared =
      std::make_shared<const std::vector<EventLoop*>>(std::move(loops));
  auto body = [&](TaskGroup& group) -> Co<void> {
    group.CreateTask(RunShard(factory, Shard(0, shared)), {.name = "shard 0"});
    for (int i = 1; i < shards; ++i) {
      group.CreateTask(AwaitShard(factory, Shard(i, shared)),
                       {.name = absl::StrCat("shard ", i)});
    }
    co_return;
  };
  std::exception_ptr error;
  try {
    co_await WithTaskGroup(body);
  } catch (...) {
    error = std::current_exception();
  }
  // What the shards have left behind may need this loop until it is gone.
  for (const auto& worker : workers) worker->Stop();
  auto join = [&workers] {
    for (const auto& worker : workers) worker->Join();
  };
  if (!workers.empty()) co_await ToThread(join);
  for (const auto& worker : workers) {
    if (error == nullptr) error = worker->error();
  }
  if (error != nullptr) std::rethrow_exception(error);
}

}  // namespace

EventLoop& Shard::Loop(int index) const {
  if (index < 0 || index >= Count()) {
    throw std::out_of_range(absl::StrCat("Shard::Loop: there is no shard ",
                                         index, " of ", Count(),
                                         "; they are counted from 0"));
  }
  return *(*loops_)[static_cast<size_t>(index)];
}

void RunSharded(int shards, ShardFactory factory, RunOptions options) {
  if (shards < 1 || shards > kMostShards) {
    throw std::invalid_argument(
        absl::StrCat("RunSharded: the number of shards is from 1 to ",
                     kMostShards, ", not ", shards));
  }
  if (shards > 1 && options.simulation != nullptr) {
    throw std::invalid_argument(
        "RunSharded: a simulation has one shard: threads are not repeatable");
  }
  auto main = [&]() -> Co<void> { return RunAll(factory, shards, options); };
  Run(main, options);
}

}  // namespace coil::net
