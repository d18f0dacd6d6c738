// Outcome, Settle() and AsStatus().

#include "coil/task/outcome.h"

#include <cerrno>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/task/errors.h"
#include "coil/task/future.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

Co<int> Gives(int value) {
  co_await Yield();
  co_return value;
}

Co<int> Throws(std::exception_ptr error) {
  co_await Yield();
  std::rethrow_exception(error);
}

Co<int> Fails() {
  return Throws(std::make_exception_ptr(std::range_error("no")));
}

Co<void> Forever() { co_await Sleep(absl::InfiniteDuration()); }

TEST(OutcomeTest, OfAValue) {
  auto outcome = Outcome<int>::Of(3);
  EXPECT_TRUE(outcome.Ok());
  EXPECT_FALSE(outcome.Cancelled());
  EXPECT_EQ(outcome.Exception(), nullptr);
  EXPECT_EQ(outcome.Value(), 3);
  outcome.Rethrow();
  Outcome<void>::Of().Value();
  auto pointer = Outcome<std::unique_ptr<int>>::Of(std::make_unique<int>(4));
  std::unique_ptr<int> moved = std::move(pointer).Value();
  EXPECT_EQ(*moved, 4);
  int target = 0;
  auto reference = Outcome<int&>::Of(&target);
  EXPECT_EQ(&reference.Value(), &target);
}

TEST(OutcomeTest, OfAnError) {
  auto outcome =
      Outcome<int>::OfError(std::make_exception_ptr(std::range_error("no")));
  EXPECT_FALSE(outcome.Ok());
  EXPECT_FALSE(outcome.Cancelled());
  EXPECT_NE(outcome.Exception(), nullptr);
  EXPECT_THROW(outcome.Rethrow(), std::range_error);
  EXPECT_THROW(outcome.Value(), std::range_error);
  EXPECT_THROW(std::move(outcome).Value(), std::range_error);
  auto cancelled =
      Outcome<int>::OfError(std::make_exception_ptr(CancelledError()));
  EXPECT_TRUE(cancelled.Cancelled());
}

TEST(SettleTest, GivesValuesAndErrorsOfCoroutines) {
  auto main = []() -> Co<void> {
    auto ok = co_await Settle(Gives(5));
    EXPECT_EQ(ok.Value(), 5);
    auto bad = co_await Settle(Fails());
    EXPECT_THROW(bad.Rethrow(), std::range_error);
    auto nothing = []() -> Co<void> { co_return; };
    auto empty = co_await Settle(nothing());
    EXPECT_TRUE(empty.Ok());
    auto pointer = []() -> Co<std::unique_ptr<int>> {
      co_return std::make_unique<int>(2);
    };
    auto moved = co_await Settle(pointer());
    EXPECT_EQ(*std::move(moved).Value(), 2);
    int target = 0;
    auto refer = [&]() -> Co<int&> { co_return target; };
    auto reference = co_await Settle(refer());
    EXPECT_EQ(&reference.Value(), &target);
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, TakesTasksFuturesAndLeaves) {
  auto main = []() -> Co<void> {
    Task<int> task = CreateTask(Gives(6));
    auto of_task = co_await Settle(task);
    EXPECT_EQ(of_task.Value(), 6);
    EXPECT_EQ(task.Result(), 6);  // not taken away from the other handle
    Future<int> future;
    future.SetException(std::range_error("no"));
    auto of_future = co_await Settle(future);
    EXPECT_THROW(of_future.Rethrow(), std::range_error);
    auto of_sleep = co_await Settle(Sleep(absl::Seconds(1), 7));
    EXPECT_EQ(of_sleep.Value(), 7);
    auto of_void = co_await Settle(Sleep(absl::Seconds(1)));
    EXPECT_TRUE(of_void.Ok());
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, AChildThatWasCancelledByOthersIsAnOutcome) {
  auto main = []() -> Co<void> {
    Task<void> task = CreateTask(Forever());
    EventLoop::Current().CallLater(absl::Seconds(1),
                                   [task] { task.Cancel("by others"); });
    auto outcome = co_await Settle(task);
    EXPECT_TRUE(outcome.Cancelled());
    auto throws = []() -> Co<void> {
      throw CancelledError("by itself");
      co_return;
    };
    auto inner = co_await Settle(throws());
    EXPECT_TRUE(inner.Cancelled());
    EXPECT_EQ(CurrentTask().Cancelling(), 0);
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, ACancelOfTheAwaitingTaskIsThrown) {
  auto main = []() -> Co<void> {
    for (bool of_task : {false, true}) {
      bool reached = false;
      Task<void> task = CreateTask([of_task, &reached]() -> Co<void> {
        if (of_task) {
          co_await Settle(CreateTask(Forever()));
        } else {
          co_await Settle(Forever());
        }
        reached = true;
      });
      co_await Sleep(absl::Seconds(1));
      task.Cancel("own");
      auto outcome = co_await Settle(task);
      EXPECT_TRUE(outcome.Cancelled());
      EXPECT_FALSE(reached);
    }
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, ALoopAroundItCanBeStopped) {
  auto main = []() -> Co<void> {
    int rounds = 0;
    Task<void> task = CreateTask([&rounds]() -> Co<void> {
      for (;;) {
        ++rounds;
        co_await Settle(Sleep(absl::Seconds(1)));
      }
    });
    co_await Sleep(absl::Milliseconds(3500));
    task.Cancel();
    co_await Settle(task);
    EXPECT_EQ(rounds, 4);
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, ARequestFromBeforeIsThrownToo) {
  auto main = []() -> Co<void> {
    bool reached = false;
    Task<void> task = CreateTask([&reached]() -> Co<void> {
      CurrentTask().Cancel();
      co_await Settle(Sleep(absl::Seconds(1)));
      reached = true;
    });
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_FALSE(reached);
  };
  coil::Run(main, kVirtual);
}

TEST(SettleTest, ErrorsThatItTookAreNotReported) {
  std::vector<std::string> reports;
  auto main = [&]() -> Co<void> {
    EventLoop::Current().SetExceptionHandler(
        [&](const ExceptionContext& c) { reports.push_back(c.message); });
    co_await Settle(CreateTask(Fails()));
    Future<int> future;
    future.SetException(std::range_error("no"));
    co_await Settle(future);
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(reports.empty());
}

TEST(AsStatusTest, GivesTheValueOrTheStatus) {
  auto main = []() -> Co<void> {
    absl::StatusOr<int> ok = co_await AsStatus(Gives(4));
    EXPECT_EQ(*ok, 4);
    absl::StatusOr<int> bad = co_await AsStatus(Fails());
    EXPECT_EQ(bad.status().code(), absl::StatusCode::kUnknown);
    EXPECT_NE(bad.status().message().find("no"), std::string::npos);
    absl::Status nothing = co_await AsStatus(Sleep(absl::Seconds(1)));
    EXPECT_TRUE(nothing.ok());
    auto pointer = []() -> Co<std::unique_ptr<int>> {
      co_return std::make_unique<int>(2);
    };
    absl::StatusOr<std::unique_ptr<int>> moved = co_await AsStatus(pointer());
    EXPECT_EQ(**moved, 2);
  };
  coil::Run(main, kVirtual);
}

TEST(AsStatusTest, TheTableFromExceptionToCode) {
  const std::pair<std::exception_ptr, absl::StatusCode> kTable[] = {
      {std::make_exception_ptr(TimeoutError("t")),
       absl::StatusCode::kDeadlineExceeded},
      {std::make_exception_ptr(CancelledError("c")),
       absl::StatusCode::kCancelled},
      {std::make_exception_ptr(OsError(ENOENT, "open")),
       absl::StatusCode::kNotFound},
      {std::make_exception_ptr(OsError(ECONNREFUSED, "connect")),
       absl::StatusCode::kUnavailable},
      {std::make_exception_ptr(
           std::system_error(EACCES, std::generic_category())),
       absl::StatusCode::kPermissionDenied},
      {std::make_exception_ptr(std::invalid_argument("i")),
       absl::StatusCode::kInvalidArgument},
      {std::make_exception_ptr(std::out_of_range("o")),
       absl::StatusCode::kOutOfRange},
      {std::make_exception_ptr(std::bad_alloc()),
       absl::StatusCode::kResourceExhausted},
      {std::make_exception_ptr(InvalidStateError("s")),
       absl::StatusCode::kFailedPrecondition},
      {std::make_exception_ptr(std::logic_error("l")),
       absl::StatusCode::kFailedPrecondition},
      {std::make_exception_ptr(std::runtime_error("r")),
       absl::StatusCode::kUnknown},
      {std::make_exception_ptr(7), absl::StatusCode::kUnknown},
  };
  auto main = [&]() -> Co<void> {
    for (const auto& [error, code] : kTable) {
      EXPECT_EQ(StatusOf(error).code(), code) << StatusOf(error);
      absl::StatusOr<int> result = co_await AsStatus(Throws(error));
      EXPECT_EQ(result.status().code(), code);
    }
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(StatusOf(nullptr).ok());
}

TEST(AsStatusTest, ACancelOfTheAwaitingTaskIsThrown) {
  auto main = []() -> Co<void> {
    bool reached = false;
    Task<void> task = CreateTask([&reached]() -> Co<void> {
      absl::Status status = co_await AsStatus(Forever());
      reached = status.ok();
    });
    co_await Yield();
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_FALSE(reached);
  };
  coil::Run(main, kVirtual);
}

TEST(AsStatusTest, AnErrorWithoutANumberIsNotOk) {
  auto main = []() -> Co<void> {
    const std::system_error zero(std::error_code(0, std::generic_category()),
                                 "zero");
    absl::StatusOr<int> status =
        co_await AsStatus(Throws(std::make_exception_ptr(zero)));
    EXPECT_EQ(status.status().code(), absl::StatusCode::kUnknown);
    EXPECT_EQ(StatusOf(std::make_exception_ptr(OsError(0, "read"))).code(),
              absl::StatusCode::kUnknown);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
