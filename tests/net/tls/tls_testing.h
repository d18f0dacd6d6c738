// What the tests of TLS share: an authority, certificates, contexts.

#ifndef COIL_TESTS_NET_TLS_TLS_TESTING_H_
#define COIL_TESTS_NET_TLS_TLS_TESTING_H_

#include <string>

#include "coil/net/tls/context.h"
#include "tests/net/net_testing.h"
#include "tests/net/tls/certificates.h"

namespace coil_testing {

// One authority and a certificate for localhost, made once.
class Authority {
 public:
  static const Authority& Get() {
    static const Authority authority;
    return authority;
  }
  Authority()
      : root(AuthoritySpec(), nullptr), server(CertificateSpec(), &root) {
    root_file = folder.Write("root.pem", root.Pem());
    certificate_file = folder.Write("server.pem", server.Pem());
    key_file = folder.Write("server.key", server.KeyPem());
  }

  Certificate root;
  Certificate server;
  mutable TemporaryFolder folder;
  std::string root_file;
  std::string certificate_file;
  std::string key_file;
};

inline coil::net::TlsContext ServerContext() {
  const Authority& authority = Authority::Get();
  return coil::net::TlsContext::Server(authority.certificate_file,
                                       authority.key_file);
}
inline coil::net::TlsContext ClientContext() {
  return coil::net::TlsContext::Client(Authority::Get().root_file);
}

// Answers with what comes.
inline coil::Co<void> Echo(coil::net::StreamReader reader,
                           coil::net::StreamWriter writer) {
  try {
    for (;;) {
      const std::string data = co_await reader.Read(1 << 20);
      if (data.empty()) break;
      co_await writer.Write(data);
    }
  } catch (const coil::OsError&) {
    // The client has gone.
  }
}

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_TLS_TLS_TESTING_H_
