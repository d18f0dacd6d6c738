#include "tests/sync/workload.h"

#include <algorithm>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/random.h"
#include "coil/loop/simulation.h"
#include "coil/sync/sync.h"
#include "coil/task/co.h"
#include "coil/task/errors.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"

namespace coil::sync_testing {
namespace {

constexpr int kPermits = 3;
constexpr int kCapacity = 4;
constexpr int kChecks = 12;

// Counts while it lives.
class Count {
 public:
  explicit Count(int& n) : n_(n) { ++n_; }
  Count(const Count&) = delete;
  Count& operator=(const Count&) = delete;
  ~Count() { --n_; }

 private:
  int& n_;
};

// How many wait for what, and where the things are.
struct Flow {
  int putting = 0;
  int getting = 0;
  int64_t put = 0;
  int64_t got = 0;
  int64_t put_sum = 0;
  int64_t got_sum = 0;
};

class World {
 public:
  explicit World(const WorkloadOptions& options)
      : options_(options), random_(options.seed) {
    for (uint32_t bit = 1; bit < kAllOperations + 1; bit <<= 1) {
      if ((options.operations & bit) != 0) kinds_.push_back(bit);
    }
  }

  Co<void> Main();
  WorkloadResult& result() { return result_; }

 private:
  // ---- helpers
  int Below(int n) { return static_cast<int>(random_.Below(n)); }
  bool Percent(int p) { return Below(100) < p; }
  void Trace(uint64_t what) {
    result_.trace_hash = (result_.trace_hash ^ what) * 0x100000001b3u;
  }
  void Check(bool ok, const char* rule) {
    if (ok) return;
    if (result_.violations.size() < 10) result_.violations.emplace_back(rule);
  }
  // Stays a while in the middle of something.
  Co<void> Linger() {
    switch (Below(4)) {
      case 0:
        break;
      case 1:
        co_await Yield();
        break;
      default:
        co_await Sleep(absl::Microseconds(1 + Below(5)));
    }
  }
  void CancelSomebody(int but) {
    const int victim = Below(static_cast<int>(workers_.size()));
    if (victim == but) return;
    if (workers_[victim].Cancel("injected")) Trace(1000 + victim);
  }

  // ---- the tasks
  Co<void> Worker(int id);
  Co<void> Operation(uint32_t kind);
  Co<void> UseLock();
  Co<void> UseRwLock();
  Co<void> UseSemaphore(Semaphore& semaphore, int& waiting, int& held);
  Co<void> UseEvent();
  Co<void> UseCondition();
  Co<void> UseBarrier();
  template <class Q>
  Co<void> UseQueue(Q& queue, Flow& flow);
  Co<void> UseChannel();
  Co<void> UseBroadcast();
  Co<void> UseLatch();

  // ---- the rules
  void CheckQuiescent();
  template <class Q>
  void CheckFlow(const Q& queue, const Flow& flow);
  void Drain();
  void CheckEnd();

  WorkloadOptions options_;
  internal::Random random_;
  WorkloadResult result_;
  std::vector<uint32_t> kinds_;
  std::vector<Task<void>> workers_;
  bool draining_ = false;

  Lock lock_;
  int lock_waiting_ = 0;
  int lock_held_ = 0;
  int64_t next_ticket_ = 0;
  int64_t last_ticket_ = -1;

  RwLock rw_lock_;
  int rw_waiting_ = 0;
  int readers_ = 0;
  int writers_ = 0;

  Semaphore semaphore_{kPermits};
  BoundedSemaphore bounded_{kPermits};
  int semaphore_waiting_ = 0;
  int semaphore_held_ = 0;
  int bounded_waiting_ = 0;
  int bounded_held_ = 0;

  Event event_;
  int event_waiting_ = 0;

  Condition condition_;
  int condition_waiting_ = 0;
  int64_t stock_ = 0;
  int64_t stocked_ = 0;
  int64_t taken_ = 0;

  Barrier barrier_{3};
  int barrier_waiting_ = 0;

  Queue<int> queue_{kCapacity};
  LifoQueue<int> lifo_{kCapacity};
  PriorityQueue<int> priority_{kCapacity};
  Flow queue_flow_;
  Flow lifo_flow_;
  Flow priority_flow_;

  Channel<std::unique_ptr<int>> channel_{kCapacity};
  Flow channel_flow_;

  Broadcast<int> broadcast_{kCapacity};
  int64_t sent_ = 0;

  Latch latch_{10};
  int latch_waiting_ = 0;
};

Co<void> World::UseLock() {
  const int64_t ticket = next_ticket_++;
  Lock::Guard guard;
  {
    Count waits(lock_waiting_);
    guard = co_await lock_.Acquire();
  }
  Count held(lock_held_);
  Check(lock_held_ == 1, "a lock has one holder");
  Check(ticket > last_ticket_, "a lock goes to those who asked in their order");
  last_ticket_ = ticket;
  co_await Linger();
  if (Percent(50)) guard.Release();
}

Co<void> World::UseRwLock() {
  if (Percent(60)) {
    RwLock::ReadGuard guard;
    {
      Count waits(rw_waiting_);
      guard = co_await rw_lock_.AcquireRead();
    }
    Count reads(readers_);
    Check(writers_ == 0, "nobody reads while somebody writes");
    co_await Linger();
  } else {
    RwLock::WriteGuard guard;
    {
      Count waits(rw_waiting_);
      guard = co_await rw_lock_.AcquireWrite();
    }
    Count writes(writers_);
    Check(writers_ == 1 && readers_ == 0, "a writer is alone");
    co_await Linger();
  }
}

Co<void> World::UseSemaphore(Semaphore& semaphore, int& waiting, int& held) {
  if (Percent(10)) {
    std::optional<Semaphore::Permit> permit = semaphore.TryAcquire();
    if (!permit.has_value()) co_return;
    Count holds(held);
    Check(held <= kPermits, "no more permits than there are");
    co_await Linger();
    co_return;
  }
  Semaphore::Permit permit;
  {
    Count waits(waiting);
    permit = co_await semaphore.Acquire();
  }
  Count holds(held);
  Check(held <= kPermits, "no more permits than there are");
  co_await Linger();
}

Co<void> World::UseEvent() {
  switch (Below(4)) {
    case 0:
      event_.Set();
      break;
    case 1:
      if (!draining_) event_.Clear();
      break;
    default: {
      Count waits(event_waiting_);
      co_await event_.Wait();
    }
  }
}

Co<void> World::UseCondition() {
  Lock::Guard guard = co_await condition_.Acquire();
  if (Percent(50)) {
    const int n = 1 + Below(2);
    stock_ += n;
    stocked_ += n;
    condition_.Notify(n);
    if (Percent(30)) co_await Linger();
  } else {
    std::exception_ptr error;
    try {
      while (stock_ == 0 && !draining_) {
        Count waits(condition_waiting_);
        co_await condition_.Wait(guard);
      }
    } catch (...) {
      error = std::current_exception();
    }
    Check(guard.Owns(), "Wait() returns or throws with the lock held");
    if (error != nullptr) std::rethrow_exception(error);
    if (stock_ == 0) co_return;
    --stock_;
    ++taken_;
  }
}

Co<void> World::UseBarrier() {
  if (Percent(5)) {
    barrier_.Reset();
    co_return;
  }
  Count waits(barrier_waiting_);
  bool broken = false;
  try {
    const int place = co_await barrier_.Wait();
    Check(place >= 0 && place < 3, "places are from 0 to parties - 1");
  } catch (const BrokenBarrierError&) {
    broken = true;
  }
  Trace(broken ? 17 : 18);
}

template <class Q>
Co<void> World::UseQueue(Q& queue, Flow& flow) {
  const int item = 1 + Below(100);
  try {
    if (Percent(50)) {
      Count waits(flow.putting);
      co_await queue.Put(item);
      ++flow.put;
      flow.put_sum += item;
    } else if (Percent(15)) {
      if (std::optional<int> got = queue.TryGet()) {
        ++flow.got;
        flow.got_sum += *got;
        queue.TaskDone();
      }
    } else {
      Count waits(flow.getting);
      const int got = co_await queue.Get();
      ++flow.got;
      flow.got_sum += got;
      queue.TaskDone();
    }
  } catch (const QueueShutDown&) {
    Check(draining_, "a queue is shut down once");
  }
}

Co<void> World::UseChannel() {
  const int value = 1 + Below(100);
  Flow& flow = channel_flow_;
  try {
    if (Percent(50)) {
      auto sent = std::make_unique<int>(value);
      bool ended = false;
      std::exception_ptr error;
      try {
        Count waits(flow.putting);
        co_await channel_.Send(std::move(sent));
        ended = true;
      } catch (...) {
        error = std::current_exception();
      }
      Check(ended == (sent == nullptr),
            "a Send() that was not accepted has left its argument alone");
      if (error != nullptr) std::rethrow_exception(error);
      ++flow.put;
      flow.put_sum += value;
    } else {
      Count waits(flow.getting);
      std::unique_ptr<int> got = co_await channel_.Receive();
      ++flow.got;
      flow.got_sum += *got;
    }
  } catch (const ChannelClosed&) {
    Check(draining_, "a channel is closed once");
  }
}

Co<void> World::UseBroadcast() {
  if (Percent(40)) {
    if (!broadcast_.Closed()) broadcast_.Send(static_cast<int>(sent_++));
    co_return;
  }
  Broadcast<int>::Subscriber subscriber = broadcast_.Subscribe();
  int64_t expected = sent_;
  for (int i = Below(4); i >= 0; --i) {
    int64_t skipped = 0;
    bool cancelled = false;
    std::optional<int> value;
    std::exception_ptr error;
    try {
      value = co_await subscriber.Next();
      if (!value.has_value()) co_return;
    } catch (const BroadcastLagged& e) {
      skipped = e.Skipped();
    } catch (const CancelledError&) {
      cancelled = true;
      error = std::current_exception();
    }
    if (cancelled && Percent(50)) std::rethrow_exception(error);
    if (cancelled) {
      while (CurrentTask().Uncancel() > 0) {
      }
    }
    expected += skipped;
    if (value.has_value()) {
      Check(*value == expected, "a subscriber sees every value in order");
      ++expected;
    }
    if (Percent(30)) co_await Linger();
  }
}

Co<void> World::UseLatch() {
  if (Percent(30) && latch_.Count() > 0) {
    latch_.CountDown();
    co_return;
  }
  Count waits(latch_waiting_);
  co_await latch_.Wait();
  Check(latch_.Count() == 0, "a latch opens at zero");
}

Co<void> World::Operation(uint32_t kind) {
  switch (kind) {
    case kLock:
      return UseLock();
    case kRwLock:
      return UseRwLock();
    case kSemaphore:
      return UseSemaphore(semaphore_, semaphore_waiting_, semaphore_held_);
    case kBoundedSemaphore:
      return UseSemaphore(bounded_, bounded_waiting_, bounded_held_);
    case kEvent:
      return UseEvent();
    case kCondition:
      return UseCondition();
    case kBarrier:
      return UseBarrier();
    case kQueue:
      return UseQueue(queue_, queue_flow_);
    case kLifoQueue:
      return UseQueue(lifo_, lifo_flow_);
    case kPriorityQueue:
      return UseQueue(priority_, priority_flow_);
    case kChannel:
      return UseChannel();
    case kBroadcast:
      return UseBroadcast();
    default:
      return UseLatch();
  }
}

Co<void> World::Worker(int id) {
  while (!draining_) {
    const uint32_t kind = kinds_[Below(static_cast<int>(kinds_.size()))];
    Trace(id * 64 + kind);
    bool cancelled = false;
    TimerHandle timeout;
    if (options_.timeouts && Percent(60)) {
      AnyTask self = CurrentTask();
      timeout = EventLoop::Current().CallLater(
          absl::Microseconds(Below(6)), [self] { self.Cancel("timeout"); });
    }
    try {
      co_await Operation(kind);
      ++result_.operations;
      timeout.Cancel();
      if (Percent(50)) co_await Sleep(absl::Microseconds(Below(4)));
    } catch (const CancelledError&) {
      cancelled = true;
    }
    timeout.Cancel();
    if (cancelled) {
      ++result_.cancelled;
      Trace(2000 + id);
    }
    while (CurrentTask().Uncancel() > 0) {
    }
    if (Percent(options_.cancel_percent)) CancelSomebody(id);
    if (Percent(options_.cancel_percent / 10)) CurrentTask().Cancel("self");
  }
}

template <class Q>
void World::CheckFlow(const Q& queue, const Flow& flow) {
  Check(flow.getting == 0 || queue.Empty(),
        "nobody gets while there is an item");
  Check(flow.putting == 0 || queue.Full(), "nobody puts while there is room");
  Check(flow.put == flow.got + queue.Size(),
        "what was put was got or is in the queue");
}

// Called when nothing could run: everybody is blocked or asleep.
void World::CheckQuiescent() {
  Check(lock_waiting_ == 0 || lock_.Locked(), "nobody waits for a free lock");
  Check(lock_.Locked() == (lock_held_ == 1), "a locked lock has a holder");
  Check(rw_waiting_ == 0 || rw_lock_.WriteLocked() || rw_lock_.Readers() > 0,
        "nobody waits for a free RwLock");
  Check(rw_lock_.Readers() == readers_ &&
            rw_lock_.WriteLocked() == (writers_ == 1),
        "a held RwLock has a holder");
  Check(semaphore_waiting_ == 0 || semaphore_.Available() == 0,
        "nobody waits while a permit is free");
  Check(semaphore_.Available() + semaphore_held_ == kPermits,
        "permits are conserved");
  Check(bounded_waiting_ == 0 || bounded_.Available() == 0,
        "nobody waits while a permit of a BoundedSemaphore is free");
  Check(bounded_.Available() + bounded_held_ == kPermits,
        "permits of a BoundedSemaphore are conserved");
  Check(event_waiting_ == 0 || !event_.IsSet(), "nobody waits for a set event");
  Check(condition_waiting_ == 0 || stock_ == 0 || condition_.Locked(),
        "nobody waits for a condition that was notified");
  Check(barrier_waiting_ == barrier_.NWaiting() && barrier_waiting_ < 3,
        "a barrier lets a full round go");
  Check(latch_waiting_ == 0 || latch_.Count() > 0,
        "nobody waits for an open latch");
  CheckFlow(queue_, queue_flow_);
  CheckFlow(lifo_, lifo_flow_);
  CheckFlow(priority_, priority_flow_);
  CheckFlow(channel_, channel_flow_);
}

// Whatever a task may wait for comes now, or it is sent away.
void World::Drain() {
  draining_ = true;
  event_.Set();
  barrier_.Abort();
  queue_.Shutdown();
  lifo_.Shutdown();
  priority_.Shutdown();
  channel_.Close();
  broadcast_.Close();
  latch_.CountDown(latch_.Count());
}

void World::CheckEnd() {
  Check(!lock_.Locked() && !condition_.Locked(), "locks are free at the end");
  Check(rw_lock_.Readers() == 0 && !rw_lock_.WriteLocked(),
        "the RwLock is free at the end");
  Check(semaphore_.Available() == kPermits && bounded_.Available() == kPermits,
        "all permits are back at the end");
  Check(stocked_ == taken_ + stock_, "the stock is conserved");
  Check(broadcast_.Subscribers() == 0, "all subscriptions have ended");
  auto empty = [&](auto& queue, Flow& flow) {
    while (auto item = queue.TryGet()) {
      ++flow.got;
      flow.got_sum += *item;
      queue.TaskDone();
    }
    Check(flow.put == flow.got && flow.put_sum == flow.got_sum,
          "nothing that was put is lost or doubled");
  };
  empty(queue_, queue_flow_);
  empty(lifo_, lifo_flow_);
  empty(priority_, priority_flow_);
  while (auto value = channel_.TryReceive()) {
    ++channel_flow_.got;
    channel_flow_.got_sum += **value;
  }
  Check(channel_flow_.put == channel_flow_.got &&
            channel_flow_.put_sum == channel_flow_.got_sum,
        "nothing that was sent is lost or doubled");
}

Co<void> World::Main() {
  const int n = 2 + Below(15);
  for (int i = 0; i < n; ++i) workers_.push_back(CreateTask(Worker(i)));
  // Everybody else sleeps for whole microseconds: when this timer fires,
  // nothing else can run.
  co_await Sleep(absl::Nanoseconds(500));
  for (int i = 0; i < kChecks; ++i) {
    CheckQuiescent();
    co_await Sleep(absl::Microseconds(10));
  }
  CheckQuiescent();
  Drain();
  {
    Lock::Guard guard = co_await condition_.Acquire();
    condition_.NotifyAll();
  }
  for (Task<void>& worker : workers_) {
    Outcome<void> outcome = co_await Settle(worker);
    // A worker that was cancelled in between two operations has ended.
    Check(outcome.Ok() || outcome.Cancelled(), "no worker fails");
  }
  CheckEnd();
  // Every item that was taken was reported as done.
  co_await queue_.Join();
  co_await lifo_.Join();
  co_await priority_.Join();
}

}  // namespace

WorkloadResult RunWorkload(const WorkloadOptions& options) {
  SimulationOptions simulation{.seed = options.seed};
  RunOptions run;
  run.simulation = &simulation;
  run.on_interrupt = InterruptPolicy::kLeaveAlone;
  World world(options);
  try {
    coil::Run(world.Main(), run);
  } catch (const std::exception& e) {
    // "simulation: deadlock": somebody waits for ever.
    world.result().violations.emplace_back(e.what());
  }
  return world.result();
}

std::string NamesOf(uint32_t operations) {
  static const char* const kNames[] = {
      "Lock",      "RwLock",        "Semaphore", "BoundedSemaphore",
      "Event",     "Condition",     "Barrier",   "Queue",
      "LifoQueue", "PriorityQueue", "Channel",   "Broadcast",
      "Latch"};
  std::string names;
  for (int i = 0; i < 13; ++i) {
    if ((operations & (1u << i)) == 0) continue;
    if (!names.empty()) names += "_";
    names += kNames[i];
  }
  return names;
}

}  // namespace coil::sync_testing
