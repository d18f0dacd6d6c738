// coil/net/internal/sock_waits.h
//
// The tasks that wait for descriptors of the program: at most one for each
// direction of each. A descriptor is watched only while somebody waits, since
// nobody says when it is closed or given to a stream.
//
// Cancellation: nothing was consumed; a wait only tells that a call is worth a
//   try.
// Threads: the loop's thread only.
// Lifetime: of the loop.

#ifndef COIL_NET_INTERNAL_SOCK_WAITS_H_
#define COIL_NET_INTERNAL_SOCK_WAITS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"
#include "coil/task/internal/leaf_awaiter.h"

namespace coil::net::internal {

enum class Direction : uint8_t { kRead, kWrite };

class SockWaits {
 public:
  class Waiter {
   public:
    // `error` is an errno; zero if the descriptor is ready.
    virtual void OnReady(int error) noexcept = 0;

   protected:
    ~Waiter() = default;
  };

  explicit SockWaits(coil::internal::LoopCore& loop);
  ~SockWaits();
  SockWaits(const SockWaits&) = delete;
  SockWaits& operator=(const SockWaits&) = delete;

  bool Waits(int fd, Direction direction) const noexcept;
  // An errno; zero if `waiter` waits now.
  int Add(int fd, Direction direction, Waiter& waiter) noexcept;
  void Remove(int fd, Direction direction) noexcept;
  // `fd` is about to be closed.
  void Abort(int fd) noexcept { Fail(fd, ECONNABORTED); }

 private:
  struct Entry final : Poller::Watch {
    explicit Entry(SockWaits& waits_in) : waits(waits_in) {}
    void OnReady(IoEvents events) noexcept override;
    IoEvents Interest() const noexcept;

    SockWaits& waits;
    Waiter* reader = nullptr;
    Waiter* writer = nullptr;
  };

  static Waiter*& Slot(Entry& entry, Direction direction) noexcept {
    return direction == Direction::kRead ? entry.reader : entry.writer;
  }
  // Watches what is still waited for. May delete `entry`.
  void Update(int fd, Entry& entry) noexcept;
  void Fail(int fd, int error) noexcept;

  Poller& poller_;
  std::unordered_map<int, std::unique_ptr<Entry>> entries_;
};

// Waits until a call on `fd` is worth a try. `operation` names the caller.
class ReadyAwaiter final : public coil::internal::LeafAwaiter<ReadyAwaiter>,
                           private SockWaits::Waiter {
 public:
  ReadyAwaiter(SockWaits& waits, int fd, Direction direction,
               const char* operation)
      : waits_(waits), fd_(fd), direction_(direction), operation_(operation) {}
  ReadyAwaiter(ReadyAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        Waiter(),
        waits_(other.waits_),
        fd_(other.fd_),
        direction_(other.direction_),
        operation_(other.operation_) {}
  ~ReadyAwaiter() { Dispose(); }

  // Throws std::runtime_error if another task waits for the same.
  void Validate() const;
  bool Ready() noexcept { return false; }
  void Arm() noexcept {
    error_ = waits_.Add(fd_, direction_, *this);
    if (error_ != 0) Grant();
  }
  void Unlink() noexcept { waits_.Remove(fd_, direction_); }
  void GiveBack() noexcept {}
  void Take();
  void DescribeWait(std::string* out) const override;

 private:
  void OnReady(int error) noexcept override {
    error_ = error;
    Grant();
  }

  SockWaits& waits_;
  const int fd_;
  const Direction direction_;
  const char* const operation_;
  int error_ = 0;
};

// Gives way where the time slice of the task is used up.
class TurnAwaiter final : public coil::internal::LeafAwaiter<TurnAwaiter> {
 public:
  TurnAwaiter() = default;
  TurnAwaiter(TurnAwaiter&&) = default;
  ~TurnAwaiter() { Dispose(); }
  bool Ready() noexcept { return true; }
  void Arm() noexcept { Grant(); }
  void ArmGivingWay() noexcept { Grant(); }
  void Unlink() noexcept {}
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void DescribeWait(std::string* out) const override { out->append("turn"); }
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_SOCK_WAITS_H_
