// coil/net/internal/wait_list.h
//
// Tasks that wait until something about a stream or a server has changed; each
// looks again when it is woken:
//
//   while (!closed) co_await waiters.Wait("the server to close");
//
// Ordering: woken first in, first out.
// Threads: the loop's thread only.
// Lifetime: outlives those who wait in it.

#ifndef COIL_NET_INTERNAL_WAIT_LIST_H_
#define COIL_NET_INTERNAL_WAIT_LIST_H_

#include <string>
#include <utility>

#include "coil/task/internal/leaf_awaiter.h"

namespace coil::net::internal {

class WaitList {
 public:
  class Awaiter final : public coil::internal::LeafAwaiter<Awaiter> {
   public:
    Awaiter(WaitList& list, const char* what) : list_(&list), what_(what) {}
    Awaiter(Awaiter&& other) noexcept
        : LeafAwaiter(std::move(other)),
          list_(other.list_),
          what_(other.what_) {}
    ~Awaiter() { Dispose(); }

    bool Ready() noexcept { return false; }
    void Arm() noexcept { list_->Link(this); }
    void Unlink() noexcept { list_->Unlink(this); }
    void GiveBack() noexcept {}
    void Take() noexcept {}
    void DescribeWait(std::string* out) const override { out->append(what_); }

   private:
    friend class WaitList;
    void Wake() noexcept { Grant(); }

    WaitList* list_;
    const char* what_;
    Awaiter* previous_ = nullptr;
    Awaiter* next_ = nullptr;
  };

  WaitList() = default;
  WaitList(const WaitList&) = delete;
  WaitList& operator=(const WaitList&) = delete;

  // `what` is for people: "the server to close".
  [[nodiscard]] Awaiter Wait(const char* what) { return Awaiter(*this, what); }

  void WakeAll() noexcept {
    while (first_ != nullptr) {
      Awaiter* awaiter = first_;
      Unlink(awaiter);
      awaiter->Wake();
    }
  }
  bool empty() const { return first_ == nullptr; }

 private:
  void Link(Awaiter* awaiter) noexcept {
    awaiter->previous_ = last_;
    awaiter->next_ = nullptr;
    (last_ != nullptr ? last_->next_ : first_) = awaiter;
    last_ = awaiter;
  }
  void Unlink(Awaiter* awaiter) noexcept {
    (awaiter->previous_ != nullptr ? awaiter->previous_->next_ : first_) =
        awaiter->next_;
    (awaiter->next_ != nullptr ? awaiter->next_->previous_ : last_) =
        awaiter->previous_;
  }

  Awaiter* first_ = nullptr;
  Awaiter* last_ = nullptr;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_WAIT_LIST_H_
