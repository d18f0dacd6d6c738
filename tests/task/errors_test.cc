// The exceptions of tasks and ExceptionGroup (A133 to A135).

#include "coil/task/errors.h"

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"

namespace coil {
namespace {

template <class E>
std::exception_ptr Make(std::string text) {
  return std::make_exception_ptr(E(std::move(text)));
}

TEST(ErrorsTest, CancellationIsNoStdException) {
  static_assert(!std::is_base_of_v<std::exception, CancelledError>);
  static_assert(!std::is_base_of_v<std::exception, KeyboardInterrupt>);
  bool swallowed = false;
  bool seen = false;
  try {
    try {
      throw CancelledError("why");
    } catch (const std::exception&) {
      swallowed = true;
    }
  } catch (const CancelledError& e) {
    seen = e.message() == "why";
  }
  EXPECT_FALSE(swallowed);
  EXPECT_TRUE(seen);
}

TEST(ErrorsTest, TheirBasesAreThoseOfTheContract) {
  static_assert(std::is_base_of_v<std::runtime_error, TimeoutError>);
  static_assert(std::is_base_of_v<std::logic_error, InvalidStateError>);
  static_assert(std::is_base_of_v<std::runtime_error, ExceptionGroup>);
  EXPECT_STREQ(TimeoutError().what(), "deadline exceeded");
  EXPECT_EQ(CancelledError().message(), "");
}

TEST(ExceptionGroupTest, KeepsItsErrorsInTheirOrder) {
  ExceptionGroup group("both", {Make<std::runtime_error>("first"),
                                Make<std::logic_error>("second")});
  ASSERT_EQ(group.Exceptions().size(), 2u);
  EXPECT_THROW(std::rethrow_exception(group.Exceptions()[0]),
               std::runtime_error);
  EXPECT_THROW(std::rethrow_exception(group.Exceptions()[1]), std::logic_error);
}

TEST(ExceptionGroupTest, TheTextNamesTheErrors) {
  ExceptionGroup group("both", {Make<std::runtime_error>("first"),
                                Make<std::logic_error>("second")});
  const std::string what = group.what();
  EXPECT_NE(what.find("both (2 sub-exceptions"), std::string::npos) << what;
  EXPECT_NE(what.find("first"), std::string::npos) << what;
  EXPECT_NE(what.find("second"), std::string::npos) << what;
  ExceptionGroup one("one", {Make<std::runtime_error>("single")});
  EXPECT_NE(std::string(one.what()).find("1 sub-exception:"), std::string::npos)
      << one.what();
}

TEST(ExceptionGroupTest, EmptyOrNullIsRefused) {
  EXPECT_THROW(ExceptionGroup("none", {}), std::invalid_argument);
  EXPECT_THROW(ExceptionGroup("null", {nullptr}), std::invalid_argument);
}

TEST(ExceptionGroupTest, SplitsByTypeAndKeepsTheMessage) {
  ExceptionGroup group(
      "mixed", {Make<std::range_error>("a"), Make<std::logic_error>("b"),
                Make<std::range_error>("c")});
  auto [range, rest] = group.Split<std::range_error>();
  ASSERT_TRUE(range.has_value());
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(range->Exceptions().size(), 2u);
  EXPECT_EQ(rest->Exceptions().size(), 1u);
  EXPECT_EQ(std::string(range->what()).find("mixed"), 0u);
}

TEST(ExceptionGroupTest, SplitByABaseTakesTheDerived) {
  ExceptionGroup group(
      "mixed", {Make<std::range_error>("a"), Make<std::overflow_error>("b")});
  auto [runtime, rest] = group.Split<std::runtime_error>();
  EXPECT_EQ(runtime->Exceptions().size(), 2u);
  EXPECT_FALSE(rest.has_value());
}

TEST(ExceptionGroupTest, SplitWithoutAMatchLeavesTheFirstHalfEmpty) {
  ExceptionGroup group("mixed", {Make<std::range_error>("a")});
  auto [match, rest] = group.Split<TimeoutError>();
  EXPECT_FALSE(match.has_value());
  EXPECT_EQ(rest->Exceptions().size(), 1u);
}

ExceptionGroup Nested() {
  ExceptionGroup inner(
      "inner", {Make<std::range_error>("a"), Make<std::logic_error>("b")});
  return ExceptionGroup(
      "outer", {std::make_exception_ptr(inner), Make<TimeoutError>("c")});
}

TEST(ExceptionGroupTest, SplitGoesIntoNestedGroupsAndKeepsTheNesting) {
  auto [range, rest] = Nested().Split<std::range_error>();
  ASSERT_TRUE(range.has_value());
  ASSERT_EQ(range->Exceptions().size(), 1u);
  EXPECT_THROW(std::rethrow_exception(range->Exceptions()[0]), ExceptionGroup);
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(rest->Exceptions().size(), 2u);
  EXPECT_TRUE(rest->Contains<std::logic_error>());
  EXPECT_FALSE(rest->Contains<std::range_error>());
}

// ExceptionGroup is a std::runtime_error to C++, but not one of the errors.
TEST(ExceptionGroupTest, ANestedGroupIsNotTakenForItsBase) {
  ExceptionGroup inner("inner", {Make<std::logic_error>("b")});
  ExceptionGroup group(
      "outer", {std::make_exception_ptr(inner), Make<std::runtime_error>("a")});
  auto [runtime, rest] = group.Split<std::runtime_error>();
  ASSERT_TRUE(runtime.has_value());
  ASSERT_TRUE(rest.has_value());
  EXPECT_EQ(runtime->Exceptions().size(), 1u);
  EXPECT_FALSE(runtime->Contains<std::logic_error>());
  EXPECT_TRUE(rest->Contains<std::logic_error>());
  EXPECT_STREQ(group.Find<std::runtime_error>()->what(), "a");
  EXPECT_FALSE(inner.Contains<std::runtime_error>());
  // Every std::exception is taken, and the nesting stays.
  auto [all, none] = group.Split<std::exception>();
  EXPECT_EQ(all->Exceptions().size(), 2u);
  EXPECT_FALSE(none.has_value());
}

TEST(ExceptionGroupTest, NestedGroupsAreFoundAsWhatTheyAre) {
  auto [groups, rest] = Nested().Split<ExceptionGroup>();
  ASSERT_TRUE(groups.has_value());
  ASSERT_TRUE(rest.has_value());
  ASSERT_EQ(groups->Exceptions().size(), 1u);
  EXPECT_TRUE(groups->Contains<std::logic_error>());
  EXPECT_TRUE(rest->Contains<TimeoutError>());
  EXPECT_EQ(std::string(Nested().Find<ExceptionGroup>()->what()).find("inner"),
            0u);
  EXPECT_FALSE(ExceptionGroup("flat", {Make<std::range_error>("a")})
                   .Contains<ExceptionGroup>());
}

TEST(ExceptionGroupTest, FindGivesACopyOfTheFirstMatch) {
  const ExceptionGroup group = Nested();
  EXPECT_STREQ(group.Find<TimeoutError>()->what(), "c");
  EXPECT_STREQ(group.Find<std::logic_error>()->what(), "b");
  EXPECT_FALSE(group.Find<InvalidStateError>().has_value());
  EXPECT_TRUE(group.Contains<std::range_error>());
}

TEST(ExceptionGroupTest, HoldsErrorsThatAreNoStdException) {
  ExceptionGroup group("odd", {std::make_exception_ptr(CancelledError("x")),
                               std::make_exception_ptr(42)});
  EXPECT_EQ(group.Find<CancelledError>()->message(), "x");
  EXPECT_EQ(group.Find<int>(), 42);
}

TEST(ExceptionGroupTest, ACopySharesTheErrors) {
  struct Counted {
    std::shared_ptr<int> p;
  };
  auto alive = std::make_shared<int>(0);
  {
    ExceptionGroup group("g", {std::make_exception_ptr(Counted{alive})});
    ExceptionGroup copy = group;
    EXPECT_EQ(alive.use_count(), 2);
    EXPECT_EQ(group.Exceptions()[0], copy.Exceptions()[0]);
  }
  EXPECT_EQ(alive.use_count(), 1);
}

TEST(CancelledErrorTest, TheMessageIsAMemberThatMayBeCalled) {
  const CancelledError error("why");
  const std::string& text = error.message;
  EXPECT_EQ(text, "why");
  EXPECT_EQ(&text, &error.message());
  EXPECT_EQ("because: " + error.message, "because: why");
}

}  // namespace
}  // namespace coil
