// coil/net/internal/protocol_factory.h
//
// What the functions that connect a protocol to a transport have in common: the
// type of the factory's protocols.
//
// Threads: does not apply.

#ifndef COIL_NET_INTERNAL_PROTOCOL_FACTORY_H_
#define COIL_NET_INTERNAL_PROTOCOL_FACTORY_H_

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include "coil/net/protocol.h"

namespace coil::net {

// What those functions give: auto [transport, protocol] = ...
template <class T, class P>
struct Endpoint {
  Endpoint(std::shared_ptr<T> transport_in, std::shared_ptr<P> protocol_in)
      : transport(std::move(transport_in)), protocol(std::move(protocol_in)) {}
  std::shared_ptr<T> transport;
  std::shared_ptr<P> protocol;
};

namespace internal {

// F() gives a std::shared_ptr to a class that is derived from Base.
template <class F, class Base>
concept FactoryOf = requires(std::remove_reference_t<F>& f) {
  { f() } -> std::convertible_to<std::shared_ptr<Base>>;
};

// The class of F's protocols.
template <class F>
using ProtocolOf =
    typename std::invoke_result_t<std::remove_reference_t<F>&>::element_type;

}  // namespace internal
}  // namespace coil::net

#endif  // COIL_NET_INTERNAL_PROTOCOL_FACTORY_H_
