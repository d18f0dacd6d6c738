// coil/task/for_await.h
//
// COIL_FOR_AWAIT is `async for`: a loop over everything that has a Next() whose
// await results in a std::optional (AsyncGenerator, Queue, AsCompleted, the
// lines of a StreamReader). `while (auto x = co_await range.Next())` is the
// same in plain C++, and the first choice where the loop needs no more than
// that.
//
// Example:
//   class Countdown {
//    public:
//     explicit Countdown(int from) : left_(from) {}
//     coil::Co<std::optional<int>> Next() {
//       if (left_ == 0) co_return std::nullopt;
//       co_return left_--;
//     }
//    private:
//     int left_;
//   };
//   coil::Co<int> Sum(int n) {
//     int sum = 0;
//     COIL_FOR_AWAIT(int i, Countdown(n)) {
//       if (i % 2 == 0) continue;
//       sum += i;
//     }
//     co_return sum;
//   }
//
// `break` and `continue` do what they do in a for statement; structured
// bindings work: COIL_FOR_AWAIT(auto [key, value], pairs) {...}. A range with a
// comma outside of parentheses has to be put in parentheses.
//
// Ordering: one Next() for each round, the next one after the body.
// Cancellation: as Next(); an error of Next() leaves the loop.
// Threads: those of the range.
// Lifetime: a range that is an lvalue is referred to, an rvalue is kept until
//   the loop ends, as in a range-based for statement: other temporaries in the
//   expression are gone by then.
//
// Python: async for.

#ifndef COIL_TASK_FOR_AWAIT_H_
#define COIL_TASK_FOR_AWAIT_H_

#include <optional>
#include <type_traits>
#include <utility>

#include "coil/task/co.h"

namespace coil::internal {

template <class O>
inline constexpr bool kIsOptional = false;
template <class V>
inline constexpr bool kIsOptional<std::optional<V>> = true;

// R is a value or an lvalue reference.
template <class R>
class ForAwait {
 public:
  using Item = std::remove_cvref_t<AwaitResult<
      decltype(std::declval<std::remove_reference_t<R>&>().Next())>>;
  static_assert(
      kIsOptional<Item>,
      "COIL_FOR_AWAIT: the range needs a Next() whose await results in "
      "a std::optional");

  explicit ForAwait(R&& range) : range_(std::forward<R>(range)) {}
  ForAwait(const ForAwait&) = delete;
  ForAwait& operator=(const ForAwait&) = delete;

  decltype(auto) Next() { return range_.Next(); }
  bool Keep(Item item) {
    item_.reset();
    if (item.has_value()) item_.emplace(*std::move(item));
    return item_.has_value();
  }
  typename Item::value_type Take() { return *std::move(item_); }

 private:
  R range_;
  Item item_;
};

template <class R>
ForAwait<R> MakeForAwait(R&& range) {
  return ForAwait<R>(std::forward<R>(range));
}

}  // namespace coil::internal

// A declaration may contain commas (structured bindings), which the
// preprocessor takes for its own: the last argument is the range, the rest the
// declaration.
#define COIL_FOR_AWAIT(...)                                                    \
  COIL_INTERNAL_FA_PICK(                                                       \
      __VA_ARGS__, COIL_INTERNAL_FA_9, COIL_INTERNAL_FA_8, COIL_INTERNAL_FA_7, \
      COIL_INTERNAL_FA_6, COIL_INTERNAL_FA_5, COIL_INTERNAL_FA_4,              \
      COIL_INTERNAL_FA_3, COIL_INTERNAL_FA_2, COIL_INTERNAL_FA_1, )            \
  (__VA_ARGS__)

// ---- public interface ends here ----
#define COIL_INTERNAL_FA_PICK(a1, a2, a3, a4, a5, a6, a7, a8, a9, name, ...) \
  name
#define COIL_INTERNAL_FA_LOOP(range, ...)                           \
  for (auto coil_for_await = ::coil::internal::MakeForAwait(range); \
       coil_for_await.Keep(co_await coil_for_await.Next());)        \
    if (__VA_ARGS__ = coil_for_await.Take(); false) {               \
    } else /* NOLINT */
#define COIL_INTERNAL_FA_1(range) \
  static_assert(false, "COIL_FOR_AWAIT(declaration, range) { ... }");
#define COIL_INTERNAL_FA_2(a, range) COIL_INTERNAL_FA_LOOP(range, a)
#define COIL_INTERNAL_FA_3(a, b, range) COIL_INTERNAL_FA_LOOP(range, a, b)
#define COIL_INTERNAL_FA_4(a, b, c, range) COIL_INTERNAL_FA_LOOP(range, a, b, c)
#define COIL_INTERNAL_FA_5(a, b, c, d, range) \
  COIL_INTERNAL_FA_LOOP(range, a, b, c, d)
#define COIL_INTERNAL_FA_6(a, b, c, d, e, range) \
  COIL_INTERNAL_FA_LOOP(range, a, b, c, d, e)
#define COIL_INTERNAL_FA_7(a, b, c, d, e, f, range) \
  COIL_INTERNAL_FA_LOOP(range, a, b, c, d, e, f)
#define COIL_INTERNAL_FA_8(a, b, c, d, e, f, g, range) \
  COIL_INTERNAL_FA_LOOP(range, a, b, c, d, e, f, g)
#define COIL_INTERNAL_FA_9(a, b, c, d, e, f, g, h, range) \
  COIL_INTERNAL_FA_LOOP(range, a, b, c, d, e, f, g, h)

#endif  // COIL_TASK_FOR_AWAIT_H_
