// coil/net/tls/internal/session_cache.h
//
// The sessions that clients may resume, by the name of the server. A session
// belongs to one context, so what was verified for it holds.
//
// Threads: any.
// Lifetime: owned by its context.

#ifndef COIL_NET_TLS_INTERNAL_SESSION_CACHE_H_
#define COIL_NET_TLS_INTERNAL_SESSION_CACHE_H_

#include <cstddef>
#include <list>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "coil/net/tls/internal/openssl.h"

namespace coil::net::internal {

class SessionCache {
 public:
  // Keeps the newest session of each of `capacity` servers.
  explicit SessionCache(size_t capacity) : capacity_(capacity) {}

  void Put(const std::string& server, SslSessionPtr session);
  // A session of TLS 1.3 is good for one use (RFC 8446, C.4): it is taken out.
  SslSessionPtr Take(const std::string& server);

 private:
  using Entries = std::list<std::pair<std::string, SslSessionPtr>>;

  const size_t capacity_;
  absl::Mutex mutex_;
  Entries newest_first_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, Entries::iterator> by_server_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace coil::net::internal

#endif  // COIL_NET_TLS_INTERNAL_SESSION_CACHE_H_
