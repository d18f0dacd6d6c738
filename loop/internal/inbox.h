// coil/loop/internal/inbox.h
//
// Posts from other threads to a loop: an intrusive stack that is pushed with
// one compare-and-swap and drained by one exchange, then reversed into order.
// The state of the loop is part of the same word, so that "is it asleep?" and
// "is there work?" can never be answered apart:
//
//   nullptr   empty, the loop is awake
//   kParked   empty, the loop sleeps or is about to: who pushes must wake it
//   kClosed   the loop is gone: pushing fails
//   else      the newest node; the loop is awake or being woken
//
// `Atomics` is the seam for the model checker; see tests/loop/inbox_model.cc.
//
// Ordering: posts of one thread arrive in their order.
// Threads: Push from any thread; Park, Drain and Close from the loop's.
// Lifetime: a node that was pushed belongs to the inbox until it is drained.

#ifndef COIL_LOOP_INTERNAL_INBOX_H_
#define COIL_LOOP_INTERNAL_INBOX_H_

#include <atomic>
#include <cstdint>

namespace coil::internal {

class ReadyQueue;

// Something that another thread hands to a loop.
class PostNode {
 public:
  PostNode() = default;
  PostNode(const PostNode&) = delete;
  PostNode& operator=(const PostNode&) = delete;

  // On the loop's thread: schedules what was posted; `ready` is the loop's. The
  // node may die here.
  virtual void Deliver(ReadyQueue& ready) noexcept = 0;
  // The loop closed before delivery. The node may die here.
  virtual void Abandon() noexcept = 0;

  PostNode* next_post = nullptr;

 protected:
  ~PostNode() = default;
};

struct StdAtomics {
  template <class T>
  using Atomic = std::atomic<T>;
};

enum class PushResult : uint8_t {
  kQueued,  // the loop will see it by itself
  kWake,    // the caller must wake the loop, exactly once
  kClosed,  // refused, the node is the caller's again
};

// `Node` has a member `Node* next_post`.
template <class Node, class Atomics = StdAtomics>
class BasicInbox {
 public:
  PushResult Push(Node* node) noexcept {
    uintptr_t head = head_.load(std::memory_order_relaxed);
    for (;;) {
      if (head == kClosed) return PushResult::kClosed;
      node->next_post = head == kParked ? nullptr : AsNode(head);
      if (head_.compare_exchange_weak(head, AsWord(node),
                                      std::memory_order_acq_rel,
                                      std::memory_order_relaxed)) {
        return head == kParked ? PushResult::kWake : PushResult::kQueued;
      }
    }
  }

  // The same for a loop that is awake, which is all that most posts meet. False
  // if it sleeps or is gone: nothing was pushed. Touches the inbox no more once
  // the node is in it.
  bool PushToAwake(Node* node) noexcept {
    uintptr_t head = head_.load(std::memory_order_relaxed);
    do {
      if (head == kParked || head == kClosed) return false;
      node->next_post = AsNode(head);
    } while (!head_.compare_exchange_weak(head, AsWord(node),
                                          std::memory_order_acq_rel,
                                          std::memory_order_relaxed));
    return true;
  }

  // Says that the loop is going to sleep. False if there is work: do not sleep.
  bool Park() noexcept {
    uintptr_t expected = kEmpty;
    return head_.compare_exchange_strong(expected, kParked,
                                         std::memory_order_acq_rel,
                                         std::memory_order_acquire);
  }

  // True if there is nothing to drain, as far as this thread can see.
  bool LooksEmpty() const noexcept {
    return head_.load(std::memory_order_relaxed) == kEmpty;
  }

  // Wakes the state up and takes everything, oldest first, linked by next_post.
  Node* Drain() noexcept {
    // A look first: the exchange of an empty word would cost more.
    if (LooksEmpty()) return nullptr;
    return Reverse(head_.exchange(kEmpty, std::memory_order_acq_rel));
  }

  // Refuses every later push, and takes what is left, oldest first.
  Node* Close() noexcept {
    return Reverse(head_.exchange(kClosed, std::memory_order_acq_rel));
  }

 private:
  static constexpr uintptr_t kEmpty = 0;
  static constexpr uintptr_t kParked = 1;
  static constexpr uintptr_t kClosed = 2;

  static Node* AsNode(uintptr_t word) { return reinterpret_cast<Node*>(word); }
  static uintptr_t AsWord(Node* node) {
    return reinterpret_cast<uintptr_t>(node);
  }
  static Node* Reverse(uintptr_t word) {
    if (word <= kClosed) return nullptr;
    Node* ordered = nullptr;
    for (Node* node = AsNode(word); node != nullptr;) {
      // Another core has written the node: what else of it will be needed comes
      // along while the next one is waited for.
      __builtin_prefetch(node, /*rw=*/1);
      Node* next = node->next_post;
      node->next_post = ordered;
      ordered = node;
      node = next;
    }
    return ordered;
  }

  typename Atomics::template Atomic<uintptr_t> head_{kEmpty};
};

using Inbox = BasicInbox<PostNode>;

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_INBOX_H_
