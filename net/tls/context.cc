#include "coil/net/tls/context.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/os_error.h"
#include "coil/net/tls/error.h"
#include "coil/net/tls/internal/openssl.h"
#include "coil/net/tls/internal/tls_layer.h"

namespace coil::net {
namespace {

using internal::TakeOpensslErrors;
using internal::TlsLayer;

// OpenSSL tells badly why a file cannot be read.
std::string Readable(std::string_view file) {
  std::string path(file);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw OsError(errno, "open", path);
  ::close(fd);
  ERR_clear_error();
  return path;
}

void Check(bool ok, std::string_view operation, std::string_view file) {
  if (ok) return;
  std::string reason = TakeOpensslErrors();
  if (reason.empty()) reason = "it is refused";
  throw TlsError(EPROTO, operation, file, reason);
}

int Number(TlsVersion version) {
  return version == TlsVersion::kTls12 ? TLS1_2_VERSION : TLS1_3_VERSION;
}

}  // namespace

TlsContext::TlsContext(std::shared_ptr<TlsLayer> layer)
    : layer_(std::move(layer)) {}

TlsContext::operator std::shared_ptr<const SecureLayer>() const {
  return layer_;
}

TlsContext TlsContext::Client(std::string_view ca_file) {
  TlsContext context(std::make_shared<TlsLayer>(TlsLayer::Side::kClient));
  if (!ca_file.empty()) {
    context.LoadVerifyFile(ca_file);
  } else {
    Check(SSL_CTX_set_default_verify_paths(context.layer_->context()) == 1,
          "load the authorities of the system", {});
  }
  return context;
}

TlsContext TlsContext::Server(std::string_view certificate_file,
                              std::string_view key_file,
                              std::string_view password) {
  TlsContext context(std::make_shared<TlsLayer>(TlsLayer::Side::kServer));
  context.LoadCertChain(certificate_file, key_file, password);
  return context;
}

TlsContext& TlsContext::LoadCertChain(std::string_view certificate_file,
                                      std::string_view key_file,
                                      std::string_view password) {
  SSL_CTX* context = layer_->context();
  const std::string certificates = Readable(certificate_file);
  Check(SSL_CTX_use_certificate_chain_file(context, certificates.c_str()) == 1,
        "load certificates", certificates);
  const std::string key = Readable(key_file);
  std::string secret(password);
  SSL_CTX_set_default_passwd_cb_userdata(context, &secret);
  const bool loaded =
      SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) == 1;
  SSL_CTX_set_default_passwd_cb_userdata(context, nullptr);
  Check(loaded, "load a key", key);
  Check(SSL_CTX_check_private_key(context) == 1, "load a key", key);
  return *this;
}

TlsContext& TlsContext::LoadVerifyFile(std::string_view ca_file) {
  const std::string file = Readable(ca_file);
  Check(SSL_CTX_load_verify_file(layer_->context(), file.c_str()) == 1,
        "load authorities", file);
  if (layer_->side() == TlsLayer::Side::kServer) {
    // Tells clients which certificates are of use.
    STACK_OF(X509_NAME)* names =
        SSL_dup_CA_list(SSL_CTX_get_client_CA_list(layer_->context()));
    if (names == nullptr) names = sk_X509_NAME_new_null();
    if (names == nullptr) throw std::bad_alloc();
    SSL_add_file_cert_subjects_to_stack(names, file.c_str());
    SSL_CTX_set_client_CA_list(layer_->context(), names);
  }
  return *this;
}

TlsContext& TlsContext::LoadVerifyText(std::string_view pem) {
  ERR_clear_error();
  const internal::BioPtr text(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  if (text == nullptr) throw std::bad_alloc();
  X509_STORE* store = SSL_CTX_get_cert_store(layer_->context());
  int found = 0;
  while (const internal::X509Ptr certificate = internal::X509Ptr(
             PEM_read_bio_X509(text.get(), nullptr, nullptr, nullptr))) {
    Check(X509_STORE_add_cert(store, certificate.get()) == 1,
          "trust a certificate", {});
    ++found;
  }
  // The end of the text is an error like any other, but the last one.
  const bool at_end =
      ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  if (found != 0 && at_end) {
    ERR_clear_error();
    return *this;
  }
  Check(false, "load authorities", "a text");
  return *this;
}

TlsContext& TlsContext::LoadRevocationFile(std::string_view crl_file) {
  const std::string file = Readable(crl_file);
  X509_STORE* store = SSL_CTX_get_cert_store(layer_->context());
  X509_LOOKUP* lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());
  Check(lookup != nullptr &&
            X509_load_crl_file(lookup, file.c_str(), X509_FILETYPE_PEM) > 0,
        "load revocations", file);
  X509_STORE_set_flags(store,
                       X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
  return *this;
}

TlsContext& TlsContext::SetAlpnProtocols(
    const std::vector<std::string>& protocols) {
  layer_->SetAlpn(protocols);
  return *this;
}

TlsContext& TlsContext::SetMinimumVersion(TlsVersion version) {
  SSL_CTX_set_min_proto_version(layer_->context(), Number(version));
  return *this;
}

TlsContext& TlsContext::SetMaximumVersion(TlsVersion version) {
  SSL_CTX_set_max_proto_version(layer_->context(), Number(version));
  return *this;
}

TlsContext& TlsContext::SetCiphers(std::string_view ciphers) {
  ERR_clear_error();
  Check(SSL_CTX_set_cipher_list(layer_->context(),
                                std::string(ciphers).c_str()) == 1,
        absl::StrCat("set the ciphers \"", ciphers, "\""), {});
  return *this;
}

TlsContext& TlsContext::RequireClientCertificate() {
  layer_->CheckServer("RequireClientCertificate");
  SSL_CTX_set_verify(layer_->context(),
                     SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     nullptr);
  return *this;
}

TlsContext& TlsContext::AddServerName(std::string_view name,
                                      const TlsContext& context) {
  layer_->CheckServer("AddServerName");
  context.layer_->CheckServer("AddServerName");
  if (context.layer_ == layer_) {
    throw std::invalid_argument(
        "TlsContext::AddServerName: the context of a name is another one");
  }
  layer_->AddServerName(name, context.layer_);
  return *this;
}

TlsContext& TlsContext::InsecureSkipVerify() {
  layer_->verify = false;
  return *this;
}

TlsContext& TlsContext::InsecureSkipHostnameCheck() {
  layer_->check_hostname = false;
  return *this;
}

}  // namespace coil::net
