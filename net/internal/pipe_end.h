// coil/net/internal/pipe_end.h
//
// PipeEnd, which is public as a part of coil/net/pipe.h, and what makes pipes.
//
// Threads: may be moved to another thread.
// Lifetime: closes its descriptor.

#ifndef COIL_NET_INTERNAL_PIPE_END_H_
#define COIL_NET_INTERNAL_PIPE_END_H_

#include <utility>

namespace coil::net {

// Owns the descriptor of one end of a pipe, or of anything else.
class PipeEnd {
 public:
  PipeEnd() = default;
  // Takes over `fd`.
  static PipeEnd Adopt(int fd) noexcept {
    PipeEnd end;
    end.fd_ = fd;
    return end;
  }
  PipeEnd(PipeEnd&& other) noexcept : own_(other.own_), fd_(other.Release()) {}
  PipeEnd& operator=(PipeEnd&& other) noexcept {
    if (this != &other) {
      Close();
      own_ = other.own_;
      fd_ = other.Release();
    }
    return *this;
  }
  ~PipeEnd() { Close(); }

  // -1 for none.
  int Descriptor() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  // Gives up the descriptor without closing it.
  int Release() noexcept {
    own_ = false;
    return std::exchange(fd_, -1);
  }
  void Close() noexcept;

  // ---- public interface ends here ----
  static PipeEnd AdoptOwn(int fd) noexcept {
    PipeEnd end = Adopt(fd);
    end.own_ = true;
    return end;
  }
  // Of a pipe that was made here.
  bool IsOwn() const noexcept { return own_; }

 private:
  bool own_ = false;
  int fd_ = -1;
};

namespace internal {

// Fills in both ends, each closed in children. Returns an errno, or zero.
int OpenPipe(PipeEnd& read_end, PipeEnd& write_end) noexcept;

}  // namespace internal
}  // namespace coil::net

#endif  // COIL_NET_INTERNAL_PIPE_END_H_
