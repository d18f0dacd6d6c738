// coil/net/internal/no_sigpipe.h
//
// Keeps SIGPIPE away from a call that has no flag against it: write() to a pipe
// and sendfile(). Neither the disposition of the program nor its mask is
// changed for longer.
//
// Threads: each for itself.
// Lifetime: a scope around the call.

#ifndef COIL_NET_INTERNAL_NO_SIGPIPE_H_
#define COIL_NET_INTERNAL_NO_SIGPIPE_H_

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <ctime>

namespace coil::net::internal {

// SIGPIPE is blocked in this thread while it lives; one that a write() has
// raised meanwhile is gone afterwards.
class NoSigPipe {
 public:
  NoSigPipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    sigset_t pending;
    sigemptyset(&pending);
    ::sigpending(&pending);
    // One that was there before is somebody else's.
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  NoSigPipe(const NoSigPipe&) = delete;
  NoSigPipe& operator=(const NoSigPipe&) = delete;
  ~NoSigPipe() {
    const int saved = errno;
    if (raised_ && !was_pending_) {
      const timespec at_once = {};
      while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    errno = saved;
  }
  void Raised() { raised_ = true; }

 private:
  sigset_t pipe_;
  sigset_t before_;
  bool was_pending_;
  bool raised_ = false;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_NO_SIGPIPE_H_
