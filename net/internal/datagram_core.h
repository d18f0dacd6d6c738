// coil/net/internal/datagram_core.h
//
// What DatagramSocket is a handle to: a socket of datagrams, with the one who
// receives and those who wait for room to send.
//
//   readable_   set by an edge, cleared when the socket is empty
//   writable_   set at first, by an edge and by the timer, cleared when there
//               is no room
//
// A datagram is received as soon as it comes, into the hands of who waits for
// it; if that one is cancelled before it runs, the datagram is put back whole.
//
// Threads: the loop's thread only.
// Lifetime: counted; lets go of the loop when either of them ends.

#ifndef COIL_NET_INTERNAL_DATAGRAM_CORE_H_
#define COIL_NET_INTERNAL_DATAGRAM_CORE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/loop/os_error.h"
#include "coil/loop/poller.h"
#include "coil/net/address.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/socket_file.h"
#include "coil/net/socket.h"
#include "coil/task/internal/future_core.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {

// One datagram, or an error. What does not fit into the memory of the caller is
// in `rest`, so that it can be put back whole.
struct Incoming {
  Incoming() = default;
  absl::Span<char> room;  // of the caller; may be empty
  size_t size = 0;        // how much of it was filled
  std::string rest;
  Address from;
  bool truncated = false;  // it was longer than all of that
  int error = 0;
};

class DatagramCore final : private Poller::Watch,
                           private DatagramPort::Owner,
                           private coil::internal::TimerNode,
                           private coil::internal::LoopResource {
 public:
  // Who waits for a datagram.
  class Receiver {
   public:
    Incoming incoming;
    virtual void OnReceived() noexcept = 0;

   protected:
    ~Receiver() = default;
  };
  // Who waits for room.
  class Sender {
   public:
    std::string_view data;
    std::optional<Address> to;  // none: the other end
    int error = 0;
    virtual void OnSent() noexcept = 0;

   protected:
    ~Sender() = default;

   private:
    friend class DatagramCore;
    Sender* previous_ = nullptr;
    Sender* next_ = nullptr;
  };

  // `remote` is where Send() sends to, if anywhere; `connected` if the socket
  // does so by itself. Throws OsError if the loop cannot watch it,
  // std::runtime_error without a running loop.
  DatagramCore(Socket socket, const Address& remote, bool connected,
               SocketFile file);
  // The same in a network that is not the system's.
  DatagramCore(std::unique_ptr<DatagramPort> port, const Address& remote,
               bool connected);

  void Ref() noexcept { ++references_; }
  void Unref() noexcept {
    if (--references_ == 0) delete this;
  }

  void CheckLoop(const coil::internal::TaskCore* task) const {
    if (home_ != &task->loop()) [[unlikely]]
      coil::internal::ThrowWrongLoop("net: a datagram socket");
  }
  const Socket& socket() const { return socket_; }
  Address SockName() const noexcept;
  const Address& remote() const { return remote_; }
  bool connected() const { return connected_; }
  bool closed() const { return loop_ == nullptr; }
  std::string SockText() const;

  // ---- receiving
  bool HasReceiver() const { return receiver_ != nullptr; }
  // Fills in what is there now; false if there is nothing.
  bool TryReceive(Incoming& incoming) noexcept;
  // `receiver` is the one from now on. With `armed` it waits.
  void HoldReceiver(Receiver& receiver, bool armed) noexcept {
    receiver_ = &receiver;
    armed_ = armed;
  }
  void EndReceive(Receiver& receiver) noexcept {
    if (receiver_ == &receiver) {
      receiver_ = nullptr;
      armed_ = false;
    }
  }
  void PutBack(Incoming& incoming) noexcept;
  // Too many have been received in a row: give way.
  bool TurnUsedUp() noexcept {
    if (streak_ < kLongestStreak) [[likely]]
      return false;
    streak_ = 0;
    return true;
  }

  // ---- sending
  // False if there is no room; there is none while somebody waits for it.
  bool TrySend(Sender& sender) noexcept;
  void AddSender(Sender& sender) noexcept;
  void RemoveSender(Sender& sender) noexcept;

  void Close() noexcept;

 private:
  static constexpr uint8_t kLongestStreak = 16;

  ~DatagramCore() { Close(); }

  void OnReady(IoEvents events) noexcept override;
  void OnLoopClose() noexcept override;
  void Fire() noexcept override;
  void OnArrival() noexcept override;
  void OnRoom() noexcept override { Flush(); }
  bool Receive(Incoming& incoming) noexcept;
  bool SendToPort(Sender& sender) noexcept;
  void Flush() noexcept;

  Socket socket_;
  SocketFile file_;
  // Instead of a socket, which is then neither readable nor writable: who finds
  // it ready does not look here.
  std::unique_ptr<DatagramPort> port_;
  const Address remote_;
  const bool connected_;
  const int family_;
  bool readable_ = false;
  bool writable_ = true;
  bool armed_ = false;
  uint8_t streak_ = 0;
  uint32_t references_ = 0;
  coil::internal::LoopCore* const home_;
  coil::internal::LoopCore* loop_;  // null once this is closed
  Poller* poller_;                  // null with a port
  char* scratch_;                   // the loop's
  Receiver* receiver_ = nullptr;
  Sender* first_sender_ = nullptr;
  Sender* last_sender_ = nullptr;
  absl::Duration pause_;  // until the next attempt, where no event will come
  std::optional<Incoming> returned_;
};

using DatagramRef = coil::internal::RefPtr<DatagramCore>;

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_DATAGRAM_CORE_H_
