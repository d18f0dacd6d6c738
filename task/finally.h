// coil/task/finally.h
//
// Finally() runs a body and then a cleanup that has to be awaited, however the
// body ended. C++ can await neither in a catch block nor in a destructor; for
// what need not be awaited, a destructor is simpler.
//
// Example:
//   coil::Co<void> Close() { co_return; }
//   coil::Co<int> Use() {
//     co_return co_await coil::Finally(
//         [&]() -> coil::Co<int> { co_return 1; },
//         [&]() -> coil::Co<void> { co_await Close(); });
//   }
//
// Ordering: the cleanup starts when the body has ended, in the same task.
// Cancellation: the cleanup runs after a cancel, too. A cancel that arrives
//   while the cleanup waits is thrown out of its await, as in Python: what must
//   not be cut short goes in Shield(). Cancelled before its first step, a task
//   runs neither.
// Threads: the loop's thread only.
// Lifetime: rvalue callables are kept in the frame, lvalues are referred to.
//   Should the loop be closed while the body is suspended, the cleanup does not
//   run.
//
// An error of the cleanup replaces that of the body. Python: try ... finally.

#ifndef COIL_TASK_FINALLY_H_
#define COIL_TASK_FINALLY_H_

#include <type_traits>
#include <utility>

#include "coil/task/co.h"
#include "coil/task/internal/body.h"
#include "coil/task/internal/lambda_frames.h"
#include "coil/task/internal/result_slot.h"

namespace coil {

namespace internal {

// B and C are values or lvalue references, see StoredBody.
COIL_LAMBDA_FRAMES_BEGIN
template <class T, class B, class C>
Co<T> FinallyBody(B body, C cleanup) {
  ResultSlot<T> slot = co_await SlotOf(CallBody(body));
  co_await CallBody(cleanup);
  co_return slot.Take();
}
COIL_LAMBDA_FRAMES_END

}  // namespace internal

// Co<T> Finally(body, cleanup), where T is what the body returns. Both are
// coroutine functions or plain functions; the cleanup results in void.
template <class B, class C>
auto Finally(B&& body, C&& cleanup) {
  internal::CheckBody<B>();
  internal::CheckBody<C>();
  static_assert(std::is_invocable_v<std::remove_reference_t<B>&>,
                "Finally: the body takes no arguments");
  static_assert(std::is_invocable_v<std::remove_reference_t<C>&>,
                "Finally: the cleanup takes no arguments");
  static_assert(std::is_void_v<internal::BodyResult<C>>,
                "Finally: the cleanup results in void");
  return internal::FinallyBody<internal::BodyResult<B>, internal::StoredBody<B>,
                               internal::StoredBody<C>>(
      std::forward<B>(body), std::forward<C>(cleanup));
}

}  // namespace coil

#endif  // COIL_TASK_FINALLY_H_
