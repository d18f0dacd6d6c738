// The workloads that libuv, which has callbacks and no tasks, can do: W3b, W6a,
// W6b, W7a, W7b. From Debian's libuv1-dev; tagged manual.

#include <uv.h>

#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "coil/tests/benchmarks/workload.h"

namespace coil::bench {
namespace {

class Loop {
 public:
  Loop() { uv_loop_init(&loop_); }
  ~Loop() { uv_loop_close(&loop_); }
  uv_loop_t* get() { return &loop_; }
  void Run() { uv_run(&loop_, UV_RUN_DEFAULT); }

 private:
  uv_loop_t loop_;
};

void W3b(benchmark::State& state) {
  constexpr int kN = 1000;
  static int counts[1000];
  RunBatches(state, 1000 * kN, [] {
    Loop loop;
    std::vector<uv_idle_t> idles(1000);
    for (int i = 0; i < 1000; ++i) {
      counts[i] = 0;
      uv_idle_init(loop.get(), &idles[i]);
      idles[i].data = &counts[i];
      uv_idle_start(&idles[i], [](uv_idle_t* handle) {
        if (++*static_cast<int*>(handle->data) == kN) {
          uv_close(reinterpret_cast<uv_handle_t*>(handle), nullptr);
        }
      });
    }
    loop.Run();
  });
}
BENCHMARK(W3b)->Unit(benchmark::kMillisecond);

void Nothing(uv_timer_t*) {}

void W6a(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    Loop loop;
    Xorshift random;
    std::vector<uv_timer_t> timers(kN);
    for (uv_timer_t& timer : timers) {
      uv_timer_init(loop.get(), &timer);
      uv_timer_start(&timer, Nothing, random.Next() % 1000, 0);
    }
    loop.Run();
    for (uv_timer_t& timer : timers) {
      uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
    }
    loop.Run();
  });
}
BENCHMARK(W6a)->Unit(benchmark::kMillisecond)->Iterations(1);

void W6b(benchmark::State& state) {
  constexpr int kN = 1000000;
  RunBatches(state, kN, [] {
    Loop loop;
    uv_timer_t timer;
    uv_timer_init(loop.get(), &timer);
    for (int i = 0; i < kN; ++i) {
      uv_timer_start(&timer, Nothing, 1000, 0);
      uv_timer_stop(&timer);
    }
    uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
    loop.Run();
  });
}
BENCHMARK(W6b)->Unit(benchmark::kMillisecond);

// libuv coalesces: a counter under a lock stands in for the payload.
struct Posts {
  static constexpr int kN = 500000;
  uv_async_t async;
  uv_mutex_t mutex;
  int pending = 0;
  int received = 0;
};
void W7a(benchmark::State& state) {
  RunBatches(state, Posts::kN, [] {
    Loop loop;
    Posts posts;
    uv_mutex_init(&posts.mutex);
    posts.async.data = &posts;
    uv_async_init(loop.get(), &posts.async, [](uv_async_t* async) {
      auto* posts = static_cast<Posts*>(async->data);
      uv_mutex_lock(&posts->mutex);
      posts->received += posts->pending;
      posts->pending = 0;
      uv_mutex_unlock(&posts->mutex);
      if (posts->received == Posts::kN) {
        uv_close(reinterpret_cast<uv_handle_t*>(async), nullptr);
      }
    });
    std::thread poster([&] {
      for (int i = 0; i < Posts::kN; ++i) {
        uv_mutex_lock(&posts.mutex);
        ++posts.pending;
        uv_mutex_unlock(&posts.mutex);
        uv_async_send(&posts.async);
      }
    });
    loop.Run();
    poster.join();
    uv_mutex_destroy(&posts.mutex);
  });
}
BENCHMARK(W7a)->Unit(benchmark::kMillisecond)->UseRealTime();

void W7b(benchmark::State& state) {
  constexpr int kN = 50000;
  static int left;
  static uv_loop_t* current;
  RunBatches(state, kN, [] {
    Loop loop;
    current = loop.get();
    left = kN;
    static uv_after_work_cb next = [](uv_work_t* work, int) {
      if (--left > 0) uv_queue_work(current, work, [](uv_work_t*) {}, next);
    };
    uv_work_t work;
    uv_queue_work(loop.get(), &work, [](uv_work_t*) {}, next);
    loop.Run();
  });
}
BENCHMARK(W7b)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace coil::bench
