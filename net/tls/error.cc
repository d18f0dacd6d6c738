#include "coil/net/tls/error.h"

#include <memory>

#include "absl/strings/str_cat.h"

namespace coil::net {
namespace {

// "TLS handshake with example.com: why", "load certificates from /x.pem: why".
std::string What(std::string_view operation, std::string_view peer,
                 std::string_view reason) {
  if (peer.empty()) return absl::StrCat(operation, ": ", reason);
  const bool connection = operation.substr(0, 3) == "TLS";
  return absl::StrCat(operation, connection ? " with " : " from ", peer, ": ",
                      reason);
}

}  // namespace

TlsError::TlsError(int error, std::string_view operation, std::string_view peer,
                   std::string_view reason, int verify_error)
    : OsError(error, operation, peer),
      text_(std::make_shared<const Text>(
          Text{std::string(reason), What(operation, peer, reason)})),
      verify_error_(verify_error) {}

}  // namespace coil::net
