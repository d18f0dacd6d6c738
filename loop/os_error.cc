#include "coil/loop/os_error.h"

#include <memory>
#include <string>
#include <string_view>
#include <system_error>

namespace coil {
namespace {

std::string Title(std::string_view operation, std::string_view peer) {
  std::string title(operation);
  if (!peer.empty()) {
    title += operation == "accept" ? " on " : " to ";
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
