// The exception handler of a loop, the default one, and the diagnostic sink.

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "gtest/gtest.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CapturedDiagnostics;
using coil_testing::RunOnePass;
using Log = std::vector<std::string>;

struct NotAStandardException {};

TEST(ErrorsTest, CallbackThatThrowsIsReportedAndTheLoopGoesOn) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  bool ran = false;
  loop.CallSoon([] { throw std::runtime_error("boom"); });
  loop.CallSoon([&] { ran = true; });
  RunOnePass(loop);
  EXPECT_TRUE(ran);
  ASSERT_EQ(diagnostics.Count(), 1u);
  EXPECT_NE(diagnostics.Text().find("std::runtime_error: boom"),
            std::string::npos);
  EXPECT_NE(diagnostics.Text().find("CallSoon at errors_test.cc:"),
            std::string::npos);
}

TEST(ErrorsTest, TimerAndPostThatThrowAreReportedToo) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  loop.CallLater(-absl::Seconds(1), [] { throw std::logic_error("timer"); });
  loop.CallSoonThreadSafe([] { throw std::logic_error("post"); });
  RunOnePass(loop);
  EXPECT_EQ(diagnostics.Count(), 2u);
  EXPECT_NE(diagnostics.Text().find("CallLater at"), std::string::npos);
  EXPECT_NE(diagnostics.Text().find("CallSoonThreadSafe at"),
            std::string::npos);
}

TEST(ErrorsTest, WhatIsNotAStandardExceptionIsReportedByItsType) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  loop.CallSoon([] { throw NotAStandardException(); });
  loop.CallSoon([] { throw 7; });
  RunOnePass(loop);
  EXPECT_NE(diagnostics.Text().find("NotAStandardException"),
            std::string::npos);
  EXPECT_NE(diagnostics.Text().find("int"), std::string::npos);
}

TEST(ErrorsTest, CaptureOfACallbackThatThrewIsDestroyed) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  auto token = std::make_shared<int>(1);
  loop.CallSoon([token] { throw std::runtime_error("boom"); });
  RunOnePass(loop);
  EXPECT_EQ(token.use_count(), 1);
}

TEST(ErrorsTest, HandlerReceivesTheContext) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  EXPECT_FALSE(loop.HasExceptionHandler());
  std::string message, handle, what;
  EventLoop* where = nullptr;
  loop.SetExceptionHandler([&](const ExceptionContext& context) {
    message = context.message;
    handle = context.handle;
    what = DescribeException(context.exception);
    where = context.loop;
  });
  EXPECT_TRUE(loop.HasExceptionHandler());
  loop.CallSoon([] { throw std::runtime_error("boom"); });
  RunOnePass(loop);
  EXPECT_EQ(message.find("Exception in callback CallSoon at errors_test.cc"),
            0u)
      << message;
  EXPECT_EQ(handle.find("CallSoon at errors_test.cc"), 0u) << handle;
  EXPECT_EQ(what, "std::runtime_error: boom");
  EXPECT_EQ(where, &loop);
  EXPECT_EQ(diagnostics.Count(), 0u);
}

TEST(ErrorsTest, NullRestoresTheDefaultHandler) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  loop.SetExceptionHandler([](const ExceptionContext&) { ADD_FAILURE(); });
  loop.SetExceptionHandler(nullptr);
  EXPECT_FALSE(loop.HasExceptionHandler());
  loop.CallSoon([] { throw std::runtime_error("boom"); });
  RunOnePass(loop);
  EXPECT_EQ(diagnostics.Count(), 1u);
}

TEST(ErrorsTest, HandlerThatThrowsFallsBackToTheDefaultForBoth) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  loop.SetExceptionHandler(
      [](const ExceptionContext&) { throw std::logic_error("bad handler"); });
  loop.CallSoon([] { throw std::runtime_error("boom"); });
  RunOnePass(loop);
  EXPECT_NE(diagnostics.Text().find("Unhandled error in exception handler"),
            std::string::npos);
  EXPECT_NE(diagnostics.Text().find("bad handler"), std::string::npos);
  EXPECT_NE(diagnostics.Text().find("boom"), std::string::npos);
  EXPECT_TRUE(loop.HasExceptionHandler());
}

TEST(ErrorsTest, HandlerMayRestoreTheDefault) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  int calls = 0;
  loop.SetExceptionHandler([&](const ExceptionContext&) {
    ++calls;
    loop.SetExceptionHandler(nullptr);
  });
  loop.CallExceptionHandler(ExceptionContext("first"));
  EXPECT_FALSE(loop.HasExceptionHandler());
  loop.CallExceptionHandler(ExceptionContext("second"));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(diagnostics.Text(), "coil: second\n");
}

TEST(DiagnosticsTest, SinkMayReplaceItself) {
  using Lines = std::vector<std::string>;
  Lines first;
  Lines second;
  DiagnosticSink replaced;
  DiagnosticSink before = SetDiagnosticSink([&](std::string_view message) {
    DiagnosticSink old = SetDiagnosticSink(
        [&](std::string_view later) { second.emplace_back(later); });
    if (old != nullptr) replaced = std::move(old);
    first.emplace_back(message);
  });
  WriteDiagnostic("1");
  WriteDiagnostic("2");
  EXPECT_EQ(first, (Lines{"1"}));
  EXPECT_EQ(second, (Lines{"2"}));
  // What it was given is the one that was there: it works as before.
  SetDiagnosticSink(std::move(replaced));
  WriteDiagnostic("3");
  WriteDiagnostic("4");
  EXPECT_EQ(first, (Lines{"1", "3"}));
  EXPECT_EQ(second, (Lines{"2", "4"}));
  SetDiagnosticSink(std::move(before));
}

TEST(DiagnosticsTest, SinkThatReplacedItselfIsDestroyedAfterItsCall) {
  DiagnosticSink before = SetDiagnosticSink(nullptr);
  auto token = std::make_shared<int>(1);
  long during = 0;
  SetDiagnosticSink([token, &during](std::string_view) {
    SetDiagnosticSink(nullptr);
    during = token.use_count();
  });
  WriteDiagnostic("x");
  EXPECT_EQ(during, 2);
  EXPECT_EQ(token.use_count(), 1);
  SetDiagnosticSink(std::move(before));
}

TEST(ErrorsTest, HandlerMayReplaceItself) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  Log log;
  loop.SetExceptionHandler([&](const ExceptionContext&) {
    log.push_back("first");
    loop.SetExceptionHandler(
        [&](const ExceptionContext&) { log.push_back("second"); });
  });
  loop.CallSoon([] { throw 1; });
  loop.CallSoon([] { throw 2; });
  RunOnePass(loop);
  EXPECT_EQ(log, (Log{"first", "second"}));
}

TEST(ErrorsTest, HandlerMayUseTheDefault) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  loop.SetExceptionHandler([&](const ExceptionContext& context) {
    loop.DefaultExceptionHandler(context);
  });
  loop.CallExceptionHandler(ExceptionContext("something is odd"));
  EXPECT_EQ(diagnostics.Messages(),
            std::vector<std::string>{"coil: something is odd"});
}

TEST(ErrorsTest, ErrorWithinTheHandlerItselfGoesToTheDefault) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  int calls = 0;
  loop.SetExceptionHandler([&](const ExceptionContext&) {
    ++calls;
    loop.CallExceptionHandler(ExceptionContext("nested"));
  });
  loop.CallExceptionHandler(ExceptionContext("outer"));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(diagnostics.Messages(), std::vector<std::string>{"coil: nested"});
}

TEST(ErrorsTest, DefaultHandlerPrintsAllFields) {
  CapturedDiagnostics diagnostics;
  EventLoop loop;
  ExceptionContext context("it broke");
  context.exception = std::make_exception_ptr(std::out_of_range("too far"));
  context.task = "worker-3 at main.cc:7";
  context.handle = "CallSoon at main.cc:9";
  loop.DefaultExceptionHandler(context);
  EXPECT_EQ(diagnostics.Text(),
            "coil: it broke\n"
            "  exception: std::out_of_range: too far\n"
            "  task: worker-3 at main.cc:7\n"
            "  handle: CallSoon at main.cc:9\n");
}

// ---- the sink
// -----------------------------------------------------------------

TEST(DiagnosticsTest, SinkIsReplacedAndGivenBack) {
  std::vector<std::string> seen;
  DiagnosticSink before = SetDiagnosticSink(
      [&](std::string_view message) { seen.emplace_back(message); });
  WriteDiagnostic("one");
  DiagnosticSink mine = SetDiagnosticSink(std::move(before));
  EXPECT_NE(mine, nullptr);
  EXPECT_EQ(seen, (Log{"one"}));
}

TEST(DiagnosticsTest, DefaultWritesOneLineToStderr) {
  testing::internal::CaptureStderr();
  WriteDiagnostic("hello there");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "hello there\n");
}

TEST(DiagnosticsTest, MessageFromWithinTheSinkGoesToStderr) {
  DiagnosticSink before = SetDiagnosticSink(
      [](std::string_view) { WriteDiagnostic("from the sink"); });
  testing::internal::CaptureStderr();
  WriteDiagnostic("outer");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "from the sink\n");
  SetDiagnosticSink(std::move(before));
}

TEST(DiagnosticsTest, SinkThatThrowsLosesNoMessage) {
  DiagnosticSink before = SetDiagnosticSink(
      [](std::string_view) { throw std::runtime_error("bad sink"); });
  testing::internal::CaptureStderr();
  WriteDiagnostic("precious");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "precious\n");
  SetDiagnosticSink(std::move(before));
}

TEST(DiagnosticsTest, DescribesExceptionsByTypeAndText) {
  EXPECT_EQ(DescribeException(nullptr), "none");
  EXPECT_EQ(DescribeException(std::make_exception_ptr(std::domain_error("d"))),
            "std::domain_error: d");
  EXPECT_EQ(DescribeException(std::make_exception_ptr(3)), "int");
}

TEST(DiagnosticsThreadsTest, CallsOfTheSinkNeverOverlap) {
  int inside = 0;
  int calls = 0;
  bool overlapped = false;
  DiagnosticSink before = SetDiagnosticSink([&](std::string_view) {
    overlapped = overlapped || inside != 0;
    ++inside;
    ++calls;
    --inside;
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) WriteDiagnostic("x");
    });
  }
  for (std::thread& thread : threads) thread.join();
  SetDiagnosticSink(std::move(before));
  EXPECT_EQ(calls, 2000);
  EXPECT_FALSE(overlapped);
}

}  // namespace
}  // namespace coil
