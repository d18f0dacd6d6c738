// coil/loop/internal/poll_events.h
//
// What epoll reports, in coil's own words. io_uring reports the same bits.
//
// Threads: any.

#ifndef COIL_LOOP_INTERNAL_POLL_EVENTS_H_
#define COIL_LOOP_INTERNAL_POLL_EVENTS_H_

#include <sys/epoll.h>

#include <cstdint>

#include "coil/loop/poller.h"

namespace coil::internal {

// What a watch for `interest` is told when `events` have been reported.
inline IoEvents FromPollEvents(uint32_t events, IoEvents interest) {
  IoEvents result = 0;
  if (events & (EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) {
    result |= kReadable;
  }
  if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) result |= kWritable;
  if (events & EPOLLHUP) result |= kHangUp;
  if (events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) result |= kReadHangUp;
  if (events & EPOLLPRI) result |= kUrgent;
  return static_cast<IoEvents>(result &
                               (interest | kHangUp | kReadHangUp | kUrgent));
}

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_POLL_EVENTS_H_
