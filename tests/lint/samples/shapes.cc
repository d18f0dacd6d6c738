// Coroutine shapes: each marked line must be found, each other line must not.

#include "net/socket.h"  // BAD: include

struct TrivialOptions {
  int timeout = 0;
  std::string_view name = "x";
};
static_assert(std::is_trivially_destructible_v<TrivialOptions>);

Co<void> Lambdas(std::string text) {
  co_await Invoke([text]() -> Co<void> { co_return; });                    // BAD: temporary-lambda
  co_await Invoke([text = std::move(text)] { return 1; });                 // BAD: temporary-lambda
  co_await Invoke([=] { return text; });                                   // BAD: temporary-lambda
  co_await Invoke([&, text] { return text; });                             // BAD: temporary-lambda
  int n = co_await Invoke(Settle([text] { return text; }), 3);             // BAD: temporary-lambda
  Use([text] { return text; }, co_await Other());                          // BAD: temporary-lambda
  co_await Invoke([&] { return text; });
  co_await Invoke([&text, this] { return text; });
  co_await Invoke([] { return 1; });
  auto named = [text] { return text; };
  co_await Invoke(named);
  CreateTask([text]() -> Co<void> { co_await Sleep(absl::Seconds(1)); });
  // lint: allow temporary-lambda (captures one int)
  co_await Invoke([n] { return n; });
  co_await WithTaskGroup([&](TaskGroup& group) -> Co<void> {
    group.CreateTask([text]() -> Co<void> { co_return; });
    co_await Invoke([text] { return 1; });                                 // BAD: temporary-lambda
  });
  a[text] = co_await Other();
  if (auto x = co_await Invoke([text] { return text; })) {                 // BAD: temporary-lambda
    Use(x);
  }
}

Co<void> Braces() {
  co_await Wait(tasks, {.timeout = 3, .name = "x"});
  co_await Wait(tasks, {.timeout = 3, .owner = "x"});                      // BAD: braced-argument
  co_await Gather({1, 2, 3});                                              // BAD: braced-argument
  co_await Gather(first, {one, two});                                      // BAD: braced-argument
  co_await Get(ClientOptions{.owner = "x"});                               // BAD: braced-argument
  co_await Get(ClientOptions());
  co_await Get({});
  co_await Awaiter{text, 3};                                               // BAD: aggregate-awaiter
  co_await detail::Awaiter<int>{text};                                     // BAD: aggregate-awaiter
  co_await Awaiter(text, 3);
  std::vector<int> values = {1, 2, 3};
  std::vector<int> more{1, 2, 3};
  co_await Gather(values);
  for (int i : {1, 2, 3}) {
    co_await Sleep(absl::Seconds(i));
  }
  Task<int> task = CreateTask(Work(), {.owner = "x"});
}

Co<int> Ternaries(bool flag) {
  co_await Use(flag ? first : second);                                     // BAD: ternary
  std::string s = flag ? co_await One() : co_await Two();                  // BAD: ternary
  co_await Use(flag ? 1 : 2);
  co_await Use(flag ? "one" : "two");
  std::string t = flag ? first : second;
  co_return flag ? 1 : 2;
}

Co<int> Catches() {
  try {
    co_await Work();
    co_return 1;
  } catch (const Error& e) {
    if (e.code() == 3) {
      co_return 2;                                                         // BAD: co-return-in-catch
    }
    auto cleanup = []() -> Co<int> { co_return 3; };
  } catch (...) {
    co_return 4;                                                           // BAD: co-return-in-catch
  }
  co_return 5;
}

Co<int> StatementExpression() {
  int x = ({ int y = co_await Work(); y; });                               // BAD: statement-expression
  co_return x;
}

Co<void> Guards(Lock& lock, Semaphore* permits, RateLimiter& limiter) {
  co_await lock.Acquire();                                                 // BAD: dropped-guard
  co_await permits->Acquire();                                             // BAD: dropped-guard
  if (true) co_await lock.Acquire();                                       // BAD: dropped-guard
  lock.TryAcquire();                                                       // BAD: dropped-guard
  co_await limiter.Acquire(3);
  auto guard = co_await lock.Acquire();
  Lock::Guard other = co_await lock.Acquire();
  std::optional<Lock::Guard> third = lock.TryAcquire();
  co_await Use(co_await lock.Acquire());
  EXPECT_TRUE(lock.TryAcquire());
}

void Invoked(int n) {
  CreateTask([&]() -> Co<void> { co_await Use(n); }());                    // BAD: invoked-lambda
  CreateTask([]() -> Co<void> { co_return; }());
  coil::Run([&]() -> Co<void> { co_await Use(n); }());
  CreateTask([n]() -> Co<void> { co_await Use(n); });
  int m = [&] { return n + 1; }();
  std::atomic_thread_fence(std::memory_order_seq_cst);                     // BAD: fence
  // TODO: later                                                           // BAD: todo
}
