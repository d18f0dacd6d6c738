// The workloads W1-W7 on asio's coroutines, from Debian's libasio-dev: the peer
// that most C++ programs use today. Tagged manual: `//...` needs no asio.

#define ASIO_STANDALONE 1
#define ASIO_HAS_CO_AWAIT 1
#define ASIO_HAS_STD_COROUTINE 1
#include <asio.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/experimental/channel.hpp>
#include <chrono>
#include <memory>
#include <thread>

#include "benchmark/benchmark.h"
#include "coil/tests/benchmarks/workload.h"

namespace coil::bench {
namespace {

using asio::awaitable;
using asio::co_spawn;
using asio::detached;
using asio::use_awaitable;
using Channel = asio::experimental::channel<void(asio::error_code, long)>;

[[gnu::noinline]] awaitable<int> Child(int i) { co_return i + 1; }

awaitable<void> AwaitChildren(int n) {
  long sum = 0;
  for (int i = 0; i < n; ++i) sum += co_await Child(i);
  benchmark::DoNotOptimize(sum);
}
void W1a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    co_spawn(context, AwaitChildren(kN), detached);
    context.run();
  });
}
BENCHMARK(W1a)->Unit(benchmark::kMillisecond);

awaitable<void> AwaitSpawned(int n) {
  auto executor = co_await asio::this_coro::executor;
  long sum = 0;
  for (int i = 0; i < n; ++i) {
    sum += co_await co_spawn(executor, Child(i), use_awaitable);
  }
  benchmark::DoNotOptimize(sum);
}
void W1b(benchmark::State& state) {
  constexpr int kN = 100000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    co_spawn(context, AwaitSpawned(kN), detached);
    context.run();
  });
}
BENCHMARK(W1b)->Unit(benchmark::kMillisecond);

awaitable<void> SpawnMany(int n, int rounds) {
  auto executor = co_await asio::this_coro::executor;
  for (int round = 0; round < rounds; ++round) {
    int left = n;
    long sum = 0;
    asio::steady_timer all(executor,
                           std::chrono::steady_clock::time_point::max());
    for (int i = 0; i < n; ++i) {
      co_spawn(executor, Child(i), [&](std::exception_ptr, int value) {
        sum += value;
        if (--left == 0) all.cancel();
      });
    }
    asio::error_code ignored;
    co_await all.async_wait(asio::redirect_error(use_awaitable, ignored));
    benchmark::DoNotOptimize(sum);
  }
}
void W2(benchmark::State& state) {
  constexpr int kN = 100000;
  RunBatches(state, kN * 2, [] {
    asio::io_context context(1);
    co_spawn(context, SpawnMany(kN, 2), detached);
    context.run();
  });
}
BENCHMARK(W2)->Unit(benchmark::kMillisecond);

awaitable<void> Ping(Channel& out, Channel& in, int n) {
  for (int i = 0; i < n; ++i) {
    co_await out.async_send({}, i, use_awaitable);
    co_await in.async_receive(use_awaitable);
  }
}
awaitable<void> Pong(Channel& in, Channel& out, int n) {
  for (int i = 0; i < n; ++i) {
    co_await in.async_receive(use_awaitable);
    co_await out.async_send({}, i, use_awaitable);
  }
}
void W3a(benchmark::State& state) {
  constexpr int kN = 100000;
  RunBatches(state, 2 * kN, [] {
    asio::io_context context(1);
    Channel there(context, 1);
    Channel back(context, 1);
    co_spawn(context, Ping(there, back, kN), detached);
    co_spawn(context, Pong(there, back, kN), detached);
    context.run();
  });
}
BENCHMARK(W3a)->Unit(benchmark::kMillisecond);

awaitable<void> Yielder(int n) {
  auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < n; ++i) co_await asio::post(executor, use_awaitable);
}
void W3b(benchmark::State& state) {
  constexpr int kN = 200;
  RunBatches(state, 1000 * kN, [] {
    asio::io_context context(1);
    for (int i = 0; i < 1000; ++i) co_spawn(context, Yielder(kN), detached);
    context.run();
  });
}
BENCHMARK(W3b)->Unit(benchmark::kMillisecond);

// asio's fast idiom: try first, suspend only if that fails.
awaitable<void> Produce(Channel& channel, long n) {
  for (long i = 0; i < n; ++i) {
    if (!channel.try_send(asio::error_code{}, i)) {
      co_await channel.async_send({}, i, use_awaitable);
    }
  }
}
awaitable<void> Consume(Channel& channel, long n) {
  long sum = 0;
  for (long i = 0; i < n; ++i) {
    if (!channel.try_receive([&](asio::error_code, long v) { sum += v; })) {
      sum += co_await channel.async_receive(use_awaitable);
    }
  }
  benchmark::DoNotOptimize(sum);
}
void PassThroughChannel(int pairs, long n) {
  asio::io_context context(1);
  Channel channel(context, 128);
  for (int i = 0; i < pairs; ++i) {
    co_spawn(context, Produce(channel, n / pairs), detached);
    co_spawn(context, Consume(channel, n / pairs), detached);
  }
  context.run();
}
void W4a(benchmark::State& state) {
  RunBatches(state, 1000000, [] { PassThroughChannel(1, 1000000); });
}
BENCHMARK(W4a)->Unit(benchmark::kMillisecond);
void W4b(benchmark::State& state) {
  RunBatches(state, 1000000, [] { PassThroughChannel(10, 1000000); });
}
BENCHMARK(W4b)->Unit(benchmark::kMillisecond);

// asio has no asynchronous lock: a channel of one serves.
awaitable<void> LockUnlock(Channel& lock, int n, bool yield, long& count) {
  auto executor = co_await asio::this_coro::executor;
  for (int i = 0; i < n; ++i) {
    if (!lock.try_send(asio::error_code{}, 1L)) {
      co_await lock.async_send({}, 1, use_awaitable);
    }
    ++count;
    if (yield) co_await asio::post(executor, use_awaitable);
    lock.try_receive([](auto...) {});
  }
}
void Contend(int n, bool yield) {
  asio::io_context context(1);
  Channel lock(context, 1);
  long count = 0;
  for (int i = 0; i < 100; ++i) {
    co_spawn(context, LockUnlock(lock, n, yield, count), detached);
  }
  context.run();
  benchmark::DoNotOptimize(count);
}
void W5a(benchmark::State& state) {
  RunBatches(state, 100 * 5000, [] { Contend(5000, false); });
}
BENCHMARK(W5a)->Unit(benchmark::kMillisecond);
void W5b(benchmark::State& state) {
  RunBatches(state, 100 * 1000, [] { Contend(1000, true); });
}
BENCHMARK(W5b)->Unit(benchmark::kMillisecond);

awaitable<void> SleepOnce(std::chrono::nanoseconds delay) {
  asio::steady_timer timer(co_await asio::this_coro::executor, delay);
  co_await timer.async_wait(use_awaitable);
}
void W6a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    Xorshift random;
    for (int i = 0; i < kN; ++i) {
      co_spawn(context,
               SleepOnce(std::chrono::nanoseconds(random.Next() % 1000000000u)),
               detached);
    }
    context.run();
  });
}
BENCHMARK(W6a)->Unit(benchmark::kMillisecond)->Iterations(1);

void W6b(benchmark::State& state) {
  constexpr int kN = 200000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    asio::steady_timer timer(context);
    for (int i = 0; i < kN; ++i) {
      timer.expires_after(std::chrono::seconds(1));
      timer.async_wait([](asio::error_code) {});
      timer.cancel();
      if (i % 64 == 63) {
        context.restart();
        context.poll();
      }
    }
  });
}
BENCHMARK(W6b)->Unit(benchmark::kMillisecond);

awaitable<void> Timeouts(int n) {
  using namespace asio::experimental::awaitable_operators;
  asio::steady_timer timer(co_await asio::this_coro::executor);
  for (int i = 0; i < n; ++i) {
    timer.expires_after(std::chrono::seconds(1));
    auto result = co_await (Child(i) || timer.async_wait(use_awaitable));
    benchmark::DoNotOptimize(result.index());
  }
}
void W6c(benchmark::State& state) {
  constexpr int kN = 50000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    co_spawn(context, Timeouts(kN), detached);
    context.run();
  });
}
BENCHMARK(W6c)->Unit(benchmark::kMillisecond);

void W7a(benchmark::State& state) {
  constexpr int kN = 500000;
  RunBatches(state, kN, [] {
    asio::io_context context(1);
    int received = 0;
    auto work = std::make_unique<
        asio::executor_work_guard<asio::io_context::executor_type>>(
        context.get_executor());
    std::thread poster([&] {
      for (int i = 0; i < kN; ++i) {
        asio::post(context, [&] {
          if (++received == kN) work.reset();
        });
      }
    });
    context.run();
    poster.join();
  });
}
BENCHMARK(W7a)->Unit(benchmark::kMillisecond)->UseRealTime();

awaitable<void> RoundTrips(asio::thread_pool& pool, int n) {
  long sum = 0;
  for (int i = 0; i < n; ++i) {
    sum += co_await co_spawn(pool, Child(i), use_awaitable);
  }
  benchmark::DoNotOptimize(sum);
}
void W7b(benchmark::State& state) {
  constexpr int kN = 50000;
  RunBatches(state, kN, [] {
    asio::thread_pool pool(1);
    asio::io_context context(1);
    co_spawn(context, RoundTrips(pool, kN), detached);
    context.run();
  });
}
BENCHMARK(W7b)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace coil::bench
