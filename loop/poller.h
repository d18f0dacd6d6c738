// coil/loop/poller.h
//
// Poller is the seam between a loop and the descriptors of the system: it tells
// which of them are ready, waits until one is, and can be woken from another
// thread. EpollPoller is the default; io_uring and fault injection come in
// through the same door. A simulated network does not: it has no descriptors.
//
// Example:
//   void PollOnce(coil::Poller& poller) { poller.Poll(absl::ZeroDuration()); }
//
// Ordering: the events of one Poll() are delivered in the order in which the
//   system reports them.
// Cancellation: after Remove() a watch hears nothing more, also when its event
//   is part of the batch that is being delivered.
// Threads: the loop's thread only. Another thread wakes a loop through its
//   inbox, whose descriptor is watched like every other.
// Lifetime: a watch is borrowed from Add() until Remove(), which comes before
//   the close of its descriptor.

#ifndef COIL_LOOP_POLLER_H_
#define COIL_LOOP_POLLER_H_

#include <cstdint>

#include "absl/time/time.h"
#include "coil/loop/internal/language.h"

namespace coil {

namespace internal {
class FileRing;
class StreamRing;
}  // namespace internal

// What a watch waits for, and what is reported to it. A bit mask.
using IoEvents = uint8_t;
inline constexpr IoEvents kReadable = 1;  // data, end of file, or an error
inline constexpr IoEvents kWritable = 2;  // room, or an error
inline constexpr IoEvents kHangUp = 4;    // reported only: both ends are shut
// Reported only: nothing will arrive behind what is there, but the end of file
// or an error. An edge-triggered reader reads on until it has that.
inline constexpr IoEvents kReadHangUp = 8;
// Reported only, and to edge-triggered readers only: there is urgent data of
// TCP, and a recv() stops at its mark although more may lie behind it.
inline constexpr IoEvents kUrgent = 16;

// kLevel reports as long as the descriptor is ready; kEdge reports once when it
// becomes ready, and costs no further system call.
enum class Trigger : uint8_t { kLevel, kEdge };

class Poller {
 public:
  // A descriptor that is watched. Derive from it; the poller keeps a pointer.
  class Watch {
   public:
    Watch() = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    // Called from Poll(). Must not throw and must not run user code: it
    // schedules what waits. May Remove() itself and others.
    virtual void OnReady(IoEvents events) noexcept = 0;

    int Descriptor() const { return fd_; }
    bool Watched() const { return fd_ >= 0; }

   protected:
    ~Watch() = default;

   private:
    friend class Poller;
    int fd_ = -1;
  };

  virtual ~Poller() = default;

  // Starts to watch `fd`. Throws OsError: EPERM for a regular file, EEXIST if
  // it is watched already, EBADF, ENOSPC, ENOMEM. REQUIRES: !watch.Watched().
  virtual void Add(Watch& watch, int fd, IoEvents interest,
                   Trigger trigger) = 0;
  // Changes what is waited for. REQUIRES: watch.Watched(). Throws OsError.
  virtual void Modify(Watch& watch, IoEvents interest, Trigger trigger) = 0;
  // Ends the watch; no effect if it is not watched. Call it before close().
  virtual void Remove(Watch& watch) noexcept = 0;

  // Waits for at most `timeout`, delivers what is ready, and returns how many
  // watches were told. Rounds the timeout up; InfiniteDuration() has no end.
  // Throws OsError; EINTR is not an error and returns 0.
  virtual int Poll(absl::Duration timeout) = 0;

  // How many descriptors are watched, beside the poller's own, and how many
  // operations on files are under way. Not virtual: the loop asks in every
  // pass.
  int WatchCount() const noexcept { return watch_count_; }

  // "epoll", "io_uring": for reports.
  virtual const char* Name() const noexcept = 0;

  // ---- public interface ends here ----
  // What reads and writes files without a thread; null where there is no such
  // thing.
  virtual internal::FileRing* Files() noexcept { return nullptr; }
  // What receives and accepts without being asked each time; null where there
  // is no such thing.
  virtual internal::StreamRing* Streams() noexcept { return nullptr; }

 protected:
  // Records that `watch` is watched as `fd`, or not any more with -1, and
  // counts.
  void SetDescriptor(Watch& watch, int fd) noexcept {
    watch_count_ += (fd >= 0 ? 1 : 0) - (watch.fd_ >= 0 ? 1 : 0);
    watch.fd_ = fd;
  }
  // `n` more operations are under way, of which Poll() will tell.
  void CountOperations(int n) noexcept { watch_count_ += n; }

 private:
  int watch_count_ = 0;
};

}  // namespace coil

#endif  // COIL_LOOP_POLLER_H_
