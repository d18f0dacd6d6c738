// coil/net/tls/context.h
//
// TlsContext is what one side of TLS connections believes and shows: the
// authorities that it trusts, its own certificate, versions, protocols. Make
// one and use it for many connections. What Client() gives is safe as it is:
// TLS 1.2 or later, the certificate of the server must be trusted and be for
// the name that was asked for.
//
// Example:
//   coil::Co<std::string> Fetch() {
//     coil::net::TlsContext context = coil::net::TlsContext::Client();
//     auto [reader, writer] = co_await coil::net::OpenConnection(
//         "example.com", 443, coil::net::ConnectOptions().Tls(context));
//     co_await writer.Write("HEAD / HTTP/1.0\r\n\r\n");
//     std::string answer = co_await reader.Read();
//     co_await writer.Close();
//     co_return answer;
//   }
//
// Ordering: settings concern the connections that begin after them.
// Cancellation: does not apply.
// Threads: set it up on one thread; then any number of loops may use it.
// Lifetime: a counted handle; copies are the same context, and connections keep
//   what they need of it.
//
// Clients remember the session of a server by its name, and resume it with the
// next connection.
//
// Every setter throws OsError if a file cannot be read, TlsError (of which the
// text says what OpenSSL says) if its contents are refused, and
// std::invalid_argument for values that cannot be right.
//
// asyncio: ssl.SSLContext, ssl.create_default_context() (A188, A204).

#ifndef COIL_NET_TLS_CONTEXT_H_
#define COIL_NET_TLS_CONTEXT_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/net/secure_stream.h"

namespace coil::net {

namespace internal {
class TlsLayer;
}

enum class TlsVersion { kTls12, kTls13 };

class TlsContext {
 public:
  // For the side that connects. Trusts the authorities of the system, or only
  // those in the file `ca_file` (PEM) if one is given.
  static TlsContext Client(std::string_view ca_file = {});
  // For the side that accepts, with its chain of certificates, the server's own
  // first, and the key of that one, both PEM. `password` decrypts the key.
  static TlsContext Server(std::string_view certificate_file,
                           std::string_view key_file,
                           std::string_view password = {});

  // Shows a certificate to the other side, as Server() does. For clients that
  // have one. Throws TlsError also if the key does not fit.
  TlsContext& LoadCertChain(std::string_view certificate_file,
                            std::string_view key_file,
                            std::string_view password = {});
  // Trusts the authorities in a file, or in a text, of PEM, besides.
  TlsContext& LoadVerifyFile(std::string_view ca_file);
  TlsContext& LoadVerifyText(std::string_view pem);
  // Refuses what the lists of revocations in this file name. There must be one
  // for each authority in a chain.
  TlsContext& LoadRevocationFile(std::string_view crl_file);

  // Protocols to agree upon, the preferred one first: {"h2", "http/1.1"}. A
  // server that shares none with its client goes on without.
  TlsContext& SetAlpnProtocols(const std::vector<std::string>& protocols);
  // TLS 1.2 and 1.3 at first.
  TlsContext& SetMinimumVersion(TlsVersion version);
  TlsContext& SetMaximumVersion(TlsVersion version);
  // OpenSSL's list of ciphers of TLS 1.2: "ECDHE+AESGCM".
  TlsContext& SetCiphers(std::string_view ciphers);
  // Of a server: clients must show a certificate that is trusted, by what
  // LoadVerifyFile() has loaded.
  TlsContext& RequireClientCertificate();
  // Of a server: clients that ask for `name` (SNI; "*.example.com" is every
  // name with one label more) get the certificate of `context`.
  TlsContext& AddServerName(std::string_view name, const TlsContext& context);

  // Anybody may be the server: only for tests. Without verification TLS keeps
  // out those who listen, and nobody else.
  TlsContext& InsecureSkipVerify();
  // The server may have a certificate for any name.
  TlsContext& InsecureSkipHostnameCheck();

  // As ConnectOptions, ServerOptions and StartTls() take it.
  operator std::shared_ptr<const SecureLayer>() const;  // NOLINT: that is what
                                                        // it is for

  // ---- public interface ends here ----
 private:
  explicit TlsContext(std::shared_ptr<internal::TlsLayer> layer);

  std::shared_ptr<internal::TlsLayer> layer_;
};

}  // namespace coil::net

#endif  // COIL_NET_TLS_CONTEXT_H_
