// Certificates for the tests of TLS: authorities and what they sign, good and
// bad in every way, made when they are needed.

#ifndef COIL_TESTS_NET_TLS_CERTIFICATES_H_
#define COIL_TESTS_NET_TLS_CERTIFICATES_H_

#include <memory>
#include <string>
#include <vector>

#include "coil/net/tls/internal/openssl.h"

namespace coil_testing {

using KeyPtr =
    std::unique_ptr<EVP_PKEY, coil::net::internal::FreeWith<EVP_PKEY_free>>;

// What a certificate says. The default is a good one for "localhost".
struct CertificateSpec {
  std::string common_name = "coil test";
  // As in openssl.cnf: "DNS:localhost,IP:127.0.0.1". Empty for none.
  std::string alternative_names = "DNS:localhost,IP:127.0.0.1,IP:::1";
  std::string raw_dns_name;  // an alternative name as it is, also with a zero
  std::string basic_constraints = "critical,CA:FALSE";
  std::string key_usage = "critical,digitalSignature,keyEncipherment";
  std::string extended_key_usage = "serverAuth,clientAuth";
  std::string name_constraints;
  long begins_in = -3600;    // NOLINT(runtime/int): seconds, as in OpenSSL
  long ends_in = 24 * 3600;  // NOLINT(runtime/int)
  std::string digest = "SHA256";
  int rsa_bits = 0;     // zero: a P-256 key
  bool forged = false;  // the signature is of something else
  bool critical_unknown_extension = false;
  int version = 3;
};

class Certificate {
 public:
  // Signed by `issuer`, or by itself if that is null.
  Certificate(const CertificateSpec& spec, const Certificate* issuer);

  std::string Pem() const;
  std::string KeyPem(const std::string& password = {}) const;
  X509* x509() const { return certificate_.get(); }
  EVP_PKEY* key() const { return key_.get(); }
  // A list of revocations of this authority, with those.
  std::string CrlPem(const std::vector<const Certificate*>& revoked) const;

 private:
  KeyPtr key_;
  coil::net::internal::X509Ptr certificate_;
};

// What an authority says of itself.
CertificateSpec AuthoritySpec(const std::string& name = "coil test root");

// A folder of files that goes away with this.
class TemporaryFolder {
 public:
  TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  // Writes a file and gives its path.
  std::string Write(const std::string& name, const std::string& contents);

 private:
  std::string path_;
  std::vector<std::string> files_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_TLS_CERTIFICATES_H_
