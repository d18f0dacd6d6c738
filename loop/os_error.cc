#include "coil/loop/os_error.h"

#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace coil {
namespace {

// "connect to 127.0.0.1:80", "receive from fd 7", "open /etc/passwd".
std::string_view Preposition(std::string_view operation) {
  auto starts = [operation](std::string_view word) {
    return operation.substr(0, word.size()) == word;
  };
  if (starts("connect") || starts("send") || starts("write") ||
      starts("bind")) {
    return " to ";
  }
  if (starts("rec") || starts("read")) return " from ";
  if (starts("accept") || starts("listen")) return " on ";
  return " ";
}

std::string Title(std::string_view operation, std::string_view peer) {
  std::string title(operation);
  if (!peer.empty()) {
    title += Preposition(operation);
    title += peer;
  }
  return title;
}

}  // namespace

OsError::OsError(int error, std::string_view operation, std::string_view peer)
    : std::system_error(std::error_code(error, std::generic_category()),
                        Title(operation, peer)),
      details_(std::make_shared<const Details>(
          Details{std::string(operation), std::string(peer)})) {}

}  // namespace coil
