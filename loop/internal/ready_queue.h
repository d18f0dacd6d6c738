// coil/loop/internal/ready_queue.h
//
// The FIFO of what runs next: intrusive, so that scheduling allocates nothing.
// One pass of the loop runs a snapshot of it; what is pushed meanwhile waits
// for the next pass (asyncio: one iteration, A161).
//
// Ordering: first in, first out, but for what is pushed in a FrontScope.
// Cancellation: none; a node that is queued stays queued until it is popped, so
//   an owner keeps it alive (tasks and handles hold a reference while queued).
// Threads: the loop's thread only.
// Lifetime: nodes are borrowed.

#ifndef COIL_LOOP_INTERNAL_READY_QUEUE_H_
#define COIL_LOOP_INTERNAL_READY_QUEUE_H_

#include <cstddef>
#include <string>

#include "coil/loop/internal/inbox.h"

namespace coil::internal {

// Something that the loop can run once for each time it is scheduled. The link
// of posts is that of the ready queue too, so that what is posted takes one
// cache line less; it is in one of the two at a time.
class Runnable : public PostNode {
 public:
  Runnable() = default;

  // Runs one step. May throw only what must leave the loop (KeyboardInterrupt);
  // the loop stays consistent then.
  virtual void Run() = 0;

  // The loop is closing and will not run this: let go of what is held.
  void Abandon() noexcept override = 0;

  // What is posted becomes ready.
  inline void Deliver(ReadyQueue& ready) noexcept override;

  // A name for reports of slow callbacks ("Task-3 at main.cc:12").
  virtual std::string Describe() const = 0;

  // The same without allocating, for the watchdog: called in a signal handler
  // in the loop's thread while Run() is on the stack. Writes at most `size`
  // bytes, no terminator, and returns how many.
  virtual size_t DescribeTo(char* buffer, size_t size) const noexcept {
    static constexpr char kText[] = "a callback";
    const size_t n = size < sizeof(kText) - 1 ? size : sizeof(kText) - 1;
    for (size_t i = 0; i < n; ++i) buffer[i] = kText[i];
    return n;
  }

  // True where the order among ready tasks may be chosen by a seed.
  virtual bool Shuffles() const { return false; }

 protected:
  ~Runnable() = default;

  // The word of the link is the derived class's while the node is not queued.
  // (No union: compilers take a store to one for a store to anything.)
  void* IdleWord() const noexcept { return next_post; }
  void SetIdleWord(void* word) noexcept {
    next_post = static_cast<PostNode*>(word);
  }

 private:
  friend class ReadyQueue;
  using PostNode::next_post;
};

class ReadyQueue {
 public:
  bool empty() const { return head_ == nullptr; }

  void Push(Runnable* node) noexcept {
    node->next_post = nullptr;
    *tail_ = node;
    tail_ = &node->next_post;
  }

  Runnable* Pop() noexcept { return empty() ? nullptr : PopFirst(); }

  // REQUIRES: it is not empty.
  Runnable* PopFirst() noexcept {
    Runnable* const node = First();
    head_ = node->next_post;
    if (head_ == nullptr) {
      tail_ = &head_;
    } else {
      PrefetchTwoLines(head_);
    }
    return node;
  }

  // The end of the queue as of now: the end of a pass.
  const void* Mark() const noexcept { return tail_; }
  // True if `node`, the first, is the last of the pass that ends at `mark`.
  static bool EndsPass(const Runnable* node, const void* mark) noexcept {
    return static_cast<const void*>(&node->next_post) == mark;
  }
  Runnable* First() const noexcept { return static_cast<Runnable*>(head_); }
  // How many there are, by counting.
  size_t CountSlowly() const noexcept {
    size_t count = 0;
    for (PostNode* node = head_; node != nullptr; node = node->next_post) {
      ++count;
    }
    return count;
  }

  // Moves all of `other` behind what is here.
  void Append(ReadyQueue& other) noexcept {
    if (other.empty()) return;
    *tail_ = other.head_;
    tail_ = other.tail_;
    other.head_ = nullptr;
    other.tail_ = &other.head_;
  }

  // What is pushed while this lives comes before what is there already.
  class FrontScope {
   public:
    FrontScope(ReadyQueue& queue) noexcept
        : queue_(queue), head_(queue.head_), tail_(queue.tail_) {
      queue_.head_ = nullptr;
      queue_.tail_ = &queue_.head_;
    }
    FrontScope(const FrontScope&) = delete;
    FrontScope& operator=(const FrontScope&) = delete;
    ~FrontScope() {
      if (head_ == nullptr) return;
      *queue_.tail_ = head_;
      queue_.tail_ = tail_;
    }

   private:
    ReadyQueue& queue_;
    PostNode* const head_;
    PostNode** const tail_;
  };

  ReadyQueue() = default;
  ReadyQueue(const ReadyQueue&) = delete;
  ReadyQueue& operator=(const ReadyQueue&) = delete;

 private:
  // The next step's node is fetched while this one's runs. Tasks and posts are
  // that large, and what a step needs is in both lines.
  static void PrefetchTwoLines(const PostNode* node) noexcept {
    __builtin_prefetch(node);
    __builtin_prefetch(reinterpret_cast<const char*>(node) + 64);
  }

  PostNode* head_ = nullptr;  // all of them are Runnables
  PostNode** tail_ = &head_;
};

inline void Runnable::Deliver(ReadyQueue& ready) noexcept { ready.Push(this); }

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_READY_QUEUE_H_
