#include "coil/net/internal/resolver_job.h"

#include <netdb.h>
#include <time.h>

#include <cerrno>
#include <stdexcept>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/fork_guard.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/loop/internal/syscalls.h"

namespace coil::net::internal {
namespace {

// Few, and shared by all loops: names come in bursts, and a server that does
// not answer holds a thread for seconds.
constexpr int kResolverThreads = 8;

// The threads that ask, which nothing else can keep busy. They are never
// joined: a question that hangs must not hold up the end of a loop or of the
// process.
ThreadPool& ResolverThreads() {
  struct Threads {
    explicit Threads(uint32_t generation_in) : generation(generation_in) {}
    uint32_t generation;
    ThreadPool pool{kResolverThreads, "coil-resolver"};
  };
  static std::atomic<Threads*> current{nullptr};
  const uint32_t generation = coil::internal::ForkGeneration();
  Threads* threads = current.load(std::memory_order_acquire);
  if (threads == nullptr || threads->generation != generation) {
    // What a parent has made is of no use in its child, and stays as it is.
    auto made = std::make_unique<Threads>(generation);
    if (current.compare_exchange_strong(threads, made.get(),
                                        std::memory_order_acq_rel)) {
      threads = made.release();
    }
  }
  return threads->pool;
}

// "localhost" or a name below it, in any case of letters.
bool IsLocalhost(std::string_view host) {
  if (absl::EndsWith(host, ".")) host.remove_suffix(1);
  return absl::EqualsIgnoreCase(host, "localhost") ||
         absl::EndsWithIgnoreCase(host, ".localhost");
}

// Not the loop's clock, which may be virtual and belongs to another thread.
int64_t Nanoseconds() noexcept {
  timespec now{};
  coil::internal::Sys().clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

// One that waits; leaves on every way out, a cancel included.
class ResolverJob::Interest {
 public:
  explicit Interest(ResolverJob& job) : job_(job) { ++job_.interested_; }
  Interest(const Interest&) = delete;
  Interest& operator=(const Interest&) = delete;
  ~Interest() { job_.Leave(); }

 private:
  ResolverJob& job_;
};

Co<void> ResolverJob::Wait(coil::internal::RefPtr<ResolverJob> job) {
  const Interest interest(*job);
  while (!job->done_) co_await job->waiters_.Wait(job->text_.c_str());
}

void ResolverJob::Start() {
  pool_ = &ResolverThreads();
  Ref();  // the thread's
  try {
    pool_->Submit(*this);
  } catch (...) {
    references_.fetch_sub(1, std::memory_order_relaxed);
    throw;
  }
  loop_->BeginExternal();
}

void ResolverJob::Leave() noexcept {
  if (--interested_ != 0 || done_ || !pool_->TryRemove(*this)) return;
  loop_->EndExternal();
  OnTakenBack();
  Unref();
}

void ResolverJob::Run() noexcept {
  const int64_t start = Nanoseconds();
  Call();
  took_ = Nanoseconds() - start;
  Return();
}

void ResolverJob::Abandon() noexcept {
  Refused();
  Return();
}

void ResolverJob::Return() noexcept {
  const std::shared_ptr<coil::internal::LoopRemote> remote = remote_;
  if (!remote->Post(&post_)) Unref();
}

void ResolverJob::Finish() noexcept {
  done_ = true;
  loop_->EndExternal();
  ReportIfSlow();
  OnDone();
  waiters_.WakeAll();
  Unref();
}

void ResolverJob::ReportIfSlow() const noexcept {
  const absl::Duration took = absl::Nanoseconds(took_);
  if (!loop_->debug() || took < loop_->loop().SlowCallbackDuration()) return;
  try {
    WriteDiagnostic(absl::StrCat("coil: resolving ", text_, " took ",
                                 absl::FormatDuration(took)));
  } catch (...) {
    WriteDiagnostic("coil: a slow resolution, and no memory to say more");
  }
}

LookupJob::LookupJob(coil::internal::LoopCore& loop, std::string host,
                     std::string service, const AddrInfoOptions& options)
    : ResolverJob(loop, absl::StrCat("the address of ", host)),
      host_(std::move(host)),
      service_(std::move(service)),
      options_(options) {}

void LookupJob::Call() noexcept {
  addrinfo hints{};
  hints.ai_family = options_.family;
  hints.ai_socktype = options_.type;
  hints.ai_protocol = options_.protocol;
  hints.ai_flags = options_.flags;
  const char* host = host_.empty() ? nullptr : host_.c_str();
  const char* service = service_.empty() ? nullptr : service_.c_str();
  // It does not take both as null.
  if (host == nullptr && service == nullptr) service = "0";
  addrinfo* list = nullptr;
  const coil::internal::SocketTable& sys = coil::internal::SockSys();
  error_ = sys.getaddrinfo(host, service, &hints, &list);
  if (retry_without_flags_ &&
      (error_ == EAI_NONAME || error_ == EAI_ADDRFAMILY)) {
    // AI_ADDRCONFIG hides the loopback's family where no other address is.
    hints.ai_flags = 0;
    error_ = sys.getaddrinfo(host, service, &hints, &list);
  }
  if (error_ != 0 && (options_.flags & AI_NUMERICHOST) == 0 &&
      IsLocalhost(host_)) {
    // A machine without /etc/hosts, such as many a container, does not know
    // itself: that name is always the loopback's (RFC 6761, 6.3).
    hints.ai_flags = 0;
    error_ = sys.getaddrinfo(nullptr, service != nullptr ? service : "0",
                             &hints, &list);
  }
  if (error_ != 0) {
    system_error_ = errno;
    return;
  }
  try {
    Keep(list);
    if (results_.empty()) error_ = EAI_NONAME;
  } catch (...) {
    error_ = EAI_MEMORY;
  }
  sys.freeaddrinfo(list);
}

void LookupJob::Keep(const addrinfo* list) {
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    AddrInfo info;
    info.address = Address::FromSockaddr(entry->ai_addr, entry->ai_addrlen);
    if (!info.address.IsIp()) continue;
    info.family = entry->ai_family;
    info.type = entry->ai_socktype;
    info.protocol = entry->ai_protocol;
    if (entry->ai_canonname != nullptr) {
      info.canonical_name = entry->ai_canonname;
    }
    results_.push_back(std::move(info));
  }
}

void LookupJob::Refused() noexcept {
  error_ = EAI_SYSTEM;
  system_error_ = ECANCELED;
}

void LookupJob::Check() const {
  if (error_ != 0) throw ResolveError(error_, host_, system_error_);
}

void CheckHostText(const std::string& host) {
  if (host.find('\0') != std::string::npos) {
    throw std::invalid_argument("net: the name of a host holds a zero byte");
  }
  // 253 characters, and perhaps a dot behind (RFC 1035).
  if (host.size() > 254) {
    throw std::invalid_argument(absl::StrCat(
        "net: the name of a host has at most 253 bytes, not ", host.size()));
  }
}

}  // namespace coil::net::internal
