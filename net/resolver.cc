#include "coil/net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <cerrno>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/loop_time.h"
#include "coil/net/internal/loop_local.h"
#include "coil/net/internal/network.h"
#include "coil/net/internal/resolve.h"
#include "coil/net/internal/resolver_job.h"
#include "coil/task/errors.h"
#include "coil/task/internal/task_core.h"
#include "coil/timers/timeout.h"

namespace coil::net {
namespace {

using coil::internal::LoopCore;
using coil::internal::RefPtr;
using internal::LookupJob;
using internal::ResolverJob;

std::vector<Address> WithPort(std::vector<Address> addresses, int port) {
  for (Address& address : addresses) address = address.WithPort(port);
  return addresses;
}

// The port of a service that is a number; nothing for a name.
std::optional<int> PortOf(const ResolveQuery& query) {
  if (query.service().empty()) return query.port();
  int port = 0;
  if (absl::SimpleAtoi(query.service(), &port)) return port;
  return std::nullopt;
}

}  // namespace

// ---- options

ResolverOptions& ResolverOptions::Override(std::string_view host,
                                           std::vector<Address> addresses) {
  if (addresses.empty()) {
    throw std::invalid_argument(
        absl::StrCat("ResolverOptions: no address for \"", host, "\""));
  }
  for (const Address& address : addresses) {
    if (!address.IsIp()) {
      throw std::invalid_argument(
          absl::StrCat("ResolverOptions: \"", address.ToString(),
                       "\" is not an address of IPv4 or IPv6"));
    }
  }
  overrides_[absl::AsciiStrToLower(host)] = std::move(addresses);
  return *this;
}

// ---- the system's resolver

class SystemResolver::State : public std::enable_shared_from_this<State> {
 public:
  explicit State(ResolverOptions options) : options_(std::move(options)) {}

  static Co<std::vector<Address>> Resolve(std::shared_ptr<State> state,
                                          ResolveQuery query);
  void ClearCache() noexcept {
    index_.clear();
    answers_.clear();
  }
  size_t CachedAnswers() const noexcept { return answers_.size(); }

 private:
  // What came of a question; the addresses have the port of the service if one
  // was asked for.
  struct Answer {
    std::string key;
    LoopTime until;
    int error = 0;
    std::vector<Address> addresses;
  };
  class Flight;

  void Bind(LoopCore& loop);
  bool Overrides(const ResolveQuery& query) const {
    return options_.overrides().count(absl::AsciiStrToLower(query.host())) != 0;
  }
  std::optional<std::vector<Address>> AnswerNow(const ResolveQuery& query,
                                                const std::string& key);
  RefPtr<Flight> Join(const ResolveQuery& query, const std::string& key);
  void Remember(Answer answer);
  static std::string KeyOf(const ResolveQuery& query);

  const ResolverOptions options_;
  LoopCore* loop_ = nullptr;
  uint64_t loop_id_ = 0;
  std::list<Answer> answers_;  // what was used last is first
  std::unordered_map<std::string, std::list<Answer>::iterator> index_;
  std::unordered_map<std::string, RefPtr<Flight>> flights_;
};

// A question that is under way, with everybody who waits for its answer.
class SystemResolver::State::Flight final : public LookupJob {
 public:
  Flight(LoopCore& loop, const ResolveQuery& query, std::string key,
         const AddrInfoOptions& options, std::weak_ptr<State> state)
      : LookupJob(loop, query.host(), query.service(), options),
        loop_(loop),
        key_(std::move(key)),
        state_(std::move(state)) {}

  std::vector<Address> Addresses() const {
    std::vector<Address> addresses;
    for (const AddrInfo& info : results()) {
      if (std::find(addresses.begin(), addresses.end(), info.address) ==
          addresses.end()) {
        addresses.push_back(info.address);
      }
    }
    return addresses;
  }

 private:
  void OnDone() noexcept override {
    const std::shared_ptr<State> state = state_.lock();
    if (state == nullptr) return;
    Forget(*state);
    const bool not_found =
        error() != 0 && ResolveError(error(), host()).IsNotFound();
    if (error() != 0 && !not_found) return;
    const ResolverOptions& options = state->options_;
    const absl::Duration ttl =
        not_found ? options.negative_ttl() : options.ttl();
    if (ttl <= absl::ZeroDuration()) return;
    try {
      Answer answer;
      answer.key = key_;
      answer.until = loop_.RecentNow() + ttl;
      answer.error = error();
      answer.addresses = Addresses();
      state->Remember(std::move(answer));
    } catch (...) {
      // Without memory nothing is remembered.
    }
  }
  void OnTakenBack() noexcept override {
    if (const std::shared_ptr<State> state = state_.lock()) Forget(*state);
  }
  void Forget(State& state) noexcept {
    const auto found = state.flights_.find(key_);
    if (found != state.flights_.end() && found->second.get() == this) {
      state.flights_.erase(found);
    }
  }

  LoopCore& loop_;
  const std::string key_;
  const std::weak_ptr<State> state_;
};

std::string SystemResolver::State::KeyOf(const ResolveQuery& query) {
  std::string key = absl::StrCat(absl::AsciiStrToLower(query.host()), " ",
                                 query.family(), " ", query.flags());
  // The addresses of a host are the same for all kinds of sockets.
  if (!query.service().empty()) {
    absl::StrAppend(&key, " ", query.type(), " ", query.service());
  }
  return key;
}

void SystemResolver::State::Bind(LoopCore& loop) {
  if (loop_id_ == loop.id()) return;
  if (loop_ != nullptr && LoopCore::Exists(loop_, loop_id_)) {
    throw std::runtime_error(
        "SystemResolver: another loop uses it; give each loop one of its own");
  }
  // What the loop before has left is of its clock.
  ClearCache();
  flights_.clear();
  loop_ = &loop;
  loop_id_ = loop.id();
}

std::optional<std::vector<Address>> SystemResolver::State::AnswerNow(
    const ResolveQuery& query, const std::string& key) {
  const std::optional<int> port = PortOf(query);
  if (port.has_value()) {
    if (std::optional<Address> numeric =
            internal::NumericAddress(query.host(), *port, query.family())) {
      return std::vector<Address>(1, *numeric);
    }
    const auto override_of =
        options_.overrides().find(absl::AsciiStrToLower(query.host()));
    if (override_of != options_.overrides().end()) {
      std::vector<Address> addresses;
      for (const Address& address : override_of->second) {
        if (query.family() == AF_UNSPEC || query.family() == address.Family()) {
          addresses.push_back(address.WithPort(*port));
        }
      }
      if (addresses.empty()) throw ResolveError(EAI_ADDRFAMILY, query.host());
      return addresses;
    }
  }
  internal::CheckHost(query.host());
  const auto found = index_.find(key);
  if (found == index_.end()) return std::nullopt;
  if (found->second->until <= loop_->RecentNow()) {
    answers_.erase(found->second);
    index_.erase(found);
    return std::nullopt;
  }
  answers_.splice(answers_.begin(), answers_, found->second);
  const Answer& answer = *found->second;
  if (answer.error != 0) throw ResolveError(answer.error, query.host());
  return answer.addresses;
}

RefPtr<SystemResolver::State::Flight> SystemResolver::State::Join(
    const ResolveQuery& query, const std::string& key) {
  const auto found = flights_.find(key);
  if (found != flights_.end()) return found->second;
  AddrInfoOptions options;
  options.family = query.family();
  options.type = query.type();
  options.flags = query.flags() != 0 ? query.flags() : AI_ADDRCONFIG;
  auto flight = RefPtr<Flight>::Share(
      new Flight(*loop_, query, key, options, weak_from_this()));
  if (query.flags() == 0) flight->RetryWithoutFlags();
  const auto placed = flights_.emplace(key, flight).first;
  try {
    flight->Start();
  } catch (...) {
    flights_.erase(placed);
    throw;
  }
  return flight;
}

void SystemResolver::State::Remember(Answer answer) {
  if (options_.cache_size() == 0) return;
  answers_.push_front(std::move(answer));
  try {
    const auto [place, is_new] =
        index_.emplace(answers_.front().key, answers_.begin());
    if (!is_new) {
      answers_.erase(place->second);
      place->second = answers_.begin();
    }
  } catch (...) {
    answers_.pop_front();
    throw;
  }
  if (answers_.size() <= options_.cache_size()) return;
  index_.erase(answers_.back().key);
  answers_.pop_back();
}

Co<std::vector<Address>> SystemResolver::State::Resolve(
    std::shared_ptr<State> state, ResolveQuery query) {
  state->Bind(coil::internal::RequireLoop("SystemResolver"));
  if (!PortOf(query).has_value() && state->Overrides(query)) {
    // Only the port of the service is to be asked for.
    AddrInfoOptions options;
    options.type = query.type();
    const std::vector<AddrInfo> services =
        co_await GetAddrInfo("", query.service(), options);
    ResolveQuery known(query.host(), services.front().address.Port());
    known.Family(query.family()).Flags(query.flags());
    query = std::move(known);
  }
  const std::string key = KeyOf(query);
  if (std::optional<std::vector<Address>> now = state->AnswerNow(query, key)) {
    if (query.service().empty()) {
      *now = WithPort(std::move(*now), query.port());
    }
    co_return std::move(*now);
  }
  const RefPtr<Flight> flight = state->Join(query, key);
  const absl::Duration timeout = state->options_.timeout();
  if (timeout == absl::InfiniteDuration()) {
    co_await ResolverJob::Wait(RefPtr<ResolverJob>::Share(flight.get()));
  } else {
    try {
      co_await WithTimeout(
          timeout, ResolverJob::Wait(RefPtr<ResolverJob>::Share(flight.get())));
    } catch (const TimeoutError&) {
      throw OsError(ETIMEDOUT, "resolve", query.host());
    }
  }
  flight->Check();
  std::vector<Address> addresses = flight->Addresses();
  if (query.service().empty()) {
    addresses = WithPort(std::move(addresses), query.port());
  }
  co_return addresses;
}

SystemResolver::SystemResolver(ResolverOptions options) {
  if (options.ttl() < absl::ZeroDuration() ||
      options.negative_ttl() < absl::ZeroDuration() ||
      options.timeout() < absl::ZeroDuration()) {
    throw std::invalid_argument("SystemResolver: a time is negative");
  }
  state_ = std::make_shared<State>(std::move(options));
}

SystemResolver::~SystemResolver() = default;

Co<std::vector<Address>> SystemResolver::Resolve(ResolveQuery query) {
  return State::Resolve(state_, std::move(query));
}

void SystemResolver::ClearCache() noexcept { state_->ClearCache(); }

size_t SystemResolver::CachedAnswers() const noexcept {
  return state_->CachedAnswers();
}

// ---- the resolver of a loop

namespace {
struct DefaultOfLoop {
  explicit DefaultOfLoop(LoopCore&) {}
  std::shared_ptr<Resolver> chosen;
  std::shared_ptr<Resolver> system;
};
}  // namespace

std::shared_ptr<Resolver> DefaultResolver() {
  LoopCore& loop = coil::internal::RequireLoop("DefaultResolver");
  DefaultOfLoop& slot = internal::LoopLocal<DefaultOfLoop>::Of(loop);
  if (slot.chosen != nullptr) return slot.chosen;
  if (internal::Network* network = internal::NetworkOf(loop)) {
    return network->NameResolver();
  }
  if (slot.system == nullptr) slot.system = std::make_shared<SystemResolver>();
  return slot.system;
}

void SetDefaultResolver(std::shared_ptr<Resolver> resolver) {
  DefaultOfLoop& slot = internal::LoopLocal<DefaultOfLoop>::Of(
      coil::internal::RequireLoop("SetDefaultResolver"));
  slot.chosen = std::move(resolver);
  slot.system = nullptr;
}

}  // namespace coil::net
