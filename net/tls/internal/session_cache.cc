#include "coil/net/tls/internal/session_cache.h"

namespace coil::net::internal {

void SessionCache::Put(const std::string& server, SslSessionPtr session) {
  const absl::MutexLock lock(&mutex_);
  const auto found = by_server_.find(server);
  if (found != by_server_.end()) {
    newest_first_.erase(found->second);
    by_server_.erase(found);
  }
  newest_first_.emplace_front(server, std::move(session));
  by_server_[server] = newest_first_.begin();
  if (newest_first_.size() > capacity_) {
    by_server_.erase(newest_first_.back().first);
    newest_first_.pop_back();
  }
}

SslSessionPtr SessionCache::Take(const std::string& server) {
  const absl::MutexLock lock(&mutex_);
  const auto found = by_server_.find(server);
  if (found == by_server_.end()) return nullptr;
  SSL_SESSION* kept = found->second->second.get();
  if (SSL_SESSION_get_protocol_version(kept) < TLS1_3_VERSION) {
    SSL_SESSION_up_ref(kept);
    return SslSessionPtr(kept);
  }
  SslSessionPtr session = std::move(found->second->second);
  newest_first_.erase(found->second);
  by_server_.erase(found);
  return session;
}

}  // namespace coil::net::internal
