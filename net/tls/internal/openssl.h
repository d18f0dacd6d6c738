// coil/net/tls/internal/openssl.h
//
// Owners of OpenSSL's objects, and its errors as text.
//
// Threads: errors are of the thread.
// Lifetime: an owner frees its object.

#ifndef COIL_NET_TLS_INTERNAL_OPENSSL_H_
#define COIL_NET_TLS_INTERNAL_OPENSSL_H_

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>

namespace coil::net::internal {

template <auto kFree>
struct FreeWith {
  template <class T>
  void operator()(T* object) const noexcept {
    kFree(object);
  }
};

using SslPtr = std::unique_ptr<SSL, FreeWith<SSL_free>>;
using SslCtxPtr = std::unique_ptr<SSL_CTX, FreeWith<SSL_CTX_free>>;
using SslSessionPtr = std::unique_ptr<SSL_SESSION, FreeWith<SSL_SESSION_free>>;
using X509Ptr = std::unique_ptr<X509, FreeWith<X509_free>>;
using BioPtr = std::unique_ptr<BIO, FreeWith<BIO_free>>;

// What lies in this thread's queue of errors, the newest last; empties it.
std::string TakeOpensslErrors();

}  // namespace coil::net::internal

#endif  // COIL_NET_TLS_INTERNAL_OPENSSL_H_
