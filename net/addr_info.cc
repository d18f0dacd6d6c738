#include "coil/net/addr_info.h"

#include <cerrno>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/socket_calls.h"
#include "coil/net/internal/resolver_job.h"
#include "coil/task/internal/future_core.h"
#include "coil/task/internal/task_core.h"

namespace coil::net {
namespace {

using coil::internal::RefPtr;
using internal::LookupJob;
using internal::ResolverJob;

// The errno that says about the same.
int ErrnoOf(int code, int system_error) {
  switch (code) {
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
    case EAI_BADFLAGS:
    case EAI_SERVICE:
    case EAI_SOCKTYPE:
      return EINVAL;
    default:
      return ENXIO;  // there is no such name, or it has no address
  }
}

class NameJob final : public ResolverJob {
 public:
  NameJob(coil::internal::LoopCore& loop, const Address& address, int flags)
      : ResolverJob(loop, absl::StrCat("the name of ", address.ToString())),
        address_(address),
        flags_(flags) {}

  NameInfo Take() {
    if (error_ != 0) {
      throw ResolveError(error_, address_.ToString(), system_error_);
    }
    NameInfo info;
    info.host = host_;
    info.service = service_;
    return info;
  }

 private:
  void Call() noexcept override {
    error_ = coil::internal::SockSys().getnameinfo(
        address_.Data(), address_.Size(), host_, sizeof(host_), service_,
        sizeof(service_), flags_);
    if (error_ != 0) system_error_ = errno;
  }
  void Refused() noexcept override {
    error_ = EAI_SYSTEM;
    system_error_ = ECANCELED;
  }

  const Address address_;
  const int flags_;
  int error_ = 0;
  int system_error_ = 0;
  char host_[NI_MAXHOST] = {};
  char service_[NI_MAXSERV] = {};
};

}  // namespace

ResolveError::ResolveError(int code, std::string_view host, int system_error)
    : OsError(ErrnoOf(code, system_error), "resolve", host),
      code_(code),
      text_(std::make_shared<const std::string>(
          code == EAI_SYSTEM
              ? OsError::what()
              : absl::StrCat("resolve ", host, ": ", ::gai_strerror(code)))) {}

bool ResolveError::IsNotFound() const noexcept {
  return code_ == EAI_NONAME || code_ == EAI_NODATA || code_ == EAI_ADDRFAMILY;
}

Co<std::vector<AddrInfo>> GetAddrInfo(std::string host, std::string service,
                                      AddrInfoOptions options) {
  internal::CheckHostText(host);
  if (service.find('\0') != std::string::npos) {
    throw std::invalid_argument("net: the name of a service holds a zero byte");
  }
  const auto job = RefPtr<LookupJob>::Share(
      new LookupJob(coil::internal::RequireLoop("GetAddrInfo"), std::move(host),
                    std::move(service), options));
  job->Start();
  co_await ResolverJob::Wait(RefPtr<ResolverJob>::Share(job.get()));
  job->Check();
  co_return std::move(job->results());
}

Co<std::vector<AddrInfo>> GetAddrInfo(std::string host, int port,
                                      AddrInfoOptions options) {
  if (port < 0 || port > 65535) {
    throw std::invalid_argument(
        absl::StrCat("GetAddrInfo: a port is from 0 to 65535, not ", port));
  }
  return GetAddrInfo(std::move(host), std::to_string(port), options);
}

Co<NameInfo> GetNameInfo(Address address, int flags) {
  if (!address.IsIp()) {
    throw std::invalid_argument(
        absl::StrCat("GetNameInfo: \"", address.ToString(),
                     "\" is not an address of IPv4 or IPv6"));
  }
  const auto job = RefPtr<NameJob>::Share(
      new NameJob(coil::internal::RequireLoop("GetNameInfo"), address, flags));
  job->Start();
  co_await ResolverJob::Wait(RefPtr<ResolverJob>::Share(job.get()));
  co_return job->Take();
}

}  // namespace coil::net
