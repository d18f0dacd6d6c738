#include "coil/loop/epoll_poller.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <ctime>
#include <limits>
#include <string>

#include "absl/time/time.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/poll_events.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil {
namespace {

uint32_t ToEpoll(IoEvents interest, Trigger trigger) {
  uint32_t events = 0;
  if (interest & kReadable) events |= EPOLLIN | EPOLLRDHUP;
  if (interest & kWritable) events |= EPOLLOUT;
  // A watch that waits for nothing would spin on a hang-up, which is always
  // reported: it hears of it once.
  if (trigger == Trigger::kEdge || interest == 0) events |= EPOLLET;
  // Not by level: the mark stays until somebody reads past it, and it is no
  // data.
  if (trigger == Trigger::kEdge && (interest & kReadable)) events |= EPOLLPRI;
  return events;
}

}  // namespace

EpollPoller::EpollPoller() {
  internal::InstallForkGuard();
  fork_generation_ = internal::ForkGeneration();
  epoll_fd_ = internal::Sys().epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd_ < 0) throw OsError(errno, "epoll_create1");
}

EpollPoller::~EpollPoller() { internal::CloseDescriptor(epoll_fd_); }

void EpollPoller::Control(int operation, int fd, uint32_t generation,
                          IoEvents interest, Trigger trigger) {
  epoll_event event{};
  event.events = ToEpoll(interest, trigger);
  event.data.u64 = (uint64_t{generation} << 32) | static_cast<uint32_t>(fd);
  if (internal::Sys().epoll_ctl(epoll_fd_, operation, fd, &event) != 0) {
    const int error = errno;
    throw OsError(error,
                  operation == EPOLL_CTL_ADD ? "epoll add" : "epoll modify",
                  "fd " + std::to_string(fd));
  }
}

void EpollPoller::Add(Watch& watch, int fd, IoEvents interest,
                      Trigger trigger) {
  if (fd < 0) throw OsError(EBADF, "epoll add", "fd " + std::to_string(fd));
  const auto index = static_cast<size_t>(fd);
  uint32_t generation = 1;
  if (index < slots_.size()) {
    if (slots_[index].watch != nullptr) {
      throw OsError(EEXIST, "epoll add", "fd " + std::to_string(fd));
    }
    generation = slots_[index].generation + 1;
  }
  // Before the table grows: the kernel knows whether the number is one at all.
  Control(EPOLL_CTL_ADD, fd, generation, interest, trigger);
  if (index >= slots_.size()) {
    try {
      slots_.resize(std::max(index + 1, slots_.size() * 2));
    } catch (...) {
      epoll_event ignored{};
      internal::Sys().epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &ignored);
      throw;
    }
  }
  Slot& slot = slots_[index];
  slot.generation = generation;
  slot.watch = &watch;
  slot.interest = interest;
  SetDescriptor(watch, fd);
}

void EpollPoller::Modify(Watch& watch, IoEvents interest, Trigger trigger) {
  const int fd = watch.Descriptor();
  Slot& slot = slots_[static_cast<size_t>(fd)];
  Control(EPOLL_CTL_MOD, fd, slot.generation, interest, trigger);
  slot.interest = interest;
}

void EpollPoller::Remove(Watch& watch) noexcept {
  if (!watch.Watched()) return;
  const int fd = watch.Descriptor();
  Slot& slot = slots_[static_cast<size_t>(fd)];
  slot.watch = nullptr;
  ++slot.generation;
  SetDescriptor(watch, -1);
  if (fork_generation_ != internal::ForkGeneration()) return;
  // Fails if the descriptor is closed already; then the kernel has forgotten
  // it, unless a copy of it lives on, whose events the generation keeps out.
  epoll_event ignored{};
  internal::Sys().epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, &ignored);
}

int EpollPoller::Wait(absl::Duration timeout) {
  const internal::SyscallTable& sys = internal::Sys();
  if (timeout <= absl::ZeroDuration()) {
    return sys.epoll_wait(epoll_fd_, events_, kBatch, 0);
  }
  if (timeout == absl::InfiniteDuration()) {
    return sys.epoll_wait(epoll_fd_, events_, kBatch, -1);
  }
  if (has_pwait2_) {
    // Rounded up, so that no timer wakes the loop early.
    const timespec t =
        absl::ToTimespec(absl::Ceil(timeout, absl::Nanoseconds(1)));
    const int n = sys.epoll_pwait2(epoll_fd_, events_, kBatch, &t);
    // EPERM: a container's seccomp filter that does not know the call.
    if (n >= 0 || (errno != ENOSYS && errno != EPERM)) return n;
    has_pwait2_ = false;
  }
  const int64_t ms =
      absl::ToInt64Milliseconds(absl::Ceil(timeout, absl::Milliseconds(1)));
  return sys.epoll_wait(
      epoll_fd_, events_, kBatch,
      static_cast<int>(std::min<int64_t>(ms, std::numeric_limits<int>::max())));
}

int EpollPoller::Poll(absl::Duration timeout) {
  const int n = Wait(timeout);
  if (n < 0) {
    if (errno == EINTR) return 0;
    throw OsError(errno, "epoll_wait");
  }
  int told = 0;
  for (int i = 0; i < n; ++i) {
    // What the events after this one belong to is fetched meanwhile.
    if (i + kAhead < n) {
      const auto ahead = static_cast<uint32_t>(events_[i + kAhead].data.u64);
      __builtin_prefetch(slots_[ahead].watch, 1);
    }
    const uint64_t data = events_[i].data.u64;
    const auto fd = static_cast<uint32_t>(data);
    // Only compared with what is there now: an earlier event of this batch may
    // have removed the watch, or a new one may have taken the number.
    const Slot& slot = slots_[fd];
    if (slot.watch == nullptr ||
        slot.generation != static_cast<uint32_t>(data >> 32)) {
      continue;
    }
    const IoEvents events =
        internal::FromPollEvents(events_[i].events, slot.interest);
    if (events == 0) continue;
    ++told;
    slot.watch->OnReady(events);
  }
  return told;
}

}  // namespace coil
