// coil/net/sharded.h
//
// RunSharded() uses several cores: it runs one loop in each of `shards`
// threads, and on each the coroutine that a factory makes for it. Nothing moves
// from one loop to another by itself: what runs on one loop needs no locks, and
// a server lets the system share its connections out
// (ServerOptions::ReusePort()).
//
// Example:
//   coil::Co<void> Greet(coil::net::StreamReader, coil::net::StreamWriter out)
//   {
//     co_await out.Write("hello\n");
//   }
//   void ServeOnAllCores() {
//     coil::net::RunSharded(4, [](coil::net::Shard) -> coil::Co<void> {
//       coil::net::Server server = co_await coil::net::StartServer(
//           Greet, "127.0.0.1", 7000,
//           coil::net::ServerOptions().ReusePort(true));
//       co_await server.ServeForever();
//     });
//   }
//
// Ordering: shard 0 is in the thread of the caller. All loops are there before
//   the first coroutine starts, and are closed after the last has ended.
// Cancellation: an error in one shard cancels the others; so does Ctrl-C, as
//   the options say.
// Threads: the factory is called in the thread of each shard, perhaps in
//   several at once.
// Lifetime: returns when all shards have ended and their threads are joined.
//
// To make another loop do something: RunCoroutineThreadSafe(co, shard.Loop(2)),
// whose result can be awaited.

#ifndef COIL_NET_SHARDED_H_
#define COIL_NET_SHARDED_H_

#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "coil/loop/event_loop.h"
#include "coil/task/co.h"
#include "coil/task/run.h"

namespace coil::net {

// One of the loops, and the way to the others. A value.
class Shard {
 public:
  // From 0 to Count() - 1.
  int Index() const { return index_; }
  int Count() const { return static_cast<int>(loops_->size()); }
  // The loop of a shard. Throws std::out_of_range if there is no such shard.
  EventLoop& Loop(int index) const;

  // ---- public interface ends here ----
  Shard(int index, std::shared_ptr<const std::vector<EventLoop*>> loops)
      : index_(index), loops_(std::move(loops)) {}

 private:
  int index_;
  std::shared_ptr<const std::vector<EventLoop*>> loops_;
};

// What makes the coroutine of a shard: a function of the Shard, of its index,
// or of nothing.
class ShardFactory {
 public:
  template <class F>
    requires(!std::is_same_v<std::decay_t<F>, ShardFactory> &&
             (std::is_invocable_r_v<Co<void>, const std::decay_t<F>&, Shard> ||
              std::is_invocable_r_v<Co<void>, const std::decay_t<F>&, int> ||
              std::is_invocable_r_v<Co<void>, const std::decay_t<F>&>))
  // NOLINTNEXTLINE(google-explicit-constructor): a lambda becomes one
  ShardFactory(F&& factory)
      : factory_([factory = std::forward<F>(factory)](Shard shard) {
          using Callable = const std::decay_t<F>&;
          if constexpr (std::is_invocable_r_v<Co<void>, Callable, Shard>) {
            return factory(std::move(shard));
          } else if constexpr (std::is_invocable_r_v<Co<void>, Callable, int>) {
            return factory(shard.Index());
          } else {
            return factory();
          }
        }) {}

  Co<void> operator()(Shard shard) const { return factory_(std::move(shard)); }

 private:
  absl::AnyInvocable<Co<void>(Shard) const> factory_;
};

// Throws ExceptionGroup with the errors of the shards (as a TaskGroup does),
// std::invalid_argument unless 1 <= shards <= 1024 or for a simulation of more
// than one, std::system_error if there are no threads.
void RunSharded(int shards, ShardFactory factory, RunOptions options = {});

}  // namespace coil::net

#endif  // COIL_NET_SHARDED_H_
