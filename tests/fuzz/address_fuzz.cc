// Addresses: whatever is accepted prints as something that is accepted and is
// the same.

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "coil/net/address.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

using coil::net::Address;
using coil_testing::FuzzInput;
using coil_testing::Require;

void CheckRoundTrip(const Address& address) {
  const std::string text = address.ToString();
  if (address.IsIp()) {
    const Address again = Address::Parse(text);
    // A scope that is no interface of this machine prints as a number.
    Require(again == address, "an address is not what it prints as");
    Require(again.ToString() == text, "an address prints in two ways");
    const std::optional<Address> numeric =
        Address::FromNumeric(address.Host(), address.Port());
    Require(numeric.has_value() && *numeric == address,
            "a host is not what it prints as");
    const Address other = address.WithPort(1);
    Require(other.Port() == 1 && other.Host() == address.Host(),
            "WithPort() changes more than the port");
  }
  const Address copy = Address::FromSockaddr(address.Data(), address.Size());
  Require(copy == address, "an address is not what the system has of it");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const uint8_t kind = input.Byte();
  try {
    switch (kind % 4) {
      case 0:
        CheckRoundTrip(Address::Parse(input.Rest()));
        break;
      case 1: {
        const int port = input.Byte() | input.Byte() << 8;
        const auto address = Address::FromNumeric(input.Rest(), port);
        if (address.has_value()) {
          Require(address->Port() == port, "a port changes");
          CheckRoundTrip(*address);
        }
        break;
      }
      case 2: {
        const Address address = Address::Unix(input.Rest());
        Require(address.Family() == AF_UNIX, "a path is no address");
        CheckRoundTrip(address);
        break;
      }
      default: {
        sockaddr_storage storage{};
        const std::string_view bytes = input.Bytes(sizeof(storage));
        std::copy(bytes.begin(), bytes.end(),
                  reinterpret_cast<char*>(&storage));
        constexpr int kFamilies[] = {AF_INET, AF_INET6, AF_UNIX};
        if (kind >= 128) {
          storage.ss_family = static_cast<sa_family_t>(kFamilies[kind / 4 % 3]);
        }
        const Address address =
            Address::FromSockaddr(reinterpret_cast<sockaddr*>(&storage),
                                  static_cast<socklen_t>(bytes.size()));
        address.ToString();
        address.Host();
        if (address && address.Family() == AF_UNIX) CheckRoundTrip(address);
      }
    }
  } catch (const std::invalid_argument&) {
    // Refused, with a reason.
  }
  return 0;
}
