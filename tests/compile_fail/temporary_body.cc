// Helpers that are awaited on the spot: g++ 12 would destroy what a temporary
// lambda captures twice, so there they refuse it. Captures by reference and
// names are fine. COMPILE_FAIL says which helper.
// EXPECT-ERROR-GCC-12: the captures of a temporary lambda .* twice[.] Name the

#include <exception>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "coil/net/streams.h"
#include "coil/task/finally.h"
#include "coil/task/task_group.h"
#include "coil/task/to_thread.h"
#include "coil/task/with.h"
#include "coil/timers/timeout.h"

class Manager {
 public:
  coil::Co<void> AEnter();
  coil::Co<void> AExit(std::exception_ptr);
};

#ifndef COMPILE_FAIL
#define COMPILE_FAIL 0
#endif

coil::Co<void> Use(Manager& manager, std::string s) {
#if COMPILE_FAIL == 1
  co_await coil::With(manager, [s]() -> coil::Co<void> { co_return; });
#elif COMPILE_FAIL == 2
  co_await coil::WithTaskGroup(
      [s](coil::TaskGroup&) -> coil::Co<void> { co_return; });
#elif COMPILE_FAIL == 3
  co_await coil::Finally([s] {}, [] {});
#elif COMPILE_FAIL == 4
  co_await coil::Finally([] {}, [s] {});
#elif COMPILE_FAIL == 5
  co_await coil::ToThread([s] { return s.size(); });
#elif COMPILE_FAIL == 6
  co_await coil::WithTimeout(absl::Seconds(1),
                             [s]() -> coil::Co<void> { co_return; });
#elif COMPILE_FAIL == 7
  co_await coil::net::StartServer(
      [s](coil::net::StreamReader, coil::net::StreamWriter) -> coil::Co<void> {
        co_return;
      },
      "127.0.0.1", 0);
#elif COMPILE_FAIL == 8
  co_await coil::net::StartUnixServer(
      [s](coil::net::StreamReader, coil::net::StreamWriter) -> coil::Co<void> {
        co_return;
      },
      "@name");
#endif
  auto named = [s]() -> coil::Co<void> { co_return; };
  co_await coil::With(manager, named);
  co_await coil::With(manager, [&s]() -> coil::Co<void> { co_return; });
  auto serve = [s](coil::net::StreamReader,
                   coil::net::StreamWriter) -> coil::Co<void> { co_return; };
  co_await coil::net::StartServer(serve, "127.0.0.1", 0);
  coil::net::ConnectionHandler handler = serve;
  co_await coil::net::StartUnixServer(std::move(handler), "@name");
}
