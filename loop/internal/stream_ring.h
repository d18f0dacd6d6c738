// coil/loop/internal/stream_ring.h
//
// What a poller offers that lets the kernel receive and accept by itself: an
// operation is started once, goes on, and tells of each message or connection
// from within Poll(). Found by Poller::Streams(), so that who uses sockets need
// not know which poller it is.
//
//   Attach() ──> Start() ──> the kernel ──> Poll(): OnBytes(), OnAccepted()
//                  ^  └─ Stop() ─> what has come meanwhile is told, then none
//                  └─ OnEnd(): the last that is told, but for kRefused
//
// Bytes lie in memory of the ring, which is lent. There is little of it, for
// all: if it runs short, OnCallBack() wants it back.
//
// Ordering: what one operation tells, in the order of the kernel.
// Cancellation: Stop() asks; nothing is lost by it. After Detach() nothing is
//   told, what comes is dropped, and the kernel has let go of the file.
// Threads: the loop's thread only. StopAll() comes before the loop leaves it.
// Lifetime: an operation is borrowed from Attach() until Detach(), which comes
//   before the close of its descriptor, and a chunk from OnBytes() until
//   GiveBack(), which comes before Detach().

#ifndef COIL_LOOP_INTERNAL_STREAM_RING_H_
#define COIL_LOOP_INTERNAL_STREAM_RING_H_

#include <cstddef>
#include <cstdint>

namespace coil::internal {

class StreamRing {
 public:
  class Operation;

  // Bytes that were received.
  struct Chunk {
    const char* data = nullptr;
    size_t size = 0;
    Chunk* next = nullptr;       // for who has it
    Operation* owner = nullptr;  // null while nobody has it
  };

  // What OnEnd() is told if the kernel does not do this with this descriptor.
  static constexpr int kRefused = -1;

  // Each function is called from Poll() or StopAll(), must run no user code,
  // and may start, stop and detach this and others.
  class Operation {
   public:
    enum class Kind : uint8_t { kReceive, kAccept };
    explicit Operation(Kind kind) : kind_(kind) {}
    Operation(const Operation&) = delete;
    Operation& operator=(const Operation&) = delete;

    // To be given back.
    virtual void OnBytes(Chunk&) noexcept {}
    // A connection, to be closed; it does not block.
    virtual void OnAccepted(int /*fd*/) noexcept {}
    // It goes on no more: zero for the end of what comes, an errno, or
    // kRefused. ENOMEM also if something was lost.
    virtual void OnEnd(int error) noexcept = 0;
    // All chunks of this are to be given back now. Detaches nobody.
    virtual void OnCallBack() noexcept {}

    // Start() was called, and neither Stop() nor OnEnd() since.
    bool Started() const noexcept { return wanted_; }

   protected:
    ~Operation() = default;

   private:
    friend class UringStreams;
    const Kind kind_;
    bool wanted_ = false;
    bool armed_ = false;      // with the kernel, until its last completion
    bool cancelled_ = false;  // which has been asked to end
    bool listed_ = false;     // in the list of those that have changed
    int fd_ = -1;
    Operation* previous_ = nullptr;
    Operation* next_ = nullptr;
  };

  // False if this cannot be done: there is no memory, the kernel does not know
  // how, or it is no socket.
  virtual bool Attach(Operation& operation, int fd) noexcept = 0;
  // No effect if it is not attached.
  virtual void Detach(Operation& operation) noexcept = 0;
  // Idempotent. REQUIRES: it is attached.
  virtual void Start(Operation& operation) noexcept = 0;
  virtual void Stop(Operation& operation) noexcept = 0;
  virtual void GiveBack(Chunk& chunk) noexcept = 0;
  // Waits until the kernel receives and accepts nothing any more, and tells.
  // The next Poll() starts again.
  virtual void StopAll() noexcept = 0;

 protected:
  ~StreamRing() = default;
};

}  // namespace coil::internal

#endif  // COIL_LOOP_INTERNAL_STREAM_RING_H_
