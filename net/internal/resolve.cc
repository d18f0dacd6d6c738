#include "coil/net/internal/resolve.h"

#include <netdb.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/os_error.h"
#include "coil/loop/thread_pool.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/task_core.h"

namespace coil::net::internal {
namespace {

using coil::internal::LoopCore;

// The errno that says about the same.
int ErrnoOf(int gai_error, int system_error) {
  switch (gai_error) {
    case EAI_SYSTEM:
      return system_error != 0 ? system_error : EIO;
    case EAI_AGAIN:
      return EAGAIN;
    case EAI_MEMORY:
      return ENOMEM;
    case EAI_FAIL:
      return EIO;
    case EAI_FAMILY:
      return EAFNOSUPPORT;
    default:
      return ENXIO;  // there is no such name, or it has no address
  }
}

// One call of getaddrinfo(). Shared by the thread that makes it and the task
// that waits for it: whoever is last deletes it.
class Lookup final : public ThreadPool::Job {
 public:
  Lookup(LoopCore& loop, std::string host, int family)
      : loop_(&loop),
        remote_(loop.remote()),
        post_(*this),
        host_(std::move(host)),
        family_(family) {}

  // Called on the loop's thread when it is done; null if nobody waits.
  void SetWaiter(class LookupAwaiter* waiter) noexcept { waiter_ = waiter; }
  bool Done() const { return done_; }
  int error() const { return error_; }
  std::vector<Address>& addresses() { return addresses_; }
  const std::string& host() const { return host_; }

  // The thread's count begins here. Throws what Submit() throws.
  void Start() {
    pool_ = &loop_->loop().DefaultExecutor();
    pool_->Submit(*this);
    Ref();
    loop_->BeginExternal();
  }
  // Nobody waits any more.
  void Detach() noexcept {
    waiter_ = nullptr;
    if (!done_ && pool_->TryRemove(*this)) {
      loop_->EndExternal();
      Unref();
    }
  }
  void Ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  class Post final : public coil::internal::PostNode {
   public:
    explicit Post(Lookup& lookup) : lookup_(lookup) {}
    void Deliver() noexcept override { lookup_.Finish(); }
    void Abandon() noexcept override { lookup_.Unref(); }

   private:
    Lookup& lookup_;
  };

  ~Lookup() = default;

  void Run() noexcept override {
    addrinfo hints{};
    hints.ai_family = family_;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;
    addrinfo* list = nullptr;
    const coil::internal::SocketTable& sys = coil::internal::SockSys();
    int result = sys.getaddrinfo(host_.c_str(), nullptr, &hints, &list);
    if (result == EAI_NONAME || result == EAI_ADDRFAMILY) {
      // AI_ADDRCONFIG hides the loopback's family where no other address is.
      hints.ai_flags = 0;
      result = sys.getaddrinfo(host_.c_str(), nullptr, &hints, &list);
    }
    if (result != 0) {
      error_ = ErrnoOf(result, errno);
    } else {
      try {
        for (addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
          const Address address =
              Address::FromSockaddr(entry->ai_addr, entry->ai_addrlen);
          if (address.IsIp() && std::find(addresses_.begin(), addresses_.end(),
                                          address) == addresses_.end()) {
            addresses_.push_back(address);
          }
        }
        if (addresses_.empty()) error_ = ENXIO;
      } catch (...) {
        error_ = ENOMEM;
      }
      sys.freeaddrinfo(list);
    }
    Return();
  }
  // The pool has ended without running it.
  void Abandon() noexcept override {
    error_ = ECANCELED;
    Return();
  }
  void Return() noexcept {
    const std::shared_ptr<coil::internal::LoopRemote> remote = remote_;
    if (!remote->Post(&post_)) Unref();
  }
  // On the loop's thread.
  void Finish() noexcept;

  LoopCore* loop_;
  std::shared_ptr<coil::internal::LoopRemote> remote_;
  Post post_;
  ThreadPool* pool_ = nullptr;
  class LookupAwaiter* waiter_ = nullptr;
  std::atomic<int> references_{1};
  bool done_ = false;
  std::string host_;
  int family_;
  int error_ = 0;
  std::vector<Address> addresses_;
};

struct Unref {
  void operator()(Lookup* lookup) const noexcept { lookup->Unref(); }
};
using LookupPtr = std::unique_ptr<Lookup, Unref>;

class LookupAwaiter final : public coil::internal::LeafAwaiter<LookupAwaiter> {
 public:
  explicit LookupAwaiter(Lookup& lookup) : lookup_(&lookup) {}
  LookupAwaiter(LookupAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)), lookup_(other.lookup_) {}
  ~LookupAwaiter() { Dispose(); }

  bool Ready() noexcept { return lookup_->Done(); }
  void Arm() noexcept { lookup_->SetWaiter(this); }
  void Unlink() noexcept { lookup_->SetWaiter(nullptr); }
  void GiveBack() noexcept {}
  void Take() noexcept {}
  void Wake() noexcept { Grant(); }
  void DescribeWait(std::string* out) const override {
    absl::StrAppend(out, "the address of ", lookup_->host());
  }

 private:
  Lookup* lookup_;
};

void Lookup::Finish() noexcept {
  done_ = true;
  loop_->EndExternal();
  if (LookupAwaiter* waiter = std::exchange(waiter_, nullptr)) waiter->Wake();
  Unref();
}

// Detaches on every way out, a cancel included.
class Attached {
 public:
  explicit Attached(Lookup& lookup) : lookup_(lookup) {}
  Attached(const Attached&) = delete;
  Attached& operator=(const Attached&) = delete;
  ~Attached() { lookup_.Detach(); }

 private:
  Lookup& lookup_;
};

void CheckHost(const std::string& host) {
  if (host.empty()) {
    throw std::invalid_argument("net: the name of the host is empty");
  }
  if (host.find('\0') != std::string::npos) {
    throw std::invalid_argument("net: the name of a host holds a zero byte");
  }
  // 253 characters, and perhaps a dot behind (RFC 1035).
  if (host.size() > 254) {
    throw std::invalid_argument(absl::StrCat(
        "net: the name of a host has at most 253 bytes, not ", host.size()));
  }
}

}  // namespace

std::vector<Address> EveryInterface(int port, int family) {
  std::vector<Address> addresses;
  if (family != AF_INET6) {
    addresses.push_back(*Address::FromNumeric("0.0.0.0", port));
  }
  if (family != AF_INET) {
    addresses.push_back(*Address::FromNumeric("::", port));
  }
  return addresses;
}

Co<std::vector<Address>> ResolveHost(std::string host, int port, int family) {
  std::vector<Address> addresses;
  if (std::optional<Address> numeric = Address::FromNumeric(host, port)) {
    if (family != AF_UNSPEC && family != numeric->Family()) {
      throw OsError(EAFNOSUPPORT, "resolve", host);
    }
    addresses.push_back(*numeric);
    co_return addresses;
  }
  CheckHost(host);
  LoopCore& loop = coil::internal::RequireLoop("net: a resolver");
  const LookupPtr lookup(new Lookup(loop, std::move(host), family));
  lookup->Start();
  {
    Attached attached(*lookup);
    co_await LookupAwaiter(*lookup);
  }
  if (lookup->error() != 0) {
    throw OsError(lookup->error(), "resolve", lookup->host());
  }
  addresses = std::move(lookup->addresses());
  for (Address& address : addresses) address = address.WithPort(port);
  co_return addresses;
}

}  // namespace coil::net::internal
