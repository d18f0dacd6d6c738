// Sequences of operations on a loop, against a model of what runs and when.

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/simulation.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using coil::EventLoop;
using coil::LoopTime;
using coil_testing::FuzzInput;
using coil_testing::Require;

constexpr int kDescriptors = 4;

class Driver {
 public:
  explicit Driver(FuzzInput& input)
      : input_(input), loop_(coil::LoopOptions{.simulation = &simulation_}) {
    for (int& fd : fds_) fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  }
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;
  ~Driver() {
    for (const int fd : fds_) {
      loop_.RemoveReader(fd);
      loop_.RemoveWriter(fd);
      ::close(fd);
    }
  }

  void Run() {
    int steps = 0;
    while (!input_.empty() && ++steps < 200) {
      Operate();
      // Now and then the loop makes a turn.
      if (input_.Byte() % 3 == 0) Turn();
    }
    // Everything that is left: nothing watches any more, time passes.
    for (int i = 0; i < kDescriptors; ++i) StopWatching(i);
    inside_ = true;  // no new callbacks
    loop_.CallLater(absl::Seconds(1000), [this] { loop_.Stop(); });
    loop_.RunForever();
    Require(soon_.empty(), "a callback was lost");
    Require(timers_.empty(), "a timer was lost");
  }

 private:
  struct Soon {
    uint64_t id;
    coil::Handle handle;
  };
  struct Timer {
    LoopTime when;
    coil::TimerHandle handle;
  };

  void Turn() {
    loop_.Stop();
    loop_.RunForever();
  }

  void Operate() {
    const uint8_t operation = input_.Byte();
    const uint8_t which = input_.Byte();
    switch (operation % 10) {
      case 0:
      case 1:
        CallSoon();
        break;
      case 2:
        CallLater(absl::Milliseconds(which));
        break;
      case 3:
        CallLater(absl::Milliseconds(which % 4));  // many at once
        break;
      case 4:
        if (!soon_.empty()) {
          const size_t at = which % soon_.size();
          soon_[at].handle.Cancel();
          Require(soon_[at].handle.Cancelled(), "a cancelled handle is not");
          soon_.erase(soon_.begin() + static_cast<ptrdiff_t>(at));
        }
        break;
      case 5:
        if (!timers_.empty()) {
          const auto timer = std::next(timers_.begin(), which % timers_.size());
          timer->second.handle.Cancel();
          timers_.erase(timer);
        }
        break;
      case 6:
        Watch(which % kDescriptors, which >= 128);
        break;
      case 7:
        StopWatching(which % kDescriptors);
        break;
      case 8: {
        const int index = which % kDescriptors;
        const uint64_t one = 1;
        uint64_t value;
        if (which >= 128) {
          static_cast<void>(!::write(fds_[index], &one, sizeof(one)));
          written_[index] = true;
        } else {
          static_cast<void>(!::read(fds_[index], &value, sizeof(value)));
        }
        break;
      }
      default:
        // Posts come in their order, behind what is there when they arrive.
        ++posts_;
        loop_.CallSoonThreadSafe([this, number = posts_] {
          Require(number == ++posts_run_, "posts have changed their order");
        });
    }
  }

  void CallSoon() {
    const uint64_t id = ++last_id_;
    soon_.push_back({id, {}});
    soon_.back().handle = loop_.CallSoon([this, id] {
      Require(!soon_.empty() && soon_.front().id == id,
              "a callback runs out of its turn, or after its cancel");
      soon_.erase(soon_.begin());
      Reenter();
    });
  }

  void CallLater(absl::Duration delay) {
    const uint64_t id = ++last_id_;
    const LoopTime when = loop_.Now() + delay;
    coil::TimerHandle handle = loop_.CallAt(when, [this, id, when] {
      Require(loop_.Now() >= when, "a timer is early");
      const auto timer = timers_.find({when, id});
      Require(timer != timers_.end(),
              "a timer runs after its cancel, or twice");
      Require(timer == timers_.begin(), "timers run out of their order");
      timers_.erase(timer);
      Reenter();
    });
    timers_.emplace(std::make_pair(when, id), Timer{when, std::move(handle)});
  }

  void Watch(int index, bool writer) {
    const uint64_t id = ++last_id_;
    if (writer) {
      writers_[index] = id;
      loop_.AddWriter(fds_[index], [this, index, id] {
        Require(writers_[index] == id, "a writer runs after it was removed");
        Require(loop_.RemoveWriter(fds_[index]), "a writer is not watched");
        writers_[index] = 0;
      });
      return;
    }
    readers_[index] = id;
    loop_.AddReader(fds_[index], [this, index, id] {
      Require(readers_[index] == id, "a reader runs after it was removed");
      // Another callback of the same turn may have read before it.
      Require(written_[index], "a reader runs without anything to read");
      uint64_t value;
      static_cast<void>(!::read(fds_[index], &value, sizeof(value)));
      Reenter();
    });
  }

  void StopWatching(int index) {
    Require(loop_.RemoveReader(fds_[index]) == (readers_[index] != 0),
            "RemoveReader() says otherwise");
    Require(loop_.RemoveWriter(fds_[index]) == (writers_[index] != 0),
            "RemoveWriter() says otherwise");
    readers_[index] = writers_[index] = 0;
  }

  // An operation within a callback.
  void Reenter() {
    if (inside_ || input_.empty()) return;
    inside_ = true;
    Operate();
    inside_ = false;
  }

  FuzzInput& input_;
  const coil::SimulationOptions simulation_;
  EventLoop loop_;
  int fds_[kDescriptors];
  bool written_[kDescriptors] = {};
  uint64_t readers_[kDescriptors] = {};
  uint64_t writers_[kDescriptors] = {};
  std::vector<Soon> soon_;
  std::map<std::pair<LoopTime, uint64_t>, Timer> timers_;
  uint64_t last_id_ = 0;
  uint64_t posts_ = 0;
  uint64_t posts_run_ = 0;
  bool inside_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  Driver(input).Run();
  return 0;
}
