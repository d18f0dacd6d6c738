// coil/net/tls/internal/tls_layer.h
//
// What a TlsContext is a handle to: OpenSSL's context, and what it has no place
// for.
//
// Threads: set up on one; NewStream() on any.
// Lifetime: counted: by TlsContext, by those who have it as an option, and by
//   the connections.

#ifndef COIL_NET_TLS_INTERNAL_TLS_LAYER_H_
#define COIL_NET_TLS_INTERNAL_TLS_LAYER_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "coil/net/secure_stream.h"
#include "coil/net/tls/internal/openssl.h"
#include "coil/net/tls/internal/session_cache.h"

namespace coil::net::internal {

class TlsLayer final : public SecureLayer,
                       public std::enable_shared_from_this<TlsLayer> {
 public:
  enum class Side { kClient, kServer };

  explicit TlsLayer(Side side);

  bool IsServer() const noexcept override { return side_ == Side::kServer; }
  std::unique_ptr<SecureStream> NewStream(
      const SecureOptions& options) const override;

  SSL_CTX* context() const { return context_.get(); }
  Side side() const { return side_; }
  // REQUIRES: side() is kServer; throws std::invalid_argument otherwise.
  void CheckServer(const char* function) const;

  void SetAlpn(const std::vector<std::string>& protocols);
  void AddServerName(std::string_view name,
                     std::shared_ptr<const TlsLayer> layer);

  bool verify = true;
  bool check_hostname = true;

 private:
  // What OpenSSL calls.
  static int OnAlpn(SSL* ssl, const unsigned char** out,
                    unsigned char* out_size, const unsigned char* in,
                    unsigned int in_size, void* layer);
  static int OnServerName(SSL* ssl, int* alert, void* layer);

  // Null for none, and for a name that nobody has added.
  const TlsLayer* FindServerName(const char* name) const;

  Side side_;
  SslCtxPtr context_;
  std::string alpn_;  // as it is on the wire
  absl::flat_hash_map<std::string, std::shared_ptr<const TlsLayer>> by_name_;
  mutable SessionCache sessions_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_TLS_INTERNAL_TLS_LAYER_H_
