// coil/loop/os_error.h
//
// OsError is what coil throws when the operating system refuses something. It
// carries errno, the operation, and the peer or path if there is one; its text
// reads "connect to 127.0.0.1:80: Connection refused".
//
// Example:
//   bool IsRefused(const coil::OsError& error) {
//     return error.code() == std::errc::connection_refused;
//   }
//
// Ordering: does not apply.
// Cancellation: does not apply; a cancelled operation throws CancelledError.
// Threads: a value. Copies share their immutable text.
// Lifetime: owns everything that it refers to.
//
// asyncio: OSError and its subclasses, which are told apart here by code().

#ifndef COIL_LOOP_OS_ERROR_H_
#define COIL_LOOP_OS_ERROR_H_

#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "coil/loop/internal/language.h"

namespace coil {

class OsError : public std::system_error {
 public:
  // `error` is an errno; `operation` a verb ("connect", "epoll_ctl"); `peer`
  // what it was done to, without a preposition, which the text adds
  // ("127.0.0.1:80", "fd 7", a path).
  OsError(int error, std::string_view operation, std::string_view peer = {});

  // The errno, the same as code().value().
  int Errno() const noexcept { return code().value(); }
  const std::string& operation() const noexcept { return details_->operation; }
  // Empty if there is none.
  const std::string& peer() const noexcept { return details_->peer; }

 private:
  struct Details {
    std::string operation;
    std::string peer;
  };
  // Shared, so that copying the exception cannot throw.
  std::shared_ptr<const Details> details_;
};

}  // namespace coil

#endif  // COIL_LOOP_OS_ERROR_H_
