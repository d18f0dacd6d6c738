// With() and Finally(): what runs, in which order, and whose error wins.

#include "coil/task/with.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "coil/task/finally.h"
#include "coil/task/future.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

using Log = std::vector<std::string>;

std::string TextOf(const std::exception_ptr& error) {
  if (error == nullptr) return "none";
  try {
    std::rethrow_exception(error);
  } catch (const CancelledError& e) {
    return "cancelled:" + e.message();
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "other";
  }
}

// Writes down what happens to it; each step takes a second.
class Recorder {
 public:
  explicit Recorder(Log* log, std::string name = "")
      : log_(log), name_(std::move(name)) {}
  Co<int> AEnter() {
    log_->push_back(name_ + "enter");
    co_await Sleep(absl::Seconds(1));
    log_->push_back(name_ + "entered");
    co_return 7;
  }
  Co<void> AExit(std::exception_ptr error) {
    log_->push_back(name_ + "exit:" + TextOf(error));
    co_await Sleep(absl::Seconds(1));
    log_->push_back(name_ + "exited");
  }

 private:
  Log* log_;
  std::string name_;
};

class Suppressing {
 public:
  explicit Suppressing(bool drop) : drop_(drop) {}
  Co<void> AEnter() { co_return; }
  Co<bool> AExit(std::exception_ptr error) {
    seen = TextOf(error);
    co_return drop_;
  }
  std::string seen;

 private:
  bool drop_;
};

// AExit throws.
class BadExit {
 public:
  Co<void> AEnter() { co_return; }
  Co<void> AExit(std::exception_ptr) {
    co_await Yield();
    throw std::logic_error("exit failed");
  }
};

class BadEnter {
 public:
  Co<void> AEnter() {
    co_await Yield();
    throw std::runtime_error("enter failed");
  }
  Co<void> AExit(std::exception_ptr) {
    exited = true;
    co_return;
  }
  bool exited = false;
};

template <class R>
class Gives {
 public:
  explicit Gives(R value) : value_(std::forward<R>(value)) {}
  Co<R> AEnter() { co_return std::forward<R>(value_); }
  Co<void> AExit(std::exception_ptr) { co_return; }

 private:
  R value_;
};

TEST(WithTest, EntersRunsTheBodyAndLeavesInThisOrder) {
  Log log;
  auto main = [&]() -> Co<int> {
    Recorder manager(&log);
    co_return co_await With(manager, [&](int entered) -> Co<int> {
      log.push_back("body");
      co_await Sleep(absl::Seconds(1));
      co_return entered + 1;
    });
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 8);
  EXPECT_EQ(log, (Log{"enter", "entered", "body", "exit:none", "exited"}));
}

TEST(WithTest, ABodyMayBeAPlainFunction) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    const int value =
        co_await With(manager, [](int entered) { return entered * 2; });
    EXPECT_EQ(value, 14);
    bool ran = false;
    co_await With(manager, [&](int) { ran = true; });
    EXPECT_TRUE(ran);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ABodyMayIgnoreWhatEnterGives) {
  Log log;
  auto main = [&]() -> Co<int> {
    Recorder manager(&log);
    co_return co_await With(manager, [&]() -> Co<int> { co_return 3; });
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 3);
}

TEST(WithTest, ErrorOfTheBodyIsGivenToExitAndThrown) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    std::string what;
    try {
      co_await With(manager, [&](int) -> Co<int> {
        co_await Yield();
        throw std::runtime_error("body failed");
      });
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "body failed");
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"enter", "entered", "exit:body failed", "exited"}));
}

TEST(WithTest, ErrorOfAPlainBodyIsGivenToExit) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    EXPECT_THROW(co_await With(manager,
                               [&](int i) {
                                 if (i == 7) throw std::out_of_range("plain");
                               }),
                 std::out_of_range);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log.at(2), "exit:plain");
}

TEST(WithTest, ErrorOfAFunctionThatWouldReturnACoIsGivenToExit) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    auto body = [&](int) -> Co<void> {
      // No coroutine: throws before there is one.
      throw std::out_of_range("before the coroutine");
    };
    EXPECT_THROW(co_await With(manager, body), std::out_of_range);
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log.at(2), "exit:before the coroutine");
}

TEST(WithTest, ErrorOfExitReplacesTheErrorOfTheBody) {
  auto main = []() -> Co<std::string> {
    BadExit manager;
    std::string what;
    try {
      co_await With(manager, []() -> Co<void> {
        co_await Yield();
        throw std::runtime_error("body failed");
      });
    } catch (const std::exception& e) {
      what = e.what();
    }
    co_return what;
  };
  EXPECT_EQ(coil::Run(main, kVirtual), "exit failed");
}

TEST(WithTest, ErrorOfExitReplacesTheResultOfTheBody) {
  auto main = []() -> Co<void> {
    BadExit manager;
    EXPECT_THROW(co_await With(manager, [] { return 1; }), std::logic_error);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ErrorOfEnterSkipsBodyAndExit) {
  auto main = []() -> Co<void> {
    BadEnter manager;
    bool ran = false;
    EXPECT_THROW(co_await With(manager, [&] { ran = true; }),
                 std::runtime_error);
    EXPECT_FALSE(ran);
    EXPECT_FALSE(manager.exited);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ExitThatReturnsTrueDropsTheError) {
  auto main = []() -> Co<void> {
    Suppressing manager(true);
    co_await With(manager, []() -> Co<void> {
      co_await Yield();
      throw std::runtime_error("dropped");
    });
    EXPECT_EQ(manager.seen, "dropped");
    Suppressing passes(false);
    EXPECT_THROW(co_await With(passes, [] { throw std::range_error("no"); }),
                 std::range_error);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ExitThatReturnsTrueWithoutAnErrorChangesNothing) {
  auto main = []() -> Co<void> {
    Suppressing manager(true);
    co_await With(manager, [] {});
    EXPECT_EQ(manager.seen, "none");
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ExitMayDropACancellation) {
  auto main = []() -> Co<void> {
    bool after = false;
    Task<void> task = CreateTask([&after]() -> Co<void> {
      Suppressing manager(true);
      co_await With(manager, []() -> Co<void> {
        co_await Sleep(absl::InfiniteDuration());
      });
      EXPECT_EQ(manager.seen, "cancelled:stop");
      after = true;
    });
    co_await Yield();
    task.Cancel("stop");
    co_await task;
    EXPECT_TRUE(after);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, CancelOfTheBodyRunsExitAndIsThrown) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await With(manager, [&](int) -> Co<void> {
        co_await Sleep(absl::InfiniteDuration());
      });
    });
    co_await Sleep(absl::Seconds(2));
    task.Cancel("stop");
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"enter", "entered", "exit:cancelled:stop", "exited"}));
}

TEST(WithTest, CancelWhileEnteringRunsNoExit) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    Task<void> task = CreateTask([&]() -> Co<void> {
      co_await With(manager, [&](int) { log.push_back("body"); });
    });
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"enter"}));
}

TEST(WithTest, CancelWhileExitingIsThrownInExit) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    Task<int> task = CreateTask([&]() -> Co<int> {
      co_return co_await With(manager, [&](int i) { return i; });
    });
    co_await Sleep(absl::Milliseconds(1500));
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"enter", "entered", "exit:none"}));
}

TEST(WithTest, AnRvalueManagerLivesUntilExitIsDone) {
  auto main = []() -> Co<void> {
    auto alive = std::make_shared<int>(1);
    class Holder {
     public:
      explicit Holder(std::shared_ptr<int> p) : p_(std::move(p)) {}
      Co<void> AEnter() { co_return; }
      Co<void> AExit(std::exception_ptr) {
        co_await Yield();
        *p_ = 2;
      }

     private:
      std::shared_ptr<int> p_;
    };
    co_await With(Holder(alive), [&]() -> Co<void> {
      EXPECT_EQ(alive.use_count(), 2);
      co_await Yield();
      EXPECT_EQ(alive.use_count(), 2);
    });
    EXPECT_EQ(*alive, 2);
    EXPECT_EQ(alive.use_count(), 1);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, AnLvalueManagerIsReferredTo) {
  auto main = []() -> Co<void> {
    Suppressing manager(false);
    Suppressing copy = manager;
    co_await With(manager, [] {});
    EXPECT_EQ(manager.seen, "none");
    EXPECT_EQ(copy.seen, "");
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, AnLvalueBodyIsReferredTo) {
  auto main = []() -> Co<void> {
    Suppressing manager(false);
    auto text = std::make_shared<std::string>("captured");
    auto body = [text]() -> Co<void> {
      co_await Yield();
      EXPECT_EQ(*text, "captured");
    };
    co_await With(manager, body);
    EXPECT_EQ(text.use_count(), 2);
    co_await With(manager, body);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ARvalueBodyIsKeptInTheFrame) {
  // A Co that is started later: the temporary body is gone by then.
  auto main = []() -> Co<void> {
    int total = 0;
    Suppressing manager(false);
    Co<void> later = With(manager, [&total]() -> Co<void> {
      co_await Yield();
      ++total;
    });
    co_await Yield();
    co_await std::move(later);
    EXPECT_EQ(total, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, TheBodyTakesTheResultByReferenceOrByMove) {
  auto main = []() -> Co<void> {
    int target = 1;
    co_await With(Gives<int&>(target), [](int& i) { i = 5; });
    EXPECT_EQ(target, 5);
    Gives<std::unique_ptr<int>> pointer(std::make_unique<int>(4));
    const int value = co_await With(
        pointer, [](std::unique_ptr<int> p) -> Co<int> { co_return *p; });
    EXPECT_EQ(value, 4);
    Gives<std::unique_ptr<int>> again(std::make_unique<int>(6));
    co_await With(again, [](std::unique_ptr<int>& p) -> Co<void> {
      co_await Yield();
      EXPECT_EQ(*p, 6);
    });
    Gives<std::string> text("hello");
    co_await With(text, [](const std::string& s) -> Co<void> {
      co_await Yield();
      EXPECT_EQ(s, "hello");
    });
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, WhatEnterGaveLivesUntilExitIsDone) {
  auto main = []() -> Co<void> {
    auto inner = std::make_shared<int>(1);
    class Lender {
     public:
      explicit Lender(std::shared_ptr<int> p) : p_(p), weak_(p) {}
      Co<std::shared_ptr<int>> AEnter() { co_return std::move(p_); }
      Co<void> AExit(std::exception_ptr) {
        co_await Yield();
        EXPECT_FALSE(weak_.expired());
      }

     private:
      std::shared_ptr<int> p_;
      std::weak_ptr<int> weak_;
    };
    Lender lender(inner);
    inner.reset();
    co_await With(lender, [](std::shared_ptr<int>& p) -> Co<void> {
      co_await Yield();
      EXPECT_EQ(*p, 1);
    });
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, ResultsMayBeMoveOnlyReferencesOrTasks) {
  auto main = []() -> Co<void> {
    Suppressing manager(false);
    class Plain {
     public:
      Co<void> AEnter() { co_return; }
      Co<void> AExit(std::exception_ptr) { co_return; }
    } plain;
    std::unique_ptr<int> moved =
        co_await With(plain, []() -> Co<std::unique_ptr<int>> {
          co_return std::make_unique<int>(3);
        });
    EXPECT_EQ(*moved, 3);
    int target = 0;
    int& reference =
        co_await With(plain, [&]() -> Co<int&> { co_return target; });
    EXPECT_EQ(&reference, &target);
    int& from_plain = co_await With(plain, [&]() -> int& { return target; });
    EXPECT_EQ(&from_plain, &target);
    Task<int> task = co_await With(
        plain, [] { return CreateTask([]() -> Co<int> { co_return 9; }); });
    EXPECT_EQ(co_await task, 9);
  };
  coil::Run(main, kVirtual);
}

TEST(WithTest, NestsAndUnwindsFromTheInside) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder outer(&log, "outer ");
    Recorder inner(&log, "inner ");
    try {
      co_await With(outer, [&](int) -> Co<void> {
        co_await With(inner, [&](int) -> Co<void> {
          co_await Yield();
          throw std::runtime_error("deep");
        });
      });
    } catch (const std::runtime_error&) {
      log.push_back("caught");
    }
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"outer enter", "outer entered", "inner enter",
                      "inner entered", "inner exit:deep", "inner exited",
                      "outer exit:deep", "outer exited", "caught"}));
}

TEST(WithTest, AManagerMayBeUsedAgain) {
  Log log;
  auto main = [&]() -> Co<void> {
    Recorder manager(&log);
    for (int i = 0; i < 2; ++i) co_await With(manager, [](int) {});
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log.size(), 8u);
}

TEST(WithTest, DestroyedInTheBodyRunsDestructorsAndNoExit) {
  Log log;
  auto alive = std::make_shared<int>(0);
  {
    Runner runner(kVirtual);
    Recorder manager(&log);
    auto body = [&](int) -> Co<void> {
      std::shared_ptr<int> held = alive;
      co_await Sleep(absl::InfiniteDuration());
    };
    auto main = [&]() -> Co<void> {
      CreateTask([&]() -> Co<void> { co_await With(manager, body); });
      co_await Sleep(absl::Seconds(5));
    };
    runner.Run(main);
    EXPECT_EQ(alive.use_count(), 2);
    runner.Loop().SetExceptionHandler([](const ExceptionContext&) {});
    runner.Loop().Close();
    EXPECT_EQ(alive.use_count(), 1);
  }
  EXPECT_EQ(log, (Log{"enter", "entered"}));
}

// ------------------------------------------------------------------- Finally

TEST(FinallyTest, RunsTheCleanupAfterTheBody) {
  Log log;
  auto main = [&]() -> Co<int> {
    co_return co_await Finally(
        [&]() -> Co<int> {
          co_await Yield();
          log.push_back("body");
          co_return 5;
        },
        [&]() -> Co<void> {
          co_await Yield();
          log.push_back("cleanup");
        });
  };
  EXPECT_EQ(coil::Run(main, kVirtual), 5);
  EXPECT_EQ(log, (Log{"body", "cleanup"}));
}

TEST(FinallyTest, RunsTheCleanupAfterAnError) {
  auto main = []() -> Co<void> {
    bool cleaned = false;
    auto cleanup = [&]() -> Co<void> {
      co_await Yield();
      cleaned = true;
    };
    EXPECT_THROW(
        co_await Finally([] { throw std::range_error("no"); }, cleanup),
        std::range_error);
    EXPECT_TRUE(cleaned);
  };
  coil::Run(main, kVirtual);
}

TEST(FinallyTest, RunsAnAwaitingCleanupAfterACancel) {
  auto main = []() -> Co<void> {
    bool cleaned = false;
    Task<void> task = CreateTask([&cleaned]() -> Co<void> {
      co_await Finally(
          []() -> Co<void> { co_await Sleep(absl::InfiniteDuration()); },
          [&cleaned]() -> Co<void> {
            co_await Sleep(absl::Seconds(1));
            cleaned = true;
          });
    });
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_TRUE(cleaned);
  };
  coil::Run(main, kVirtual);
}

TEST(FinallyTest, ErrorOfTheCleanupReplacesWhatTheBodyGave) {
  auto main = []() -> Co<void> {
    auto cleanup = []() -> Co<void> {
      co_await Yield();
      throw std::logic_error("cleanup");
    };
    EXPECT_THROW(co_await Finally([] { return 1; }, cleanup), std::logic_error);
    EXPECT_THROW(
        co_await Finally([] { throw std::runtime_error("body"); }, cleanup),
        std::logic_error);
  };
  coil::Run(main, kVirtual);
}

TEST(FinallyTest, ACancelDuringTheCleanupCutsItShort) {
  auto main = []() -> Co<void> {
    bool cleaned = false;
    Task<void> task = CreateTask([&cleaned]() -> Co<void> {
      co_await Finally([] {},
                       [&cleaned]() -> Co<void> {
                         co_await Sleep(absl::Seconds(1));
                         cleaned = true;
                       });
    });
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_FALSE(cleaned);
  };
  coil::Run(main, kVirtual);
}

TEST(FinallyTest, TheCleanupMayBeAPlainFunction) {
  auto main = []() -> Co<void> {
    int cleaned = 0;
    std::unique_ptr<int> result = co_await Finally(
        [] { return std::make_unique<int>(1); }, [&] { ++cleaned; });
    EXPECT_EQ(*result, 1);
    EXPECT_EQ(cleaned, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(FinallyTest, NestsFromTheInsideOut) {
  Log log;
  auto main = [&]() -> Co<void> {
    co_await Finally(
        [&]() -> Co<void> {
          co_await Finally([&] { log.push_back("body"); },
                           [&] { log.push_back("inner"); });
        },
        [&] { log.push_back("outer"); });
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"body", "inner", "outer"}));
}

TEST(FinallyTest, CancelledBeforeTheFirstStepRunsNeither) {
  Log log;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask(Finally([&] { log.push_back("body"); },
                                         [&] { log.push_back("cleanup"); }));
    task.Cancel();
    co_await Settle(task);
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(log.empty());
}

// ---------------------------------------------------------------- the checks

TEST(BodyTest, AnRvalueWithADestructorIsRefusedWhereItWouldDieTwice) {
  auto text = std::make_shared<int>(1);
  auto by_value = [text]() -> Co<void> {
    static_cast<void>(text);
    co_return;
  };
  auto by_reference = [&text]() -> Co<void> {
    static_cast<void>(text);
    co_return;
  };
  EXPECT_EQ(internal::kBodyIsSafe<decltype(by_value)>,
            !internal::kClosuresDieTwice);
  EXPECT_TRUE(internal::kBodyIsSafe<decltype((by_value))>);
  EXPECT_TRUE(internal::kBodyIsSafe<decltype(by_reference)>);
}

TEST(BodyTest, ARvalueIsStoredByValueAndAnLvalueByReference) {
  auto body = [] {};
  using Body = decltype(body);
  static_assert(std::is_same_v<internal::StoredBody<Body>, Body>);
  static_assert(std::is_same_v<internal::StoredBody<Body&>, Body&>);
  static_assert(std::is_same_v<internal::StoredBody<const Body&>, const Body&>);
  static_assert(std::is_same_v<internal::StoredBody<const Body>, Body>);
}

}  // namespace
}  // namespace coil
