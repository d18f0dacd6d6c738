#include "coil/net/internal/incomplete_read.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace coil::net {
namespace {

std::string IncompleteText(const char* of, size_t got,
                           std::optional<size_t> expected) {
  if (!expected.has_value()) {
    return absl::StrCat("the ", of, " ended after ", got,
                        " bytes, before a separator; these are in partial()");
  }
  return absl::StrCat("the ", of, " ended after ", got, " of ", *expected,
                      " bytes; these are in partial()");
}

}  // namespace

IncompleteReadError::IncompleteReadError(std::string partial,
                                         std::optional<size_t> expected,
                                         const char* of)
    : std::runtime_error(IncompleteText(of, partial.size(), expected)),
      partial_(std::move(partial)),
      expected_(expected) {}

}  // namespace coil::net
