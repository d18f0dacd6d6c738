// coil/task/testing_assert.h
//
// Assertions that end a coroutine. googletest's ASSERT_EQ(a, b) returns from
// the function with `return`, which a coroutine may not; CO_ASSERT_EQ(a, b)
// does it with `co_return`. EXPECT_EQ and its kin work in coroutines as they
// are, and the arguments of all of them may co_await.
//
// Example:
//   coil::Co<int> Answer() { co_return 42; }
//   CORO_TEST(AnswerTest, IsRight) {
//     coil::Task<int> task = coil::CreateTask(Answer());
//     EXPECT_PENDING(coil::CreateTask(coil::Sleep(absl::Hours(1))));
//     EXPECT_DONE(task);
//     CO_ASSERT_EQ(co_await task, 42) << "of the task";
//     for (const coil::AnyTask& left : coil::AllTasks()) {
//       if (left != coil::CurrentTask()) {
//         co_await coil::CancelAndWait(left);
//       }
//     }
//   }
//
// Ordering: an argument is evaluated, and awaited, once.
// Cancellation: passes through. Note that CO_ASSERT_NO_THROW catches
//   CancelledError too, as any exception.
// Threads: as googletest's.
// Lifetime: they end the coroutine that they stand in, as co_return does: not
//   the one that awaits it, and not the test. They need a coroutine that
//   returns Co<void>.
//
// asyncio: what unittest.IsolatedAsyncioTestCase has for free.

#ifndef COIL_TASK_TESTING_ASSERT_H_
#define COIL_TASK_TESTING_ASSERT_H_

#include "coil/task/co.h"
#include "coil/task/task.h"
#include "gtest/gtest.h"

// The comparison is as in the assertion of the same name without CO_.
#define CO_ASSERT_EQ(a, b)                                          \
  GTEST_PRED_FORMAT2_(::testing::internal::EqHelper::Compare, a, b, \
                      COIL_CO_FATAL_FAILURE_)
#define CO_ASSERT_NE(a, b) COIL_CO_COMPARE_(NE, a, b)
#define CO_ASSERT_LT(a, b) COIL_CO_COMPARE_(LT, a, b)
#define CO_ASSERT_LE(a, b) COIL_CO_COMPARE_(LE, a, b)
#define CO_ASSERT_GT(a, b) COIL_CO_COMPARE_(GT, a, b)
#define CO_ASSERT_GE(a, b) COIL_CO_COMPARE_(GE, a, b)
#define CO_ASSERT_STREQ(a, b) COIL_CO_COMPARE_(STREQ, a, b)
#define CO_ASSERT_STRNE(a, b) COIL_CO_COMPARE_(STRNE, a, b)

#define CO_ASSERT_TRUE(condition)                         \
  GTEST_TEST_BOOLEAN_(condition, #condition, false, true, \
                      COIL_CO_FATAL_FAILURE_)
#define CO_ASSERT_FALSE(condition)                           \
  GTEST_TEST_BOOLEAN_(!(condition), #condition, true, false, \
                      COIL_CO_FATAL_FAILURE_)

#define CO_ASSERT_DOUBLE_EQ(a, b)                                            \
  GTEST_PRED_FORMAT2_(::testing::internal::CmpHelperFloatingPointEQ<double>, \
                      a, b, COIL_CO_FATAL_FAILURE_)
#define CO_ASSERT_NEAR(a, b, error)                                           \
  GTEST_PRED_FORMAT3_(::testing::internal::DoubleNearPredFormat, a, b, error, \
                      COIL_CO_FATAL_FAILURE_)

// With "gmock/gmock.h".
#define CO_ASSERT_THAT(value, matcher)                                        \
  GTEST_PRED_FORMAT1_(                                                        \
      ::testing::internal::MakePredicateFormatterFromMatcher(matcher), value, \
      COIL_CO_FATAL_FAILURE_)

// `statement` may hold co_await.
#define CO_ASSERT_THROW(statement, exception) \
  GTEST_TEST_THROW_(statement, exception, COIL_CO_FATAL_FAILURE_)
#define CO_ASSERT_ANY_THROW(statement) \
  GTEST_TEST_ANY_THROW_(statement, COIL_CO_FATAL_FAILURE_)
#define CO_ASSERT_NO_THROW(statement) \
  GTEST_TEST_NO_THROW_(statement, COIL_CO_FATAL_FAILURE_)

// FAIL() and GTEST_SKIP().
#define CO_FAIL() COIL_CO_FATAL_FAILURE_("Failed")
#define CO_SKIP() co_return GTEST_MESSAGE_("", ::testing::TestPartResult::kSkip)

// Ends this coroutine too where a CO_ASSERT_* has failed in one that it
// awaited:
//   co_await CheckHeaders(response);
//   CO_RETURN_ON_FAILURE();
#define CO_RETURN_ON_FAILURE() \
  if (::testing::Test::HasFatalFailure()) co_return

// Lets everything run that can run now, without time going on, and then expects
// `task` (a Task or Future) not to be done, or to be done.
#define EXPECT_PENDING(task) \
  EXPECT_TRUE(co_await ::coil::internal::PendingWhenIdle(task))
#define EXPECT_DONE(task) \
  EXPECT_TRUE(co_await ::coil::internal::DoneWhenIdle(task))
#define CO_ASSERT_PENDING(task) \
  CO_ASSERT_TRUE(co_await ::coil::internal::PendingWhenIdle(task))
#define CO_ASSERT_DONE(task) \
  CO_ASSERT_TRUE(co_await ::coil::internal::DoneWhenIdle(task))

// ---- public interface ends here ----

#define COIL_CO_FATAL_FAILURE_(message) \
  co_return GTEST_MESSAGE_(message, ::testing::TestPartResult::kFatalFailure)

#define COIL_CO_COMPARE_(op, a, b)                              \
  GTEST_PRED_FORMAT2_(::testing::internal::CmpHelper##op, a, b, \
                      COIL_CO_FATAL_FAILURE_)

namespace coil::internal {

Co<::testing::AssertionResult> PendingWhenIdle(AnyTask task);
Co<::testing::AssertionResult> DoneWhenIdle(AnyTask task);

}  // namespace coil::internal

#endif  // COIL_TASK_TESTING_ASSERT_H_
