// The protocols of a loop with other threads under the model checker relacy: it
// runs them in every order that the memory model of C++ allows (full search,
// two threads), or in very many (random schedules, three), and finds lost
// wake-ups as deadlocks, data races, and what the assertions say.
//
// The inbox is the real code: its `Atomics` parameter is the seam. The wake
// descriptor, the job queue and the signal handler are modelled, as the system
// and std::mutex cannot run in here.

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <ostream>
#include <streambuf>
#include <string>

#include "coil/loop/internal/block_exchange.h"
#include "coil/loop/internal/inbox.h"
#include "gtest/gtest.h"
#include "relacy/relacy.hpp"

// relacy renames them for code that is not written for it; ours is.
#undef new
#undef delete
#undef malloc
#undef calloc
#undef realloc
#undef free
#undef assert
#undef errno
#undef memory_order_relaxed
#undef memory_order_consume
#undef memory_order_acquire
#undef memory_order_release
#undef memory_order_acq_rel
#undef memory_order_seq_cst

namespace coil::internal {
namespace {

rl::memory_order Order(std::memory_order order) {
  switch (order) {
    case std::memory_order::relaxed:
      return rl::mo_relaxed;
    case std::memory_order::consume:
      return rl::mo_consume;
    case std::memory_order::acquire:
      return rl::mo_acquire;
    case std::memory_order::release:
      return rl::mo_release;
    case std::memory_order::acq_rel:
      return rl::mo_acq_rel;
    case std::memory_order::seq_cst:
      return rl::mo_seq_cst;
  }
  return rl::mo_seq_cst;
}

// std::atomic on relacy.
template <class T>
class ModelAtomic {
 public:
  ModelAtomic() : ModelAtomic(T()) {}
  ModelAtomic(T value)
      : value_(value) {}  // NOLINT(google-explicit-constructor)
  T load(std::memory_order order) const { return value_.load(Order(order), $); }
  void store(T value, std::memory_order order) {
    value_.store(value, Order(order), $);
  }
  T exchange(T value, std::memory_order order) {
    return value_.exchange(value, Order(order), $);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order success,
                             std::memory_order failure) {
    return value_.compare_exchange_weak(expected, value, Order(success), $,
                                        Order(failure), $);
  }
  bool compare_exchange_strong(T& expected, T value, std::memory_order success,
                               std::memory_order failure) {
    return value_.compare_exchange_strong(expected, value, Order(success), $,
                                          Order(failure), $);
  }

 private:
  rl::atomic<T> value_;
};

struct ModelAtomics {
  template <class T>
  using Atomic = ModelAtomic<T>;
};

// A plain variable whose races relacy reports.
template <class T>
class Plain {
 public:
  Plain() : value_(T()) {}
  Plain(T value) : value_(value) {}  // NOLINT(google-explicit-constructor)
  Plain& operator=(T value) {
    value_($) = value;
    return *this;
  }
  operator T() const {  // NOLINT(google-explicit-constructor)
    return value_($);
  }

 private:
  rl::var<T> value_;
};

struct Node {
  Plain<Node*> next_post = nullptr;
  Plain<int> payload = 0;
};

using ModelInbox = BasicInbox<Node, ModelAtomics>;

// An eventfd with a reader that sleeps in epoll_wait. A deadlock in here is a
// wake-up that got lost.
class WakeDescriptor {
 public:
  void Write() {
    mutex_.lock($);
    ready_ = 1;
    changed_.notify_one($);
    mutex_.unlock($);
  }
  // Edge-triggered: returns once for what was written since the last time.
  void Await() {
    mutex_.lock($);
    while (ready_ == 0) changed_.wait(mutex_, $);
    ready_ = 0;
    mutex_.unlock($);
  }

 private:
  rl::mutex mutex_;
  rl::condition_variable changed_;
  Plain<int> ready_ = 0;
};

void PostTo(ModelInbox& inbox, WakeDescriptor& wake, Node& node, int payload) {
  node.payload = payload;
  if (inbox.PushToAwake(&node)) return;
  const PushResult result = inbox.Push(&node);
  RL_ASSERT(result != PushResult::kClosed);
  if (result == PushResult::kWake) wake.Write();
}

// The waiting half of an iteration: returns what came, oldest first.
Node* DrainOrSleep(ModelInbox& inbox, WakeDescriptor& wake) {
  Node* first = inbox.Drain();
  if (first != nullptr) return first;
  if (inbox.Park()) wake.Await();
  return inbox.Drain();
}

// ---- 1. inbox and wake-up
// -----------------------------------------------------

// Thread 0 is the loop, the others post. Every post arrives, once and in the
// order of its thread, and the loop never sleeps with work in its inbox.
template <int kPosters, int kPosts>
struct InboxModel : rl::test_suite<InboxModel<kPosters, kPosts>, kPosters + 1> {
  ModelInbox inbox;
  WakeDescriptor wake;
  Node nodes[kPosters][kPosts];

  void thread(unsigned index) {
    if (index != 0) {
      for (int i = 0; i < kPosts; ++i) {
        PostTo(inbox, wake, nodes[index - 1][i],
               static_cast<int>(index) * 100 + i);
      }
      return;
    }
    int next[kPosters] = {};
    for (int seen = 0; seen < kPosters * kPosts;) {
      for (Node* node = DrainOrSleep(inbox, wake); node != nullptr;) {
        Node* following = node->next_post;
        const int payload = node->payload;
        RL_ASSERT(payload % 100 == next[payload / 100 - 1]);
        ++next[payload / 100 - 1];
        ++seen;
        node = following;
      }
    }
  }
};

// ---- 2. hand-off from the thread pool
// -----------------------------------------

// The loop submits a job, a worker runs it and posts it back; meanwhile the
// waiter may be cancelled, which takes the job back if it has not started.
// Either way it ends exactly once, and its memory is free to die then.
template <bool kCancel>
struct PoolModel : rl::test_suite<PoolModel<kCancel>, 2> {
  ModelInbox inbox;
  WakeDescriptor wake;
  rl::mutex mutex;
  rl::condition_variable work;
  Plain<int> queued = 0;
  Plain<int> closed = 0;
  Plain<int> result = 0;
  Node completion;

  void thread(unsigned index) {
    if (index == 0) {
      Loop();
    } else {
      Worker();
    }
  }

  void Worker() {
    mutex.lock($);
    while (queued == 0 && closed == 0) work.wait(mutex, $);
    const bool run = queued != 0;
    queued = 0;
    mutex.unlock($);
    if (!run) return;
    result = 42;  // the job, and the last touch of it before the post
    PostTo(inbox, wake, completion, 7);
  }

  void Loop() {
    mutex.lock($);
    queued = 1;
    work.notify_one($);
    mutex.unlock($);
    bool removed = false;
    if (kCancel) {  // ThreadPool::TryRemove()
      mutex.lock($);
      removed = queued != 0;
      queued = 0;
      mutex.unlock($);
    }
    if (!removed) {
      Node* node = nullptr;
      while (node == nullptr) node = DrainOrSleep(inbox, wake);
      RL_ASSERT(node == &completion);
      RL_ASSERT(static_cast<Node*>(node->next_post) == nullptr);
      RL_ASSERT(node->payload == 7);
      RL_ASSERT(result == 42);
    }
    result = -1;  // the frame that held the job is reused
    mutex.lock($);
    closed = 1;
    work.notify_all($);
    mutex.unlock($);
  }
};

// ---- 3. shutdown
// --------------------------------------------------------------

// The loop closes while others post: each node is delivered, returned by
// Close(), or refused to its poster: exactly one of the three.
template <int kPosters>
struct ShutdownModel : rl::test_suite<ShutdownModel<kPosters>, kPosters + 1> {
  ModelInbox inbox;
  WakeDescriptor wake;
  Node nodes[kPosters];
  rl::atomic<int> ends[kPosters];

  void before() {
    for (auto& end : ends) end.store(0, rl::mo_relaxed, $);
  }

  void End(unsigned i) { ends[i].fetch_add(1, rl::mo_relaxed, $); }

  void Take(Node* node) {
    while (node != nullptr) {
      Node* following = node->next_post;
      End(static_cast<unsigned>(static_cast<int>(node->payload)));
      node = following;
    }
  }

  void thread(unsigned index) {
    if (index == 0) {
      Take(inbox.Drain());
      Take(inbox.Close());
      return;
    }
    Node& node = nodes[index - 1];
    node.payload = static_cast<int>(index - 1);
    if (inbox.PushToAwake(&node)) return;
    const PushResult result = inbox.Push(&node);
    if (result == PushResult::kClosed) {
      node.payload = -1;  // the poster's again
      End(index - 1);
    } else if (result == PushResult::kWake) {
      wake.Write();
    }
  }

  void after() {
    for (auto& end : ends) RL_ASSERT(end.load(rl::mo_relaxed, $) == 1);
  }
};

// ---- 4. signals
// ---------------------------------------------------------------

// internal/signals.cc: the handler marks the signal and announces it unless an
// announcement is under way; the loop takes the announcement down and then
// looks at the marks. No mark stays behind.
struct SignalModel : rl::test_suite<SignalModel, 2> {
  ModelInbox inbox;
  WakeDescriptor wake;
  Node post;
  ModelAtomic<int> queued{0};
  ModelAtomic<int> pending{0};
  static constexpr int kSignals = 2;

  void Handler() {
    pending.store(1, std::memory_order::seq_cst);
    if (queued.exchange(1, std::memory_order::seq_cst) != 0) return;
    PostTo(inbox, wake, post, 1);
  }

  void thread(unsigned index) {
    if (index != 0) {
      for (int i = 0; i < kSignals; ++i) Handler();
      return;
    }
    // The last signal is never lost: after the handlers have run, one more look
    // by a loop that sleeps in between must find it.
    bool seen = false;
    while (!seen) {
      if (DrainOrSleep(inbox, wake) == nullptr) continue;
      queued.store(0, std::memory_order::seq_cst);
      seen = pending.exchange(0, std::memory_order::seq_cst) != 0;
      RL_ASSERT(seen || queued.load(std::memory_order::seq_cst) != 0);
    }
  }

  void after() {
    // A mark that is left has an announcement in the inbox.
    if (pending.load(std::memory_order::seq_cst) != 0) {
      RL_ASSERT(inbox.Drain() == &post);
    }
  }
};

// ---- 5. cancelling a post
// -----------------------------------------------------

// PostState: a cancel from another thread before the run destroys the callable
// there; otherwise it runs, and the canceller waits until it is over.
struct CancelModel : rl::test_suite<CancelModel, 2> {
  ModelAtomic<int> state{0};  // 0 pending, 1 running, 2 done, 3 cancelled
  Plain<int> callable = 1;
  rl::mutex mutex;
  rl::condition_variable ended;

  void thread(unsigned index) {
    int expected = 0;
    if (index == 0) {
      if (!state.compare_exchange_strong(expected, 1,
                                         std::memory_order::acq_rel,
                                         std::memory_order::acquire)) {
        return;
      }
      RL_ASSERT(callable == 1);
      callable = 0;
      mutex.lock($);  // atomic::notify_all()
      state.store(2, std::memory_order::release);
      ended.notify_all($);
      mutex.unlock($);
      return;
    }
    if (state.compare_exchange_strong(expected, 3, std::memory_order::acq_rel,
                                      std::memory_order::acquire)) {
      RL_ASSERT(callable == 1);
      callable = 0;
      return;
    }
    mutex.lock($);  // atomic::wait()
    while (state.load(std::memory_order::acquire) == 1) ended.wait(mutex, $);
    mutex.unlock($);
    RL_ASSERT(callable == 0);  // over, and visible here
  }
};

// ---- 6. blocks that go back to the posting threads
// -----------------------------

// Each thread puts a slab down and picks one up: no slab is lost or seen
// twice, and what its last owner wrote is seen by the next.
template <int kThreads>
struct ExchangeModel : rl::test_suite<ExchangeModel<kThreads>, kThreads> {
  static constexpr int kPlaces = 2;
  BlockExchange<Node, kPlaces, ModelAtomics> exchange;
  Node slabs[kThreads];
  Plain<Node*> in_hand[kThreads];

  void thread(unsigned index) {
    Node& mine = slabs[index];
    mine.payload = 1;
    if (!exchange.Put(&mine)) {
      in_hand[index] = &mine;
      return;
    }
    if (Node* slab = exchange.Pick()) {
      RL_ASSERT(slab->payload >= 1);
      slab->payload = slab->payload + 1;
      if (!exchange.Put(slab)) in_hand[index] = slab;
    }
  }

  void after() {
    int found = 0;
    auto Count = [&](Node* slab) {
      RL_ASSERT(slab->payload != 0);
      slab->payload = 0;  // once only
      ++found;
    };
    for (auto& hand : in_hand) {
      if (Node* slab = hand) Count(slab);
    }
    while (Node* slab = exchange.Pick()) Count(slab);
    RL_ASSERT(found == kThreads);
  }
};

// ---- running
// ------------------------------------------------------------------

// Where relacy writes to: its own operator new is in force then, so that a
// string must not grow.
class FixedBuffer final : public std::streambuf {
 public:
  FixedBuffer() { setp(text_, text_ + sizeof(text_)); }
  std::string Text() const { return std::string(pbase(), pptr()); }

 private:
  int overflow(int c) override { return c; }  // enough is enough
  char text_[1 << 16];
};

template <class Model>
bool Holds(rl::scheduler_type_e search, uint64_t iterations) {
  rl::test_params params;
  params.search_type = search;
  params.iteration_count = iterations;
  params.execution_depth_limit = 4000;
  FixedBuffer buffer;
  FixedBuffer ignored;
  std::ostream output(&buffer);
  std::ostream progress(&ignored);
  params.output_stream = &output;
  params.progress_stream = &progress;
  const bool ok = rl::simulate<Model>(params);
  std::cout << "  " << params.stop_iteration << " schedules\n";
  if (!ok) std::cout << buffer.Text() << "\n";
  return ok;
}

// How many random schedules: more in the run for the long haul.
uint64_t RandomSchedules() {
  const char* value = std::getenv("COIL_MODEL_SCHEDULES");
  return value != nullptr ? std::strtoull(value, nullptr, 10) : 100'000;
}

constexpr uint64_t kAll = uint64_t{1} << 40;

TEST(InboxModelTest, NoWakeUpIsLostWithTwoThreadsInAnyOrder) {
  EXPECT_TRUE((Holds<InboxModel<1, 2>>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, NoWakeUpIsLostWithThreeThreads) {
  EXPECT_TRUE((Holds<InboxModel<2, 2>>(rl::sched_random, RandomSchedules())));
}

TEST(InboxModelTest, PoolHandsResultsOverInAnyOrder) {
  EXPECT_TRUE((Holds<PoolModel<false>>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, CancelledJobEndsOnceInAnyOrder) {
  EXPECT_TRUE((Holds<PoolModel<true>>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, ShutdownLosesNothingWithTwoThreadsInAnyOrder) {
  EXPECT_TRUE((Holds<ShutdownModel<1>>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, ShutdownLosesNothingWithThreeThreads) {
  EXPECT_TRUE((Holds<ShutdownModel<2>>(rl::sched_random, RandomSchedules())));
}

TEST(InboxModelTest, NoSignalIsLostInAnyOrder) {
  EXPECT_TRUE((Holds<SignalModel>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, CancelOfAPostIsBeforeOrAfterItsRunInAnyOrder) {
  EXPECT_TRUE((Holds<CancelModel>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, BlocksChangeHandsOnceWithTwoThreadsInAnyOrder) {
  EXPECT_TRUE((Holds<ExchangeModel<2>>(rl::sched_full, kAll)));
}

TEST(InboxModelTest, BlocksChangeHandsOnceWithThreeThreads) {
  EXPECT_TRUE((Holds<ExchangeModel<3>>(rl::sched_random, RandomSchedules())));
}

// The checker itself: without the wake-up it must complain.
struct BrokenModel : rl::test_suite<BrokenModel, 2> {
  ModelInbox inbox;
  WakeDescriptor wake;
  Node node;
  void thread(unsigned index) {
    if (index != 0) {
      inbox.Push(&node);  // and nobody wakes
      return;
    }
    while (DrainOrSleep(inbox, wake) == nullptr) {
    }
  }
};

TEST(InboxModelTest, CheckerFindsALostWakeUp) {
  testing::internal::CaptureStdout();
  const bool ok = Holds<BrokenModel>(rl::sched_full, kAll);
  const std::string report = testing::internal::GetCapturedStdout();
  EXPECT_FALSE(ok);
  EXPECT_NE(report.find("DEADLOCK"), std::string::npos) << report;
}

}  // namespace
}  // namespace coil::internal
