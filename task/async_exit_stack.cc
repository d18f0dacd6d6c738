#include "coil/task/async_exit_stack.h"

namespace coil {

AsyncExitStack& AsyncExitStack::operator=(AsyncExitStack&& other) noexcept {
  std::swap(top_, other.top_);
  return *this;
}

// One by one: a long list would overflow the stack.
AsyncExitStack::~AsyncExitStack() {
  while (top_ != nullptr) Pop();
}

std::unique_ptr<internal::ExitNode> AsyncExitStack::Pop() noexcept {
  std::unique_ptr<internal::ExitNode> node = std::move(top_);
  top_ = std::move(node->next);
  return node;
}

Co<void> AsyncExitStack::Close() {
  std::exception_ptr none;
  co_await AExit(none);
}

Co<AsyncExitStack&> AsyncExitStack::AEnter() { co_return *this; }

Co<bool> AsyncExitStack::AExit(std::exception_ptr error) {
  const bool received = error != nullptr;
  bool dropped = false;
  bool raise = false;
  while (top_ != nullptr) {
    std::unique_ptr<internal::ExitNode> node = Pop();
    internal::ResultSlot<bool> slot =
        co_await internal::SlotOf(node->Exit(error));
    if (slot.HasError()) {
      error = slot.Error();
      raise = true;
    } else if (slot.Take()) {
      error = nullptr;
      raise = false;
      dropped = true;
    }
  }
  if (raise) std::rethrow_exception(error);
  co_return received&& dropped;
}

}  // namespace coil
