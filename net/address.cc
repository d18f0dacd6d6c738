#include "coil/net/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <cstddef>
#include <cstring>
#include <stdexcept>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace coil::net {
namespace {

constexpr size_t kUnixHead = offsetof(sockaddr_un, sun_path);

in_port_t CheckedPort(int port) {
  if (port < 0 || port > 65535) {
    throw std::invalid_argument(
        absl::StrCat("Address: a port is from 0 to 65535, not ", port));
  }
  return htons(static_cast<in_port_t>(port));
}

// The number of a scope: "2", or "eth0" if there is such an interface.
bool ParseScope(std::string_view scope, uint32_t* id) {
  if (absl::SimpleAtoi(scope, id)) return true;
  *id = if_nametoindex(std::string(scope).c_str());
  return *id != 0;
}

[[noreturn]] void ThrowNotAnAddress(std::string_view text) {
  throw std::invalid_argument(
      absl::StrCat("Address: \"", text,
                   "\" is not a numeric address with a port, such as "
                   "127.0.0.1:80 or [::1]:80"));
}

}  // namespace

std::optional<Address> Address::FromNumeric(std::string_view host, int port) {
  const in_port_t network_port = CheckedPort(port);
  // inet_pton() wants a string that ends, and a zero inside ends it early.
  if (host.size() > 127 || host.find('\0') != std::string_view::npos) {
    return std::nullopt;
  }
  Address result;
  if (in_addr v4; inet_pton(AF_INET, std::string(host).c_str(), &v4) == 1) {
    result.v4_ = sockaddr_in{};
    result.v4_.sin_family = AF_INET;
    result.v4_.sin_port = network_port;
    result.v4_.sin_addr = v4;
    result.size_ = sizeof(sockaddr_in);
    return result;
  }
  const size_t percent = host.find('%');
  in6_addr v6;
  if (inet_pton(AF_INET6, std::string(host.substr(0, percent)).c_str(), &v6) !=
      1) {
    return std::nullopt;
  }
  uint32_t scope = 0;
  if (percent != std::string_view::npos &&
      !ParseScope(host.substr(percent + 1), &scope)) {
    return std::nullopt;
  }
  result.v6_ = sockaddr_in6{};
  result.v6_.sin6_family = AF_INET6;
  result.v6_.sin6_port = network_port;
  result.v6_.sin6_addr = v6;
  result.v6_.sin6_scope_id = scope;
  result.size_ = sizeof(sockaddr_in6);
  return result;
}

Address Address::Parse(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) ThrowNotAnAddress(text);
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  const bool brackets =
      host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (brackets) host = host.substr(1, host.size() - 2);
  // "::1:80" could be an address without a port.
  const bool colons = host.find(':') != std::string_view::npos;
  int port = 0;
  if (colons != brackets || digits.empty() || digits.size() > 5 ||
      digits.find_first_not_of("0123456789") != std::string_view::npos ||
      !absl::SimpleAtoi(digits, &port) || port > 65535) {
    ThrowNotAnAddress(text);
  }
  const std::optional<Address> address = FromNumeric(host, port);
  if (!address.has_value()) ThrowNotAnAddress(text);
  return *address;
}

Address Address::Unix(std::string_view path) {
  const bool abstract = !path.empty() && path.front() == '@';
  // A path ends with a zero, an abstract name begins with one.
  constexpr size_t kLongest = sizeof(sockaddr_un::sun_path) - 1;
  if (path.size() <= (abstract ? 1 : 0)) {
    throw std::invalid_argument("Address: the path of a Unix socket is empty");
  }
  if (path.find('\0') != std::string_view::npos) {
    throw std::invalid_argument(
        "Address: the path of a Unix socket holds a zero byte");
  }
  if (path.size() > kLongest) {
    throw std::invalid_argument(absl::StrCat(
        "Address: the path of a Unix socket has at most ", kLongest,
        " bytes, and \"", path.substr(0, 40), "...\" has ", path.size()));
  }
  Address result;
  result.unix_ = sockaddr_un{};
  result.unix_.sun_family = AF_UNIX;
  std::memcpy(result.unix_.sun_path, path.data(), path.size());
  if (abstract) result.unix_.sun_path[0] = '\0';
  result.size_ =
      static_cast<socklen_t>(kUnixHead + path.size() + (abstract ? 0 : 1));
  return result;
}

Address Address::FromSockaddr(const sockaddr* address,
                              socklen_t size) noexcept {
  Address result;
  if (address == nullptr || size < sizeof(sa_family_t)) return result;
  switch (address->sa_family) {
    case AF_INET:
      if (size < sizeof(sockaddr_in)) return result;
      std::memcpy(&result.v4_, address, sizeof(sockaddr_in));
      result.size_ = sizeof(sockaddr_in);
      break;
    case AF_INET6:
      if (size < sizeof(sockaddr_in6)) return result;
      std::memcpy(&result.v6_, address, sizeof(sockaddr_in6));
      result.size_ = sizeof(sockaddr_in6);
      break;
    case AF_UNIX:
      if (size > sizeof(sockaddr_un)) size = sizeof(sockaddr_un);
      result.unix_ = sockaddr_un{};
      std::memcpy(&result.unix_, address, size);
      result.size_ = size;
      break;
    default:
      break;
  }
  return result;
}

std::string Address::Host() const {
  char text[INET6_ADDRSTRLEN];
  switch (Family()) {
    case AF_INET:
      return inet_ntop(AF_INET, &v4_.sin_addr, text, sizeof(text));
    case AF_INET6: {
      std::string host =
          inet_ntop(AF_INET6, &v6_.sin6_addr, text, sizeof(text));
      if (v6_.sin6_scope_id != 0) {
        absl::StrAppend(&host, "%", v6_.sin6_scope_id);
      }
      return host;
    }
    case AF_UNIX: {
      if (size_ <= kUnixHead) return "";
      const size_t length = size_ - kUnixHead;
      if (unix_.sun_path[0] == '\0') {
        return absl::StrCat("@",
                            std::string_view(unix_.sun_path + 1, length - 1));
      }
      return std::string(unix_.sun_path, strnlen(unix_.sun_path, length));
    }
    default:
      return "";
  }
}

int Address::Port() const noexcept {
  if (Family() == AF_INET) return ntohs(v4_.sin_port);
  if (Family() == AF_INET6) return ntohs(v6_.sin6_port);
  return 0;
}

Address Address::WithPort(int port) const {
  Address result = *this;
  if (Family() == AF_INET) {
    result.v4_.sin_port = CheckedPort(port);
  } else {
    result.v6_.sin6_port = CheckedPort(port);
  }
  return result;
}

std::string Address::ToString() const {
  switch (Family()) {
    case AF_INET:
      return absl::StrCat(Host(), ":", Port());
    case AF_INET6:
      return absl::StrCat("[", Host(), "]:", Port());
    case AF_UNIX:
      return absl::StrCat("unix:", Host());
    default:
      return "";
  }
}

bool operator==(const Address& a, const Address& b) noexcept {
  if (a.Family() != b.Family()) return false;
  switch (a.Family()) {
    case AF_INET:
      return a.v4_.sin_port == b.v4_.sin_port &&
             a.v4_.sin_addr.s_addr == b.v4_.sin_addr.s_addr;
    case AF_INET6:
      return a.v6_.sin6_port == b.v6_.sin6_port &&
             a.v6_.sin6_scope_id == b.v6_.sin6_scope_id &&
             std::memcmp(&a.v6_.sin6_addr, &b.v6_.sin6_addr,
                         sizeof(in6_addr)) == 0;
    case AF_UNIX:
      return a.size_ == b.size_ &&
             std::memcmp(&a.unix_, &b.unix_, a.size_) == 0;
    default:
      return true;
  }
}

}  // namespace coil::net
