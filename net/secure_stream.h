// coil/net/secure_stream.h
//
// SecureStream is a ByteStream that encrypts what goes over another one, and
// SecureLayer makes such streams. They are the seam between streams and TLS:
// ConnectOptions, ServerOptions and StreamWriter::StartTls() take a
// SecureLayer, so that a program without TLS links none. coil/net/tls/context.h
// has the layer that programs use.
//
// Example:
//   coil::net::ConnectOptions Secured(
//       std::shared_ptr<const coil::net::SecureLayer> layer) {
//     return coil::net::ConnectOptions().Tls(
//         std::move(layer),
//         coil::net::SecureOptions().ServerHostname("example.com"));
//   }
//
// Ordering: as ByteStream; nothing is read or written before the handshake has
//   ended.
// Cancellation: as ByteStream. A handshake that nobody waits for goes on.
// Threads: the loop's thread only; a SecureLayer may be used by several loops.
// Lifetime: a SecureStream owns the stream below it.
//
// asyncio: the ssl arguments (A188, A195, A196, A204) and start_tls (A214).

#ifndef COIL_NET_SECURE_STREAM_H_
#define COIL_NET_SECURE_STREAM_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/time/time.h"
#include "coil/net/byte_stream.h"

namespace coil::net {

// What was agreed upon in a handshake. asyncio: get_extra_info() of "cipher",
// "peercert", "ssl_object" (A247).
struct TlsInfo {
  std::string version;           // "TLSv1.3"
  std::string cipher;            // "TLS_AES_256_GCM_SHA384"
  std::string alpn;              // "h2"; empty if nothing was agreed upon
  std::string server_hostname;   // the name that the client asked for
  std::string peer_certificate;  // as PEM; empty if the peer has shown none
  bool resumed = false;          // an earlier session goes on
};

// How one connection is secured.
class SecureOptions {
 public:
  SecureOptions() = default;

  // The name that the certificate of the server must be for, and that is asked
  // for (SNI): a host name or a numeric address. OpenConnection() fills in its
  // host. Servers have none. asyncio: A188.
  SecureOptions& ServerHostname(std::string name) {
    server_hostname_ = std::move(name);
    return *this;
  }
  // How long the handshake may take, 60 s at first. asyncio: A195.
  SecureOptions& HandshakeTimeout(absl::Duration timeout) {
    handshake_timeout_ = timeout;
    return *this;
  }
  // How long Close() waits for the peer to take leave too, 30 s at first.
  // asyncio: A196.
  SecureOptions& ShutdownTimeout(absl::Duration timeout) {
    shutdown_timeout_ = timeout;
    return *this;
  }

  const std::string& server_hostname() const { return server_hostname_; }
  absl::Duration handshake_timeout() const { return handshake_timeout_; }
  absl::Duration shutdown_timeout() const { return shutdown_timeout_; }

 private:
  std::string server_hostname_;
  absl::Duration handshake_timeout_ = absl::Seconds(60);
  absl::Duration shutdown_timeout_ = absl::Seconds(30);
};

class SecureStream : public ByteStream {
 public:
  // Begins the handshake over `below`, once. `received` was read from it before
  // and belongs to the handshake.
  virtual void Attach(std::unique_ptr<ByteStream> below,
                      std::string_view received) noexcept = 0;

  // It has succeeded, or failed: see Failure().
  virtual bool HandshakeEnded() const noexcept = 0;
  // Tells `request` of the end, as a write of no bytes. REQUIRES:
  // !HandshakeEnded(); one at a time.
  virtual void StartHandshake(WriteRequest& request) noexcept = 0;
  virtual void CancelHandshake() noexcept = 0;

  // REQUIRES: the handshake has succeeded.
  virtual TlsInfo Info() const = 0;

  SecureStream* Secure() noexcept override { return this; }
};

class SecureLayer {
 public:
  virtual ~SecureLayer() = default;

  // Whether its streams are those of the side that accepts.
  virtual bool IsServer() const noexcept = 0;
  // A stream without anything below it. Throws std::invalid_argument for a name
  // that cannot be one, for a client without one, and for a timeout that is not
  // above zero.
  virtual std::unique_ptr<SecureStream> NewStream(
      const SecureOptions& options) const = 0;
};

}  // namespace coil::net

#endif  // COIL_NET_SECURE_STREAM_H_
