// Handles, callables and contexts of callbacks.

#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/context_slot.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::RunOnePass;

TEST(HandleTest, CancelledCallbackDoesNotRun) {
  EventLoop loop;
  Handle handle = loop.CallSoon([] { ADD_FAILURE(); });
  handle.Cancel();
  EXPECT_TRUE(handle.Cancelled());
  RunOnePass(loop);
}

TEST(HandleTest, CancelDestroysTheCapturesNow) {
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  Handle handle = loop.CallSoon([token] {});
  handle.Cancel();
  EXPECT_EQ(token.use_count(), 1);
}

TEST(HandleTest, CaptureIsDestroyedRightAfterTheRun) {
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  Handle handle = loop.CallSoon([token] {});
  long during = 0;
  loop.CallSoon([&] { during = token.use_count(); });
  RunOnePass(loop);
  EXPECT_EQ(during, 1);
}

TEST(HandleTest, CopiesReferToTheSameCallback) {
  EventLoop loop;
  Handle handle = loop.CallSoon([] { ADD_FAILURE(); });
  Handle copy = handle;
  Handle moved = std::move(handle);
  copy.Cancel();
  EXPECT_TRUE(moved.Cancelled());
  RunOnePass(loop);
}

TEST(HandleTest, EmptyHandleDoesNothing) {
  Handle handle;
  handle.Cancel();
  EXPECT_FALSE(handle.Cancelled());
}

TEST(HandleTest, CancelFromWithinTheCallbackDoesNothing) {
  EventLoop loop;
  Handle handle;
  auto token = std::make_shared<int>(1);
  long during = 0;
  handle = loop.CallSoon([&, token] {
    handle.Cancel();
    during = token.use_count();
  });
  RunOnePass(loop);
  EXPECT_EQ(during, 2);
  EXPECT_FALSE(handle.Cancelled());
}

TEST(HandleTest, CancelMayBeCalledByTheDestructorOfItsOwnCapture) {
  struct Canceller {
    explicit Canceller(Handle& handle) : handle(handle) {}
    ~Canceller() { handle.Cancel(); }
    Handle& handle;
  };
  EventLoop loop;
  Handle handle;
  handle = loop.CallSoon([c = std::make_unique<Canceller>(handle)] {});
  handle.Cancel();
  EXPECT_TRUE(handle.Cancelled());
}

TEST(HandleTest, EmptyCallbackIsAnInvalidArgument) {
  EventLoop loop;
  EXPECT_THROW(loop.CallSoon(nullptr), std::invalid_argument);
  EXPECT_THROW(loop.CallLater(absl::Seconds(1), nullptr),
               std::invalid_argument);
  EXPECT_THROW(loop.CallAt(LoopTime(), nullptr), std::invalid_argument);
  EXPECT_THROW(loop.CallSoonThreadSafe(nullptr), std::invalid_argument);
  EXPECT_THROW(loop.AddReader(0, nullptr), std::invalid_argument);
  EXPECT_THROW(loop.AddSignalHandler(SIGUSR1, nullptr), std::invalid_argument);
}

TEST(HandleTest, MoveOnlyCallablesAreFine) {
  EventLoop loop;
  int value = 0;
  loop.CallSoon([&value, p = std::make_unique<int>(7)] { value = *p; });
  RunOnePass(loop);
  EXPECT_EQ(value, 7);
}

// ---- context
// ------------------------------------------------------------------

class TestContext final : public internal::ContextBase {
 public:
  explicit TestContext(int value, int& alive) : value(value), alive_(alive) {
    ++alive_;
    SetEmpty(false);
  }
  ~TestContext() override { --alive_; }
  internal::ContextBase* Copy() override {
    return new TestContext(value, alive_);
  }
  const int value;

 private:
  int& alive_;
};

int CurrentValue() {
  auto* context = static_cast<TestContext*>(internal::t_context);
  return context != nullptr ? context->value : 0;
}

TEST(CallbackContextTest, CallbackRunsInTheContextOfItsRegistration) {
  EventLoop loop;
  int alive = 0;
  auto* context = new TestContext(42, alive);
  std::vector<int> seen;
  {
    internal::ContextScope scope(context);
    loop.CallSoon([&] { seen.push_back(CurrentValue()); });
    loop.CallLater(absl::ZeroDuration(),
                   [&] { seen.push_back(CurrentValue()); });
    loop.CallSoonThreadSafe([&] { seen.push_back(CurrentValue()); });
  }
  loop.CallSoon([&] { seen.push_back(CurrentValue()); });
  context->Unref();
  EXPECT_EQ(alive, 3);  // each has a copy
  RunOnePass(loop);
  RunOnePass(loop);
  EXPECT_EQ(seen, (std::vector<int>{42, 42, 0, 42}));
  EXPECT_EQ(alive, 0);
  EXPECT_EQ(CurrentValue(), 0);
}

TEST(CallbackContextTest, CapturesAreDestroyedInTheContextOfTheCallback) {
  struct Witness {
    explicit Witness(std::vector<int>& seen, const int& alive)
        : seen(seen), alive(alive) {}
    ~Witness() { seen.push_back(alive > 0 ? CurrentValue() : -1); }
    std::vector<int>& seen;
    const int& alive;
  };
  EventLoop loop;
  coil_testing::Pipe pipe;
  pipe.Put();
  int alive = 0;
  std::vector<int> seen;
  auto witness = [&] { return std::make_unique<Witness>(seen, alive); };
  auto register_one = [&](auto f) {
    auto* context = new TestContext(42, alive);
    {
      internal::ContextScope scope(context);
      f();
    }
    context->Unref();
    RunOnePass(loop);
    RunOnePass(loop);
    EXPECT_EQ(alive, 0);
  };
  register_one([&] { loop.CallSoon([w = witness()] {}); });
  register_one(
      [&] { loop.CallLater(absl::ZeroDuration(), [w = witness()] {}); });
  register_one([&] { loop.CallSoonThreadSafe([w = witness()] {}); });
  register_one([&] {
    const int fd = pipe.read.get();
    loop.AddReader(fd, [&loop, fd, w = witness()] { loop.RemoveReader(fd); });
  });
  EXPECT_EQ(seen, (std::vector<int>{42, 42, 42, 42}));
}

TEST(CallbackContextTest, CancelLetsTheContextGo) {
  EventLoop loop;
  int alive = 0;
  auto* context = new TestContext(1, alive);
  Handle handle;
  {
    internal::ContextScope scope(context);
    handle = loop.CallSoon([] {});
  }
  context->Unref();
  EXPECT_EQ(alive, 1);
  handle.Cancel();
  EXPECT_EQ(alive, 0);
}

TEST(CallbackContextTest, ErrorsAreReportedInTheContextOfTheCallback) {
  EventLoop loop;
  int alive = 0;
  auto* context = new TestContext(7, alive);
  int seen = 0;
  loop.SetExceptionHandler(
      [&](const ExceptionContext&) { seen = CurrentValue(); });
  {
    internal::ContextScope scope(context);
    loop.CallSoon([] { throw std::runtime_error("x"); });
  }
  context->Unref();
  RunOnePass(loop);
  EXPECT_EQ(seen, 7);
}

}  // namespace
}  // namespace coil
