#include "coil/net/address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "gtest/gtest.h"

namespace coil::net {
namespace {

std::string WhyNot(const std::string& text) {
  try {
    Address::Parse(text);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(AddressTest, DefaultIsNone) {
  const Address address;
  EXPECT_FALSE(address);
  EXPECT_EQ(address.Family(), AF_UNSPEC);
  EXPECT_EQ(address.ToString(), "");
  EXPECT_EQ(address.Port(), 0);
  EXPECT_EQ(address.Size(), 0u);
}

TEST(AddressTest, ParsesAndPrintsIpv4) {
  const Address address = Address::Parse("192.0.2.1:80");
  EXPECT_EQ(address.Family(), AF_INET);
  EXPECT_EQ(address.Host(), "192.0.2.1");
  EXPECT_EQ(address.Port(), 80);
  EXPECT_EQ(address.ToString(), "192.0.2.1:80");
  EXPECT_EQ(address.Size(), sizeof(sockaddr_in));
}

TEST(AddressTest, ParsesAndPrintsIpv6InShortForm) {
  const Address address = Address::Parse("[2001:db8:0:0:0:0:0:1]:65535");
  EXPECT_EQ(address.Family(), AF_INET6);
  EXPECT_EQ(address.Host(), "2001:db8::1");
  EXPECT_EQ(address.ToString(), "[2001:db8::1]:65535");
}

TEST(AddressTest, KeepsTheScopeOfIpv6) {
  const Address by_number = Address::Parse("[fe80::1%7]:1");
  EXPECT_EQ(by_number.ToString(), "[fe80::1%7]:1");
  // Every machine has a loopback.
  const std::optional<Address> by_name = Address::FromNumeric("fe80::1%lo", 1);
  ASSERT_TRUE(by_name.has_value());
  EXPECT_EQ(by_name->ToString(), "[fe80::1%1]:1");
  EXPECT_FALSE(Address::FromNumeric("fe80::1%no-such-interface", 1));
}

TEST(AddressTest, RefusesWhatIsNotNumeric) {
  for (const char* text :
       {"", ":", "127.0.0.1", "localhost:80", "::1:80", "[::1]", "[::1]80",
        "[127.0.0.1]:80", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:+80",
        "127.0.0.1: 80", "127.0.0.1:65536", "127.0.0.1:100000", "1.2.3:80",
        "1.2.3.4.5:80", "01.2.3.400:80", "[::1%]:80", "[::1]:-1"}) {
    EXPECT_NE(WhyNot(text), "") << text;
  }
}

TEST(AddressTest, SaysWhatIsWrong) {
  EXPECT_EQ(WhyNot("localhost:80"),
            "Address: \"localhost:80\" is not a numeric address with a port, "
            "such as 127.0.0.1:80 or [::1]:80");
}

TEST(AddressTest, FromNumericGivesNothingForAName) {
  EXPECT_FALSE(Address::FromNumeric("localhost", 80));
  EXPECT_FALSE(Address::FromNumeric("", 80));
  EXPECT_FALSE(Address::FromNumeric(std::string(1000, '1'), 80));
  EXPECT_FALSE(Address::FromNumeric(std::string_view("1.2.3.4\0x", 9), 80));
}

TEST(AddressTest, RefusesAPortOutOfRange) {
  EXPECT_THROW(Address::FromNumeric("127.0.0.1", -1), std::invalid_argument);
  EXPECT_THROW(Address::FromNumeric("127.0.0.1", 65536), std::invalid_argument);
  EXPECT_THROW(Address::FromNumeric("a name", 65536), std::invalid_argument);
  EXPECT_EQ(Address::FromNumeric("127.0.0.1", 0)->Port(), 0);
}

TEST(AddressTest, ChangesItsPort) {
  EXPECT_EQ(Address::Parse("1.2.3.4:5").WithPort(6).ToString(), "1.2.3.4:6");
  EXPECT_EQ(Address::Parse("[::1%2]:5").WithPort(6).ToString(), "[::1%2]:6");
}

TEST(AddressTest, ComparesFamilyHostPortAndScope) {
  EXPECT_EQ(Address::Parse("1.2.3.4:5"), Address::Parse("1.2.3.4:5"));
  EXPECT_FALSE(Address::Parse("1.2.3.4:5") == Address::Parse("1.2.3.4:6"));
  EXPECT_FALSE(Address::Parse("1.2.3.4:5") == Address::Parse("1.2.3.5:5"));
  EXPECT_FALSE(Address::Parse("[::1]:5") == Address::Parse("[::1%1]:5"));
  EXPECT_FALSE(Address::Parse("1.2.3.4:5") == Address());
  EXPECT_EQ(Address(), Address());
}

TEST(AddressTest, RoundTripsThroughTheSystemsForm) {
  for (const char* text : {"1.2.3.4:5", "[::1%3]:6"}) {
    const Address address = Address::Parse(text);
    EXPECT_EQ(Address::FromSockaddr(address.Data(), address.Size()), address);
  }
  const Address unix_address = Address::Unix("/run/x");
  EXPECT_EQ(Address::FromSockaddr(unix_address.Data(), unix_address.Size()),
            unix_address);
}

TEST(AddressTest, IgnoresWhatIsTooShortOrUnknown) {
  const Address address = Address::Parse("1.2.3.4:5");
  EXPECT_FALSE(Address::FromSockaddr(address.Data(), 3));
  EXPECT_FALSE(Address::FromSockaddr(nullptr, 0));
  sockaddr other{};
  other.sa_family = 77;
  EXPECT_FALSE(Address::FromSockaddr(&other, sizeof(other)));
}

TEST(AddressTest, UnixPaths) {
  const Address path = Address::Unix("/run/coil.sock");
  EXPECT_EQ(path.ToString(), "unix:/run/coil.sock");
  EXPECT_EQ(path.Host(), "/run/coil.sock");
  EXPECT_FALSE(path.IsIp());
  const Address abstract = Address::Unix("@coil");
  EXPECT_EQ(abstract.ToString(), "unix:@coil");
  EXPECT_FALSE(path == abstract);
  // As accept() gives the end of one who did not bind.
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  EXPECT_EQ(Address::FromSockaddr(reinterpret_cast<sockaddr*>(&unnamed),
                                  sizeof(sa_family_t))
                .ToString(),
            "unix:");
}

TEST(AddressTest, RefusesUnixPathsThatTheSystemWould) {
  EXPECT_THROW(Address::Unix(""), std::invalid_argument);
  EXPECT_THROW(Address::Unix("@"), std::invalid_argument);
  EXPECT_THROW(Address::Unix(std::string_view("a\0b", 3)),
               std::invalid_argument);
  EXPECT_THROW(Address::Unix(std::string(108, 'x')), std::invalid_argument);
  EXPECT_EQ(Address::Unix(std::string(107, 'x')).Host().size(), 107u);
}

}  // namespace
}  // namespace coil::net
