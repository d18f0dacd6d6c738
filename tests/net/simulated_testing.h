// What the tests of the simulated network share.

#ifndef COIL_TESTS_NET_SIMULATED_TESTING_H_
#define COIL_TESTS_NET_SIMULATED_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/random.h"
#include "coil/loop/os_error.h"
#include "coil/net/simulated_network.h"
#include "coil/net/streams.h"
#include "coil/task/co.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil_testing {

// A link on which every packet takes the same time.
inline coil::net::SimulatedLink LinkOf(absl::Duration latency) {
  return coil::net::SimulatedLink().Latency(latency, latency);
}

// Bytes of which each depends on its place: a byte that is lost, doubled or
// moved does not go unseen.
inline std::string Pattern(size_t n, uint64_t seed = 0) {
  std::string data(n, '\0');
  coil::internal::Random random(seed);
  for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
    const uint64_t part = random.Next();
    std::memcpy(data.data() + i, &part, std::min(sizeof(part), n - i));
  }
  return data;
}

// Answers with what comes, until the end or an error.
inline coil::Co<void> EchoBytes(coil::net::StreamReader reader,
                                coil::net::StreamWriter writer) {
  try {
    for (;;) {
      const std::string_view data = co_await reader.Peek();
      if (data.empty()) break;
      co_await writer.Write(data);
      reader.Consume(data.size());
    }
  } catch (const coil::OsError&) {
    // The client has gone.
  }
}

// The errno that `awaitable` fails with; 0 if it does not.
template <class A>
coil::Co<int> ErrnoOf(A awaitable) {
  int error = 0;
  try {
    co_await std::move(awaitable);
  } catch (const coil::OsError& e) {
    error = e.Errno();
  }
  co_return error;
}

// Reads until the end or an error, which is its errno.
struct Received {
  Received() = default;
  std::string data;
  int error = 0;
};
inline coil::Co<Received> ReceiveAll(coil::net::StreamReader reader) {
  Received received;
  try {
    for (;;) {
      const std::string_view data = co_await reader.Peek();
      if (data.empty()) break;
      received.data += data;
      reader.Consume(data.size());
    }
  } catch (const coil::OsError& e) {
    received.error = e.Errno();
  }
  co_return received;
}

// The body of a test, and time for what it leaves to come to its end: servers
// hear of their clients' ends a little later.
inline coil::Co<void> Settled(coil::Co<void> (*body)()) {
  co_await body();
  co_await coil::Sleep(absl::Hours(2));
}

inline coil::LoopTime LoopNow() { return coil::EventLoop::Current().Now(); }

}  // namespace coil_testing

// As CORO_TEST, and then two hours of virtual time, after which nothing may be
// left over.
#define SIMULATED_TEST(suite, name)                                    \
  static ::coil::Co<void> SimulatedTest_##suite##_##name();            \
  TEST(suite, name) {                                                  \
    ::coil::RunCoroTest([] {                                           \
      return ::coil_testing::Settled(&SimulatedTest_##suite##_##name); \
    });                                                                \
  }                                                                    \
  static ::coil::Co<void> SimulatedTest_##suite##_##name()

#endif  // COIL_TESTS_NET_SIMULATED_TESTING_H_
