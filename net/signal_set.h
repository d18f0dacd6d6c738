// coil/net/signal_set.h
//
// SignalSet waits for signals of the process: those that ask a program to end,
// to read its configuration again, or whatever else. For a callback there is
// EventLoop::AddSignalHandler().
//
// Example:
//   coil::Co<void> ServeUntilStopped(coil::net::Server server) {
//     coil::net::SignalSet stop{SIGINT, SIGTERM};
//     int signal = co_await stop.Next();
//     std::printf("signal %d, shutting down\n", signal);
//     co_await server.Shutdown(absl::Seconds(30));
//   }
//
// Ordering: signals are given in the order in which the loop hears of them. One
//   that comes again before it was taken counts once, as the system has it.
//   Tasks that wait get them first in, first out. Each of several sets gets
//   every signal, and so does a handler of AddSignalHandler().
// Cancellation: a cancelled Next() takes no signal: the next one gets it.
// Threads: the loop's thread only. Each signal belongs to one loop of the
//   process.
// Lifetime: from its beginning to its end, a set keeps the signals from what
//   they would do otherwise: also from Run(), which SIGINT would tell to cancel
//   main. Signals that nobody has taken are lost with the set. A set that dies
//   while a task waits in it makes that throw std::runtime_error.
//
// asyncio: add_signal_handler (A231) with a Queue.

#ifndef COIL_NET_SIGNAL_SET_H_
#define COIL_NET_SIGNAL_SET_H_

#include <signal.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/signals.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil::net {

class SignalSet;

namespace internal {

class NextSignalAwaiter final
    : public coil::internal::LeafAwaiter<NextSignalAwaiter> {
 public:
  explicit NextSignalAwaiter(SignalSet& set) : set_(&set) {}
  NextSignalAwaiter(NextSignalAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)), set_(other.set_) {}
  ~NextSignalAwaiter() { Dispose(); }

  void Validate() const;
  bool Ready() noexcept;
  void Arm() noexcept;
  void Unlink() noexcept;
  void GiveBack() noexcept;
  int Take();
  void DescribeWait(std::string* out) const override;

 private:
  friend class coil::net::SignalSet;
  void Finish() noexcept { Grant(); }

  SignalSet* set_;  // null once it is destroyed
  int signal_ = 0;
  NextSignalAwaiter* previous_ = nullptr;
  NextSignalAwaiter* next_ = nullptr;
};

}  // namespace internal

class SignalSet final : private coil::internal::SignalListener {
 public:
  // From now on the signals wait for Next(). Throws std::invalid_argument for
  // no signal at all or for what is none; std::runtime_error for SIGKILL and
  // SIGSTOP, for a signal of another loop, and without a running loop.
  SignalSet(std::initializer_list<int> signals)
      : SignalSet(std::vector<int>(signals)) {}
  explicit SignalSet(std::vector<int> signals);
  SignalSet(const SignalSet&) = delete;
  SignalSet& operator=(const SignalSet&) = delete;
  // Signals do again what they did before.
  ~SignalSet();

  // Waits for a signal of the set and gives its number.
  [[nodiscard("co_await it")]] internal::NextSignalAwaiter Next() {
    return internal::NextSignalAwaiter(*this);
  }

 private:
  friend class internal::NextSignalAwaiter;

  void OnSignal(int signal) noexcept override;
  void OnSignalsClosed() noexcept override { loop_ = nullptr; }
  // To the first who waits, else to those that wait to be taken.
  void Deliver(int signal, bool in_front) noexcept;
  void Leave() noexcept;
  void Link(internal::NextSignalAwaiter* awaiter) noexcept;
  void Unlink(internal::NextSignalAwaiter* awaiter) noexcept;

  coil::internal::LoopCore* loop_;  // null once it is closed
  std::vector<int> signals_;
  std::vector<int> pending_;  // each once; has room for all
  // Those who wait, and those who have got one and have not run yet.
  internal::NextSignalAwaiter* first_ = nullptr;
  internal::NextSignalAwaiter* last_ = nullptr;
};

}  // namespace coil::net

#endif  // COIL_NET_SIGNAL_SET_H_
