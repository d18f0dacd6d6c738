#include "coil/net/internal/connect.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/timer_queue.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/socket_stream.h"
#include "coil/net/socket.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

using coil::internal::LoopCore;

class ChangeAwaiter;

// The attempts to connect. One task drives them: it is woken when one has come
// to its end or the next one is due, and looks what it was.
class Race final : private coil::internal::TimerNode {
 public:
  explicit Race(LoopCore& loop) : loop_(loop) {}
  Race(const Race&) = delete;
  Race& operator=(const Race&) = delete;
  ~Race() {
    loop_.Disarm(this);
    attempts_.clear();  // first: they tell when they close
  }

  // An error is kept.
  void Start(const Address& address, const std::vector<Address>& locals);
  // The next one is due after `delay`, if the last one has not failed before.
  void ArmDelay(absl::Duration delay) {
    const LoopTime when = loop_.RecentNow() + delay;
    if (when != LoopTime::InfiniteFuture()) loop_.Arm(this, when);
  }
  bool NextIsDue() const { return due_; }
  bool UnderWay() const { return under_way_ != 0; }
  // Looks at those that have ended. The winner, if there is one.
  std::unique_ptr<ByteStream> Settle();
  // REQUIRES: all have failed.
  std::vector<OsError> Errors() const;
  std::string Text() const;

  void SetWaiter(ChangeAwaiter* waiter) noexcept { waiter_ = waiter; }
  bool Changed() const { return changed_; }

 private:
  // Hears that its stream is connected, or is not.
  class Attempt final : public ByteStream::WriteRequest {
   public:
    explicit Attempt(Race& race) : race_(race) {}
    size_t WritePieces(absl::Span<iovec>) noexcept override { return 0; }
    void OnWritten(IoResult) noexcept override { race_.Wake(); }

    std::unique_ptr<ConnectingStream> stream;  // null once it has failed
    std::optional<OsError> error;

   private:
    Race& race_;
  };

  void Fire() noexcept override {
    due_ = true;
    Wake();
  }
  void Wake() noexcept;
  void Connect(Attempt& attempt, const Address& address,
               const std::vector<Address>& locals);
  void Failed(Attempt& attempt, OsError error) {
    attempt.error.emplace(std::move(error));
    attempt.stream.reset();
    --under_way_;
    // Only the last one has kept the next one waiting.
    if (&attempt == attempts_.back().get()) due_ = true;
  }

  LoopCore& loop_;
  std::vector<std::unique_ptr<Attempt>> attempts_;
  size_t under_way_ = 0;
  bool due_ = true;
  bool changed_ = false;
  ChangeAwaiter* waiter_ = nullptr;
};

// Waits until there is something to look at.
class ChangeAwaiter final : public coil::internal::LeafAwaiter<ChangeAwaiter> {
 public:
  explicit ChangeAwaiter(Race& race) : race_(race) {}
  ChangeAwaiter(ChangeAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)), race_(other.race_) {}
  ~ChangeAwaiter() { Dispose(); }

  bool Ready() noexcept { return race_.Changed(); }
  void Arm() noexcept { race_.SetWaiter(this); }
  void Unlink() noexcept { race_.SetWaiter(nullptr); }
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void Wake() noexcept { Grant(); }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "connect to ", race_.Text());
  }

 private:
  Race& race_;
};

void Race::Wake() noexcept {
  changed_ = true;
  if (waiter_ != nullptr) std::exchange(waiter_, nullptr)->Wake();
}

void Race::Start(const Address& address, const std::vector<Address>& locals) {
  loop_.Disarm(this);
  due_ = false;
  attempts_.push_back(std::make_unique<Attempt>(*this));
  Attempt& attempt = *attempts_.back();
  ++under_way_;
  try {
    Connect(attempt, address, locals);
  } catch (const OsError& error) {
    Failed(attempt, error);
  }
}

// Binds to the first address that can be bound.
void BindToOneOf(Socket& socket, int family,
                 const std::vector<Address>& locals) {
  std::optional<OsError> error;
  for (const Address& local : locals) {
    if (local.Family() != family) continue;
    try {
      socket.SetOption(SOL_SOCKET, SO_REUSEADDR, 1);
      return socket.Bind(local);
    } catch (const OsError& e) {
      error.emplace(e);
    }
  }
  if (error.has_value()) throw *error;
}

void Race::Connect(Attempt& attempt, const Address& address,
                   const std::vector<Address>& locals) {
  Network* network = address.IsIp() ? NetworkOf(loop_) : nullptr;
  if (network != nullptr) [[unlikely]] {
    attempt.stream = network->Connect(address, locals);
  } else {
    Socket socket(address.Family(), SOCK_STREAM);
    BindToOneOf(socket, address.Family(), locals);
    const bool connected = socket.StartConnect(address);
    attempt.stream = MakeSocketStream(std::move(socket), address,
                                      /*connecting=*/!connected);
  }
  if (attempt.stream->connecting()) attempt.stream->StartConnect(attempt);
  changed_ = true;
}

std::unique_ptr<ByteStream> Race::Settle() {
  changed_ = false;
  for (const auto& attempt : attempts_) {
    if (attempt->stream == nullptr || attempt->stream->connecting()) continue;
    const int error = attempt->stream->connect_error();
    if (error == 0) return std::move(attempt->stream);
    Failed(*attempt,
           OsError(error, "connect", attempt->stream->PeerName().ToString()));
  }
  return nullptr;
}

std::vector<OsError> Race::Errors() const {
  std::vector<OsError> errors;
  for (const auto& attempt : attempts_) errors.push_back(*attempt->error);
  return errors;
}

std::string Race::Text() const {
  std::string text;
  for (const auto& attempt : attempts_) {
    if (attempt->stream == nullptr) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    attempt->stream->PeerName().ToString());
    const int fd = attempt->stream->Descriptor();
    if (fd >= 0) absl::StrAppend(&text, " (fd ", fd, ")");
  }
  return text;
}

}  // namespace

Co<ConnectResult> ConnectToFirst(std::vector<Address> addresses,
                                 std::vector<Address> locals,
                                 absl::Duration delay) {
  ConnectResult result;
  Race race(coil::internal::RequireLoop("net: a connection"));
  size_t next = 0;
  for (;;) {
    result.stream = race.Settle();
    if (result.stream != nullptr) break;
    if (next < addresses.size() && race.NextIsDue()) {
      race.Start(addresses[next], locals);
      if (++next < addresses.size()) race.ArmDelay(delay);
      continue;
    }
    if (!race.UnderWay()) {
      result.errors = race.Errors();
      break;
    }
    co_await ChangeAwaiter(race);
  }
  co_return result;
}

std::vector<Address> Interleave(const std::vector<Address>& addresses,
                                int first_count) {
  // The addresses of each family, in the order in which they appear.
  std::vector<std::vector<Address>> families;
  for (const Address& address : addresses) {
    auto family = std::find_if(families.begin(), families.end(),
                               [&address](const std::vector<Address>& f) {
                                 return f.front().Family() == address.Family();
                               });
    if (family == families.end()) family = families.emplace(family);
    family->push_back(address);
  }
  std::vector<Address> result;
  if (families.empty()) return result;
  std::vector<size_t> taken(families.size(), 0);
  const auto lead =
      std::min(static_cast<size_t>(first_count - 1), families.front().size());
  for (; taken[0] < lead; ++taken[0]) {
    result.push_back(families.front()[taken[0]]);
  }
  while (result.size() < addresses.size()) {
    for (size_t i = 0; i < families.size(); ++i) {
      if (taken[i] < families[i].size()) {
        result.push_back(families[i][taken[i]++]);
      }
    }
  }
  return result;
}

}  // namespace coil::net::internal
