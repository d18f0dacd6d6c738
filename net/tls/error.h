// coil/net/tls/error.h
//
// TlsError is what TLS refuses: a handshake that fails, a certificate that is
// not trusted or for another name, a record that was tampered with, an end of
// the connection that the peer did not announce. It is an OsError, as Python's
// SSLError is an OSError: whoever handles lost connections handles it too.
//
// Example:
//   bool IsUntrusted(const coil::net::TlsError& error) {
//     return error.verify_error() != 0;
//   }
//
// Ordering: does not apply.
// Cancellation: does not apply.
// Threads: a value.
// Lifetime: owns everything that it refers to.
//
// asyncio: ssl.SSLError, ssl.SSLCertVerificationError.

#ifndef COIL_NET_TLS_ERROR_H_
#define COIL_NET_TLS_ERROR_H_

#include <memory>
#include <string>
#include <string_view>

#include "coil/loop/os_error.h"

namespace coil::net {

class TlsError : public OsError {
 public:
  // `error` is an errno, EPROTO for most; `reason` says in words what is wrong.
  // `verify_error` is OpenSSL's X509_V_ERR_..., zero if it is not about a
  // certificate.
  TlsError(int error, std::string_view operation, std::string_view peer,
           std::string_view reason, int verify_error = 0);

  const std::string& reason() const noexcept { return text_->reason; }
  int verify_error() const noexcept { return verify_error_; }
  const char* what() const noexcept override { return text_->what.c_str(); }

 private:
  struct Text {
    std::string reason;
    std::string what;
  };
  std::shared_ptr<const Text> text_;  // copying must not throw
  int verify_error_;
};

}  // namespace coil::net

#endif  // COIL_NET_TLS_ERROR_H_
