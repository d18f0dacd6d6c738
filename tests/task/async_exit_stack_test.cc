// AsyncExitStack: order, suppression and errors as in contextlib.

#include "coil/task/async_exit_stack.h"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/errors.h"
#include "coil/task/outcome.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/with.h"
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
  } catch (const CancelledError&) {
    return "cancelled";
  } catch (const std::exception& e) {
    return e.what();
  }
}

class Manager {
 public:
  Manager(Log* log, std::string name) : log_(log), name_(std::move(name)) {}
  Co<std::string> AEnter() {
    co_await Yield();
    log_->push_back("+" + name_);
    co_return name_;
  }
  Co<void> AExit(std::exception_ptr error) {
    co_await Yield();
    log_->push_back("-" + name_ + ":" + TextOf(error));
  }

 private:
  Log* log_;
  std::string name_;
};

class Dropper {
 public:
  explicit Dropper(Log* log) : log_(log) {}
  Co<void> AEnter() { co_return; }
  Co<bool> AExit(std::exception_ptr error) {
    log_->push_back("drop:" + TextOf(error));
    co_return true;
  }

 private:
  Log* log_;
};

TEST(AsyncExitStackTest, LeavesLastInFirstOut) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    Manager a(&log, "a");
    co_await stack.EnterAsync(a);
    stack.Callback([&] { log.push_back("plain"); });
    stack.Callback([&]() -> Co<void> {
      co_await Yield();
      log.push_back("coroutine");
    });
    stack.Push(
        [&](std::exception_ptr e) { log.push_back("push:" + TextOf(e)); });
    stack.PushAsync([&](std::exception_ptr e) -> Co<bool> {
      co_await Yield();
      log.push_back("async:" + TextOf(e));
      co_return false;
    });
    co_await stack.Close();
    EXPECT_TRUE(stack.Empty());
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+a", "async:none", "push:none", "coroutine", "plain",
                      "-a:none"}));
}

TEST(AsyncExitStackTest, EnterAsyncReturnsWhatEnterGives) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    EXPECT_EQ(co_await stack.EnterAsync(Manager(&log, "kept")), "kept");
    co_await Yield();
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+kept", "-kept:none"}));
}

TEST(AsyncExitStackTest, AnRvalueManagerLivesUntilItIsLeft) {
  auto alive = std::make_shared<int>(0);
  class Holder {
   public:
    explicit Holder(std::shared_ptr<int> p) : p_(std::move(p)) {}
    Co<void> AEnter() { co_return; }
    Co<void> AExit(std::exception_ptr) {
      co_await Yield();
      ++*p_;
    }

   private:
    std::shared_ptr<int> p_;
  };
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    co_await stack.EnterAsync(Holder(alive));
    EXPECT_EQ(alive.use_count(), 2);
    co_await stack.Close();
    EXPECT_EQ(alive.use_count(), 1);
    EXPECT_EQ(*alive, 1);
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncExitStackTest, AnErrorOfEnterPushesNothing) {
  class Bad {
   public:
    Co<void> AEnter() {
      co_await Yield();
      throw std::runtime_error("enter");
    }
    Co<void> AExit(std::exception_ptr) {
      ADD_FAILURE();
      co_return;
    }
  };
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    EXPECT_THROW(co_await stack.EnterAsync(Bad()), std::runtime_error);
    EXPECT_TRUE(stack.Empty());
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
}

TEST(AsyncExitStackTest, ACancelWhileEnteringPushesNothing) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    Manager manager(&log, "a");
    Task<void> task =
        CreateTask([&]() -> Co<void> { co_await stack.EnterAsync(manager); });
    co_await Yield();
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
    EXPECT_TRUE(stack.Empty());
  };
  coil::Run(main, kVirtual);
  EXPECT_TRUE(log.empty());
}

TEST(AsyncExitStackTest, WithLeavesTheStackWithTheErrorOfTheBody) {
  Log log;
  auto main = [&]() -> Co<void> {
    std::string what;
    try {
      AsyncExitStack stack;
      co_await With(stack, [&](AsyncExitStack& s) -> Co<void> {
        co_await s.EnterAsync(Manager(&log, "a"));
        co_await s.EnterAsync(Manager(&log, "b"));
        throw std::runtime_error("body");
      });
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "body");
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+a", "+b", "-b:body", "-a:body"}));
}

TEST(AsyncExitStackTest, WithKeepsATemporaryStack) {
  Log log;
  auto main = [&]() -> Co<void> {
    co_await With(AsyncExitStack(), [&](AsyncExitStack& s) -> Co<void> {
      co_await s.EnterAsync(Manager(&log, "a"));
    });
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+a", "-a:none"}));
}

TEST(AsyncExitStackTest, ADroppedErrorIsNotSeenByThoseBelow) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    co_await With(stack, [&](AsyncExitStack& s) -> Co<void> {
      co_await s.EnterAsync(Manager(&log, "below"));
      co_await s.EnterAsync(Dropper(&log));
      co_await s.EnterAsync(Manager(&log, "above"));
      throw std::runtime_error("body");
    });
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+below", "+above", "-above:body", "drop:body",
                      "-below:none"}));
}

TEST(AsyncExitStackTest, APushedCallbackThatReturnsTrueDropsTheError) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    co_await With(stack, [&](AsyncExitStack& s) -> Co<void> {
      s.Push([&](std::exception_ptr e) {
        log.push_back(TextOf(e));
        return true;
      });
      co_await Yield();
      throw std::runtime_error("body");
    });
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"body"}));
}

TEST(AsyncExitStackTest, AnErrorOfACallbackReplacesTheErrorForThoseBelow) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    std::string what;
    try {
      co_await With(stack, [&](AsyncExitStack& s) -> Co<void> {
        co_await s.EnterAsync(Manager(&log, "below"));
        s.Callback([] { throw std::runtime_error("second"); });
        throw std::runtime_error("first");
      });
    } catch (const std::runtime_error& e) {
      what = e.what();
    }
    EXPECT_EQ(what, "second");
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+below", "-below:second"}));
}

TEST(AsyncExitStackTest, AnErrorOfACallbackMayBeDroppedByThoseBelow) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    co_await stack.EnterAsync(Dropper(&log));
    stack.Callback([]() -> Co<void> {
      co_await Yield();
      throw std::runtime_error("callback");
    });
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"drop:callback"}));
}

TEST(AsyncExitStackTest, CloseThrowsTheLastErrorAndLeavesEverything) {
  int left = 0;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    stack.Callback([&] { ++left; });
    stack.Callback([&] {
      ++left;
      throw std::range_error("b");
    });
    stack.Callback([&] {
      ++left;
      throw std::logic_error("a");
    });
    EXPECT_THROW(co_await stack.Close(), std::range_error);
    EXPECT_TRUE(stack.Empty());
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(left, 3);
}

TEST(AsyncExitStackTest, ACancelWhileOneIsLeftStillLeavesTheOthers) {
  Log log;
  auto main = [&]() -> Co<void> {
    Task<void> task = CreateTask([&]() -> Co<void> {
      AsyncExitStack stack;
      co_await stack.EnterAsync(Manager(&log, "below"));
      stack.Callback(
          []() -> Co<void> { co_await Sleep(absl::InfiniteDuration()); });
      co_await stack.Close();
    });
    co_await Sleep(absl::Seconds(1));
    task.Cancel();
    co_await Settle(task);
    EXPECT_TRUE(task.Cancelled());
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+below", "-below:cancelled"}));
}

TEST(AsyncExitStackTest, PopAllMovesEverythingToANewStack) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack kept;
    {
      AsyncExitStack stack;
      co_await With(stack, [&](AsyncExitStack& s) -> Co<void> {
        co_await s.EnterAsync(Manager(&log, "a"));
        kept = s.PopAll();
        EXPECT_TRUE(s.Empty());
      });
    }
    EXPECT_EQ(log, (Log{"+a"}));
    co_await kept.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+a", "-a:none"}));
}

TEST(AsyncExitStackTest, PushAsyncTakesAManagerThatWasEntered) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    Manager manager(&log, "a");
    co_await manager.AEnter();
    stack.PushAsync(manager);
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"+a", "-a:none"}));
}

TEST(AsyncExitStackTest, WhatIsPushedWhileClosingIsLeftToo) {
  Log log;
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    stack.Callback([&] {
      log.push_back("first");
      stack.Callback([&] { log.push_back("late"); });
    });
    co_await stack.Close();
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(log, (Log{"first", "late"}));
}

TEST(AsyncExitStackTest, DestroyedWithoutCloseItDropsWithoutLeaving) {
  auto alive = std::make_shared<int>(0);
  auto main = [&]() -> Co<void> {
    AsyncExitStack stack;
    auto callback = [alive] { ADD_FAILURE(); };
    for (int i = 0; i < 100000; ++i) stack.Callback(callback);
    co_return;
  };
  coil::Run(main, kVirtual);
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(AsyncExitStackTest, CallablesMayBeMoveOnly) {
  auto main = []() -> Co<void> {
    AsyncExitStack stack;
    auto p = std::make_unique<int>(1);
    int seen = 0;
    auto callback = [&seen, p = std::move(p)]() -> Co<void> {
      co_await Yield();
      seen = *p;
    };
    stack.Callback(std::move(callback));
    co_await stack.Close();
    EXPECT_EQ(seen, 1);
  };
  coil::Run(main, kVirtual);
}

}  // namespace
}  // namespace coil
