// coil/loop/internal/signals.h
//
// Signals of the process, delivered to loops. The handler does three things
// that are safe in it: it marks the signal as pending, pushes the loop's node
// into the inbox if it is not there, and writes the wake descriptor if the loop
// sleeps. No signalfd: that would need the signal blocked in every thread.
//
// Ordering: pending signals run in order of their numbers; equal ones coalesce.
// Threads: LoopSignals belongs to the loop's thread; any thread may be the one
//   that the system interrupts.
// Lifetime: once Remove() has returned, no handler touches the loop any more.

#ifndef COIL_LOOP_INTERNAL_SIGNALS_H_
#define COIL_LOOP_INTERNAL_SIGNALS_H_

#include <memory>
#include <vector>

#include "coil/loop/internal/handle_state.h"
#include "coil/loop/internal/loop_core.h"

namespace coil::internal {

// Is told of signals beside the handler that the loop may have for them.
class SignalListener {
 public:
  // On the loop; may only schedule.
  virtual void OnSignal(int signal) noexcept = 0;
  // The loop is closed: nothing more will come, and there is nothing to leave.
  virtual void OnSignalsClosed() noexcept = 0;

 protected:
  ~SignalListener() = default;
};

// The signals of one loop.
class LoopSignals {
 public:
  LoopSignals() = default;
  LoopSignals(const LoopSignals&) = delete;
  LoopSignals& operator=(const LoopSignals&) = delete;
  ~LoopSignals();

  // Makes `handler` the handler of `signal`, replacing an earlier one of this
  // loop. Throws std::invalid_argument and std::runtime_error as
  // EventLoop::AddSignalHandler() says.
  void Add(LoopCore& core, int signal, HandleRef handler);
  // False if this loop has no handler for it.
  bool Remove(int signal) noexcept;
  void RemoveAll() noexcept;

  // `listener` hears of `signal` from now on. Throws as Add(). A handler that
  // the kernel takes away after one signal, which is that of Run(), steps aside
  // for as long as anybody listens.
  void Subscribe(LoopCore& core, int signal, SignalListener* listener);
  void Unsubscribe(int signal, SignalListener* listener) noexcept;
  // There is a handler, and it is not called now.
  bool SteppedAside(int signal) const noexcept;
  bool empty() const noexcept { return handlers_.empty(); }

 private:
  class Post;
  struct Entry {
    int signal;
    HandleRef handler;  // none if there are listeners only
    std::vector<SignalListener*> listeners;
    bool steps_aside;
  };
  struct PostDeleter {
    void operator()(Post* post) const noexcept;
  };

  Entry* Find(int signal) noexcept;
  void Watch(LoopCore& core, int signal, HandleRef handler, const char* what);
  void Unwatch(Entry* entry) noexcept;
  void Dispatch() noexcept;

  std::vector<Entry> handlers_;
  std::unique_ptr<Post, PostDeleter> post_;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_SIGNALS_H_
