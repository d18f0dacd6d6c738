#include "coil/net/tls/internal/tls_layer.h"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "coil/net/address.h"
#include "coil/net/tls/error.h"
#include "coil/net/tls/internal/tls_stream.h"

namespace coil::net::internal {
namespace {

constexpr size_t kSessions = 1024;
constexpr size_t kLongestHostname = 253;  // RFC 1035

[[noreturn]] void ThrowRefused(const char* operation) {
  throw TlsError(EPROTO, operation, {}, TakeOpensslErrors());
}

void CheckTimeout(absl::Duration timeout, const char* what) {
  if (timeout > absl::ZeroDuration()) return;
  throw std::invalid_argument(absl::StrCat("TLS: the timeout of the ", what,
                                           " is above zero, not ",
                                           absl::FormatDuration(timeout)));
}

void CheckHostname(std::string_view name) {
  const char* wrong = nullptr;
  if (name.empty()) {
    wrong =
        "a client needs the name that the certificate of its server is for: "
        "ServerHostname(), or InsecureSkipHostnameCheck()";
  } else if (name.size() > kLongestHostname) {
    wrong = "a host name has at most 253 bytes";
  } else {
    for (const char c : name) {
      if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '.' &&
          c != '-' && c != '_') {
        wrong =
            "a host name consists of letters, digits, '-', '_' and '.'; others "
            "go by their name in ASCII (xn--...)";
      }
    }
  }
  if (wrong == nullptr) return;
  throw std::invalid_argument(
      absl::StrCat("TLS: ", wrong, "; not \"", absl::CHexEscape(name), "\""));
}

}  // namespace

TlsLayer::TlsLayer(Side side) : side_(side), sessions_(kSessions) {
  ERR_clear_error();
  context_.reset(SSL_CTX_new(side == Side::kClient ? TLS_client_method()
                                                   : TLS_server_method()));
  if (context_ == nullptr) ThrowRefused("TLS context");
  SSL_CTX* context = context_.get();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  // No RSA below 2,048 bits and no SHA-1, whatever this machine's own default.
  SSL_CTX_set_security_level(context,
                             std::max(SSL_CTX_get_security_level(context), 2));
  SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                SSL_MODE_AUTO_RETRY);
  // The password of a key: what LoadCertChain() has set for the time of its
  // call. Nobody is asked for it at the terminal.
  SSL_CTX_set_default_passwd_cb(
      context, [](char* out, int size, int, void* given) {
        const auto* text = static_cast<const std::string*>(given);
        if (text == nullptr || text->empty() ||
            text->size() > static_cast<size_t>(size)) {
          return -1;
        }
        return static_cast<int>(text->copy(out, text->size()));
      });
  if (side == Side::kClient) {
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &TlsStream::OnNewSession);
  } else {
    // Sessions are in the tickets that clients keep.
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    static constexpr unsigned char kId[] = "coil";
    SSL_CTX_set_session_id_context(context, kId, sizeof(kId) - 1);
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  }
}

std::unique_ptr<SecureStream> TlsLayer::NewStream(
    const SecureOptions& options) const {
  CheckTimeout(options.handshake_timeout(), "handshake");
  CheckTimeout(options.shutdown_timeout(), "shutdown");
  ERR_clear_error();
  SslPtr ssl(SSL_new(context_.get()));
  if (ssl == nullptr) throw std::bad_alloc();
  SessionCache* sessions = nullptr;
  if (side_ == Side::kServer) {
    if (!options.server_hostname().empty()) {
      throw std::invalid_argument(
          "TLS: ServerHostname() is for the side that connects");
    }
    SSL_set_accept_state(ssl.get());
  } else {
    const std::string& name = options.server_hostname();
    const std::optional<Address> address = Address::FromNumeric(name, 0);
    const bool check = verify && check_hostname;
    if (!address.has_value() && (check || !name.empty())) CheckHostname(name);
    bool ok = true;
    if (!address.has_value() && !name.empty()) {
      ok = SSL_set_tlsext_host_name(ssl.get(), name.c_str()) == 1;
    }
    if (check && ok) {
      SSL_set_hostflags(ssl.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                       X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
      if (address.has_value()) {
        // Without the scope, which is this machine's own affair.
        const std::string numeric = name.substr(0, name.find('%'));
        ok = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl.get()),
                                           numeric.c_str()) == 1;
      } else {
        ok = SSL_set1_host(ssl.get(), name.c_str()) == 1;
      }
    }
    if (!ok) ThrowRefused("TLS name of the server");
    SSL_set_verify(ssl.get(), verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                   nullptr);
    if (!name.empty()) {
      sessions = &sessions_;
      if (const SslSessionPtr session = sessions_.Take(name)) {
        SSL_set_session(ssl.get(), session.get());
      }
    }
    SSL_set_connect_state(ssl.get());
  }
  return std::make_unique<TlsStream>(std::move(ssl), options,
                                     shared_from_this(), sessions);
}

void TlsLayer::CheckServer(const char* function) const {
  if (side_ == Side::kServer) return;
  throw std::invalid_argument(
      absl::StrCat("TlsContext::", function, ": this is a client's context"));
}

void TlsLayer::SetAlpn(const std::vector<std::string>& protocols) {
  std::string wire;
  for (const std::string& protocol : protocols) {
    if (protocol.empty() || protocol.size() > 255) {
      throw std::invalid_argument(absl::StrCat(
          "TlsContext::SetAlpnProtocols: the name of a protocol has 1 to 255 "
          "bytes, not ",
          protocol.size()));
    }
    wire += static_cast<char>(protocol.size());
    wire += protocol;
  }
  alpn_ = std::move(wire);
  if (side_ == Side::kClient) {
    // Zero is success, unlike everywhere else.
    if (SSL_CTX_set_alpn_protos(
            context_.get(),
            reinterpret_cast<const unsigned char*>(alpn_.data()),
            static_cast<unsigned>(alpn_.size())) != 0) {
      throw std::bad_alloc();
    }
  } else {
    SSL_CTX_set_alpn_select_cb(context_.get(), &OnAlpn, this);
  }
}

int TlsLayer::OnAlpn(SSL*, const unsigned char** out, unsigned char* out_size,
                     const unsigned char* in, unsigned int in_size,
                     void* layer) {
  const std::string& ours = static_cast<TlsLayer*>(layer)->alpn_;
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size,
                            reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), in,
                            in_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

void TlsLayer::AddServerName(std::string_view name,
                             std::shared_ptr<const TlsLayer> layer) {
  std::string_view host = name;
  if (host.substr(0, 2) == "*.") host.remove_prefix(2);
  CheckHostname(host);
  by_name_[absl::AsciiStrToLower(name)] = std::move(layer);
  SSL_CTX_set_tlsext_servername_callback(context_.get(), &OnServerName);
  SSL_CTX_set_tlsext_servername_arg(context_.get(), this);
}

const TlsLayer* TlsLayer::FindServerName(const char* name) const {
  if (name == nullptr) return nullptr;
  std::string wanted = absl::AsciiStrToLower(name);
  auto found = by_name_.find(wanted);
  if (found == by_name_.end()) {
    const size_t dot = wanted.find('.');
    if (dot == std::string::npos) return nullptr;
    found = by_name_.find(absl::StrCat("*", wanted.substr(dot)));
  }
  return found != by_name_.end() ? found->second.get() : nullptr;
}

int TlsLayer::OnServerName(SSL* ssl, int* alert, void* layer) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto& self = *static_cast<TlsLayer*>(layer);
  try {
    const TlsLayer* found = self.FindServerName(name);
    if (SSL_session_reused(ssl) == 1) {
      // A ticket of TLS 1.3 is not bound to the name that it was given for: who
      // has one of a context that asks for no certificate is not let in to one
      // that does.
      const char* before = SSL_SESSION_get0_hostname(SSL_get0_session(ssl));
      if (self.FindServerName(before) != found) {
        *alert = SSL_AD_ACCESS_DENIED;
        return SSL_TLSEXT_ERR_ALERT_FATAL;
      }
    }
    if (found == nullptr) return SSL_TLSEXT_ERR_NOACK;
    // The limits of versions are those of the first context, by now.
    if (SSL_version(ssl) < SSL_CTX_get_min_proto_version(found->context())) {
      *alert = SSL_AD_PROTOCOL_VERSION;
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    SSL_set_SSL_CTX(ssl, found->context());
    // What the context demands of clients does not come with its certificate.
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(found->context()), nullptr);
    return SSL_TLSEXT_ERR_OK;
  } catch (const std::bad_alloc&) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
}

}  // namespace coil::net::internal
