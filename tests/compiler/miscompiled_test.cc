// The coroutine shapes that g++ 12 compiles wrongly, each next to what to write
// instead. The wrong ones are asserted to be wrong there, so that a compiler
// that is fixed is noticed, and right on every other compiler; what to write
// instead is right everywhere. This is the table of docs on compilers as tests.

#include <coroutine>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "coil/task/co.h"
#include "coil/task/invoke.h"
#include "coil/task/task.h"
#include "coil/tests/compiler/tracked.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"

namespace coil::compiler {
namespace {

// ---- a lambda with a capture by value, in the expression that awaits

Co<int> LambdaInPlace() {
  Tracked t(5);
  co_return co_await Call([t] { return t.value(); });
}
Co<int> LambdaWithMovedCapture() {
  Tracked t(5);
  co_return co_await Call([x = std::move(t)] { return x.value(); });
}
template <class F>
Co<int> CallForwarded(F&& f) {
  co_await Yield();
  co_return f();
}
Co<int> LambdaByForwardingReference() {
  Tracked t(5);
  co_return co_await CallForwarded([t] { return t.value(); });
}

Co<int> NamedLambda() {
  Tracked t(5);
  auto f = [t] { return t.value(); };
  co_return co_await Call(std::move(f));
}
Co<int> LambdaByReference() {
  Tracked t(5);
  co_return co_await Call([&] { return t.value(); });
}
Co<int> LambdaOfATrivialCapture() {
  Tracked t(5);
  const int value = t.value();
  co_return co_await Call([value] { return value; });
}
Co<int> NamedCoroutine() {
  Tracked t(5);
  auto call = Call([t] { return t.value(); });
  co_return co_await std::move(call);
}
auto MakeLambda(Tracked t) {
  return [t = std::move(t)] { return t.value(); };
}
Co<int> LambdaFromAFunction() {
  co_return co_await Call(MakeLambda(Tracked(5)));
}
Co<int> InvokedNamedLambda() {
  Tracked t(5);
  auto body = [t](int i) -> Co<int> {
    co_await Yield();
    co_return t.value() + i;
  };
  co_return co_await Invoke(body, 0);
}
Co<int> CreatedTaskOfALambda() {
  Tracked t(5);
  Task<int> task = CreateTask([t]() -> Co<int> {
    co_await Yield();
    co_return t.value();
  });
  co_return co_await task;
}

TEST(ReliabilityT75, LambdaThatCapturesByValueInAnAwait) {
  EXPECT_DESTROYED_TWICE_BY_GCC_12(LambdaInPlace, 5);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(LambdaWithMovedCapture, 5);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(LambdaByForwardingReference, 5);
}

TEST(ReliabilityT75, InsteadOfALambdaThatCapturesByValue) {
  EXPECT_RIGHT(NamedLambda, 5);
  EXPECT_RIGHT(LambdaByReference, 5);
  EXPECT_RIGHT(LambdaOfATrivialCapture, 5);
  EXPECT_RIGHT(NamedCoroutine, 5);
  EXPECT_RIGHT(LambdaFromAFunction, 5);
  EXPECT_RIGHT(InvokedNamedLambda, 5);
  EXPECT_RIGHT(CreatedTaskOfALambda, 5);
}

// ---- an aggregate with members that are not trivial

struct Options {
  Tracked a = Tracked(1);
  Tracked b = Tracked(2);
  int n = 0;
};
Co<int> Use(Options options) {
  co_await Yield();
  co_return options.a.value() + options.b.value() + options.n;
}
Co<int> UseReference(const Options& options) {
  co_await Yield();
  co_return options.a.value() + options.b.value() + options.n;
}
Co<int> UseDefault(int i, Options options = {}) {
  co_await Yield();
  co_return i + options.a.value();
}

Co<int> TypedAggregate() {
  co_return co_await Use(Options{Tracked(1), Tracked(2), 3});
}
Co<int> DesignatedAggregate() { co_return co_await Use({.n = 3}); }
Co<int> AggregateByReference() {
  co_return co_await UseReference(Options{Tracked(1), Tracked(2), 3});
}
Co<int> DefaultArgument() { co_return co_await UseDefault(5); }

Co<int> NamedAggregate() {
  Options options{Tracked(1), Tracked(2), 3};
  co_return co_await Use(std::move(options));
}
Co<int> NamedCoroutineOfAnAggregate() {
  auto use = Use({.n = 3});
  co_return co_await std::move(use);
}

class WithSetters {
 public:
  WithSetters() = default;
  WithSetters& Value(Tracked value) {
    value_ = std::move(value);
    return *this;
  }
  int value() const { return value_.value(); }

 private:
  Tracked value_;
};
Co<int> UseSetters(WithSetters options) {
  co_await Yield();
  co_return options.value();
}
Co<int> ClassWithSetters() {
  co_return co_await UseSetters(WithSetters().Value(Tracked(6)));
}
Co<int> UseSettersByDefault(int i, WithSetters options = WithSetters()) {
  co_await Yield();
  co_return i + options.value();
}
Co<int> DefaultArgumentOfAClass() { co_return co_await UseSettersByDefault(6); }

struct Trivial {
  int a = 1;
  const char* b = "";
};
Co<int> UseTrivial(Trivial options, Tracked t) {
  co_await Yield();
  co_return options.a + t.value();
}
Co<int> TrivialAggregate() {
  co_return co_await UseTrivial({.a = 4}, Tracked(2));
}

TEST(ReliabilityT75, AggregateInAnAwait) {
  EXPECT_DESTROYED_TWICE_BY_GCC_12(TypedAggregate, 6);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(DesignatedAggregate, 6);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(AggregateByReference, 6);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(DefaultArgument, 6);
}

TEST(ReliabilityT75, InsteadOfAnAggregate) {
  EXPECT_RIGHT(NamedAggregate, 6);
  EXPECT_RIGHT(NamedCoroutineOfAnAggregate, 6);
  EXPECT_RIGHT(ClassWithSetters, 6);
  EXPECT_RIGHT(DefaultArgumentOfAClass, 6);
  EXPECT_RIGHT(TrivialAggregate, 6);
}

// ---- awaiters

struct AggregateAwaiter {
  Tracked t;
  bool await_ready() const { return true; }
  void await_suspend(std::coroutine_handle<>) const {}
  int await_resume() const { return t.value(); }
};
class AwaiterWithConstructor {
 public:
  explicit AwaiterWithConstructor(Tracked t) : t_(std::move(t)) {}
  bool await_ready() const { return true; }
  void await_suspend(std::coroutine_handle<>) const {}
  int await_resume() const { return t_.value(); }

 private:
  Tracked t_;
};
class AwaiterThatCannotMove {
 public:
  explicit AwaiterThatCannotMove(int value) : t_(value) {}
  AwaiterThatCannotMove(const AwaiterThatCannotMove&) = delete;
  void Bind(internal::TaskCore*) {}
  bool await_ready() const { return true; }
  void await_suspend(std::coroutine_handle<>) const {}
  int await_resume() const { return t_.value(); }

 private:
  Tracked t_;
};

Co<int> AwaitAggregate() { co_return co_await AggregateAwaiter{Tracked(5)}; }
Co<int> AwaitWithConstructor() {
  co_return co_await AwaiterWithConstructor(Tracked(5));
}
Co<int> AwaitNamedAggregate() {
  AggregateAwaiter awaiter{Tracked(5)};
  co_return co_await std::move(awaiter);
}
Co<int> AwaitByAwaiterRef() {
  AwaiterThatCannotMove awaiter(5);
  co_return co_await internal::AwaiterRef(awaiter);
}
Co<int> AwaitNamedLeaf() {
  Tracked t(5);
  auto sleep = Sleep(absl::Seconds(1), t);
  Tracked result = co_await std::move(sleep);
  co_return result.value();
}

TEST(ReliabilityT75, AggregateAwaiter) {
  EXPECT_DESTROYED_TWICE_BY_GCC_12(AwaitAggregate, 5);
}

TEST(ReliabilityT75, InsteadOfAnAggregateAwaiter) {
  EXPECT_RIGHT(AwaitWithConstructor, 5);
  EXPECT_RIGHT(AwaitNamedAggregate, 5);
  EXPECT_RIGHT(AwaitByAwaiterRef, 5);
  EXPECT_RIGHT(AwaitNamedLeaf, 5);
}

// ---- c ? a : b. With coroutines as the operands, g++ 12 frees a frame twice:
// that cannot be run.

Co<int> TernaryWithOneAwait(bool c) {
  Tracked t = c ? co_await Make(1) : Tracked(2);
  co_return t.value();
}
Co<int> TernaryWithTwoAwaits(bool c) {
  auto t = c ? co_await Make(1) : co_await Make(2);
  co_return t.value();
}
Co<int> TernaryInAnArgument(bool c) {
  co_return co_await Take(c ? Tracked(1) : Tracked(2));
}

Co<int> IfAndElse(bool c) {
  Tracked t;
  if (c) {
    t = co_await Make(1);
  } else {
    t = Tracked(2);
  }
  co_return t.value();
}
Co<int> TernaryOfNumbers(bool c) {
  Tracked t(1);
  const int value = c ? co_await Take(t) : 2;
  co_return value;
}
Co<int> TernaryBeforeTheAwait(bool c) {
  Tracked t = c ? Tracked(1) : Tracked(2);
  co_return co_await Take(std::move(t));
}

template <Co<int> (*kShape)(bool)>
Co<int> BothWays() {
  const int yes = co_await kShape(true);
  const int no = co_await kShape(false);
  co_return 10 * yes + no;
}

TEST(ReliabilityT75, TernaryOfAClassWithAnAwait) {
  EXPECT_DESTROYED_TWICE_BY_GCC_12(BothWays<TernaryWithOneAwait>, 12);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(BothWays<TernaryWithTwoAwaits>, 12);
  EXPECT_DESTROYED_TWICE_BY_GCC_12(BothWays<TernaryInAnArgument>, 12);
}

TEST(ReliabilityT75, InsteadOfATernary) {
  EXPECT_RIGHT(BothWays<IfAndElse>, 12);
  EXPECT_RIGHT(BothWays<TernaryOfNumbers>, 12);
  EXPECT_RIGHT(BothWays<TernaryBeforeTheAwait>, 12);
}

// ---- initialiser lists. What g++ 12 does not compile is in
// rejected_by_gcc_12.cc.

Co<int> Count(std::vector<Tracked> items) {
  co_await Yield();
  co_return static_cast<int>(items.size());
}
Co<int> NamedContainer() {
  std::vector<Tracked> items = {Tracked(1), Tracked(2)};
  co_return co_await Count(std::move(items));
}
Co<int> NamedCoroutineOfAList() {
  auto count = Count({Tracked(1), Tracked(2)});
  co_return co_await std::move(count);
}
Co<int> ListOfAwaits() {
  std::vector<Tracked> items;
  items.push_back(co_await Make(1));
  items.push_back(co_await Make(2));
  co_return static_cast<int>(items.size());
}

TEST(ReliabilityT75, InsteadOfAnInitialiserList) {
  EXPECT_RIGHT(NamedContainer, 2);
  EXPECT_RIGHT(NamedCoroutineOfAList, 2);
  EXPECT_RIGHT(ListOfAwaits, 2);
}

}  // namespace
}  // namespace coil::compiler
