#include "coil/net/resolver.h"

#include <netdb.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/net/addr_info.h"
#include "coil/net/streams.h"
#include "coil/task/errors.h"
#include "coil/task/shield.h"
#include "coil/task/to_thread.h"
#include "tests/net/names.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::Eventually;
using coil_testing::Names;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

std::string Text(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) {
    if (!text.empty()) text += ' ';
    text += address.ToString();
  }
  return text;
}

// The addresses of `host`, as text.
Co<std::string> Ask(Resolver& resolver, std::string host, int port = 80,
                    int family = AF_UNSPEC) {
  ResolveQuery query(std::move(host), port);
  query.Family(family);
  co_return Text(co_await resolver.Resolve(query));
}

class ResolverTest : public NetTest {
 protected:
  void TearDown() override {
    names_.Open();  // the threads let go of their loops
    NetTest::TearDown();
  }
  Names names_;
};

TEST_F(ResolverTest, ANameHasItsAddressesInTheirOrderEachOnce) {
  names_.Tell("two", {"2001:db8::1", "192.0.2.1", "2001:db8::1"});
  RunNet([]() -> Co<void> {
    SystemResolver resolver;
    EXPECT_EQ(co_await Ask(resolver, "two"), "[2001:db8::1]:80 192.0.2.1:80");
    EXPECT_EQ(co_await Ask(resolver, "two", 81, AF_INET), "192.0.2.1:81");
  });
}

TEST_F(ResolverTest, ANumericHostReachesNoThread) {
  RunNet([this]() -> Co<void> {
    SystemResolver resolver;
    EXPECT_EQ(co_await Ask(resolver, "192.0.2.1"), "192.0.2.1:80");
    EXPECT_EQ(co_await Ask(resolver, "::1", 443), "[::1]:443");
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "::1", 443, AF_INET)),
              "resolve ::1: Address family not supported by protocol");
    ResolveQuery service("192.0.2.1");
    service.Service("8080");
    EXPECT_EQ(Text(co_await resolver.Resolve(service)), "192.0.2.1:8080");
    EXPECT_EQ(names_.Asked(), 0);
  });
}

TEST_F(ResolverTest, AServiceHasItsPort) {
  names_.Tell("web", {"192.0.2.1"});
  RunNet([this]() -> Co<void> {
    SystemResolver resolver;
    ResolveQuery query("web");
    query.Service("https");
    EXPECT_EQ(Text(co_await resolver.Resolve(query)), "192.0.2.1:443");
    EXPECT_EQ(Text(co_await resolver.Resolve(query)), "192.0.2.1:443");
    EXPECT_EQ(names_.Asked(), 1);
    query.Service("http");
    EXPECT_EQ(Text(co_await resolver.Resolve(query)), "192.0.2.1:80");
    EXPECT_EQ(names_.Asked(), 2);
  });
}

// ---- the cache

TEST_F(ResolverTest, AnAnswerIsUsedAgainUntilItIsOld) {
  names_.Tell("host", {"192.0.2.1"});
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(ResolverOptions().ttl(), absl::Seconds(30));
        SystemResolver resolver(ResolverOptions().Ttl(absl::Seconds(20)));
        EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.1:80");
        names_.Tell("host", {"192.0.2.2"});
        co_await Sleep(absl::Seconds(19));
        // Also for another port, and in another case of letters.
        EXPECT_EQ(co_await Ask(resolver, "HOST", 81), "192.0.2.1:81");
        EXPECT_EQ(names_.Asked(), 1);
        co_await Sleep(absl::Seconds(1));
        EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.2:80");
        EXPECT_EQ(names_.Asked(), 2);
        resolver.ClearCache();
        EXPECT_EQ(resolver.CachedAnswers(), 0u);
        EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.2:80");
        EXPECT_EQ(names_.Asked(), 3);
      },
      kVirtual);
}

TEST_F(ResolverTest, ThatThereIsNoSuchNameIsUsedAgainForASecond) {
  RunNet(
      [this]() -> Co<void> {
        SystemResolver resolver;
        const std::string error = "resolve host: Name or service not known";
        EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host")), error);
        const int asked = names_.Asked();
        names_.Tell("host", {"192.0.2.1"});
        co_await Sleep(absl::Milliseconds(999));
        EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host")), error);
        EXPECT_EQ(names_.Asked(), asked);
        co_await Sleep(absl::Milliseconds(1));
        EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.1:80");
      },
      kVirtual);
}

TEST_F(ResolverTest, WhatNobodyCouldAnswerIsAskedAgain) {
  names_.Tell("host", {"192.0.2.1"});
  RunNet(
      [this]() -> Co<void> {
        SystemResolver resolver;
        names_.Fail(EAI_AGAIN);
        EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host")),
                  "resolve host: Temporary failure in name resolution");
        names_.Fail(EAI_SYSTEM, EMFILE);
        EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host")),
                  "resolve host: Too many open files");
        EXPECT_EQ(resolver.CachedAnswers(), 0u);
        names_.Fail(0);
        EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.1:80");
      },
      kVirtual);
}

TEST_F(ResolverTest, TheAnswersThatWereNotUsedForTheLongestTimeGo) {
  for (const char* host : {"a", "b", "c"}) names_.Tell(host, {"192.0.2.1"});
  RunNet(
      [this]() -> Co<void> {
        SystemResolver resolver(ResolverOptions().CacheSize(2));
        co_await Ask(resolver, "a");
        co_await Ask(resolver, "b");
        co_await Ask(resolver, "a");
        co_await Ask(resolver, "c");  // b goes
        EXPECT_EQ(resolver.CachedAnswers(), 2u);
        EXPECT_EQ(names_.Asked(), 3);
        co_await Ask(resolver, "a");
        co_await Ask(resolver, "c");
        EXPECT_EQ(names_.Asked(), 3);
        co_await Ask(resolver, "b");
        EXPECT_EQ(names_.Asked(), 4);
        EXPECT_EQ(resolver.CachedAnswers(), 2u);
      },
      kVirtual);
}

TEST_F(ResolverTest, WithoutACacheEachQuestionIsAsked) {
  names_.Tell("a", {"192.0.2.1"});
  RunNet(
      [this]() -> Co<void> {
        SystemResolver none(ResolverOptions().CacheSize(0));
        SystemResolver never(ResolverOptions().Ttl(absl::ZeroDuration()));
        for (int i = 1; i <= 3; ++i) {
          co_await Ask(none, "a");
          co_await Ask(never, "a");
          EXPECT_EQ(names_.Asked(), 2 * i);
        }
        EXPECT_EQ(none.CachedAnswers() + never.CachedAnswers(), 0u);
      },
      kVirtual);
}

// ---- one flight

TEST_F(ResolverTest, QuestionsForOneNameThatOverlapAreOne) {
  names_.Tell("host", {"192.0.2.1"});
  names_.Close();
  RunNet([this]() -> Co<void> {
    SystemResolver resolver(ResolverOptions().CacheSize(0));
    std::vector<Task<std::string>> asking;
    for (int i = 0; i < 10; ++i) {
      asking.push_back(CreateTask(Ask(resolver, "host", 80 + i)));
    }
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
    // One cancel does not disturb the others.
    asking[3].Cancel();
    co_await Turns();
    EXPECT_TRUE(asking[3].Cancelled());
    EXPECT_FALSE(asking[4].Done());
    names_.Open();
    for (int i = 0; i < 10; ++i) {
      if (i == 3) continue;
      EXPECT_EQ(co_await asking[i], "192.0.2.1:" + std::to_string(80 + i));
    }
    EXPECT_EQ(names_.Asked(), 1);
  });
}

TEST_F(ResolverTest, AnErrorIsEverybodys) {
  names_.Close();
  RunNet([this]() -> Co<void> {
    SystemResolver resolver;
    Task<std::string> a = CreateTask(ErrorOf(Ask(resolver, "host")));
    Task<std::string> b = CreateTask(ErrorOf(Ask(resolver, "HOST")));
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
    names_.Open();
    EXPECT_EQ(co_await a, "resolve host: Name or service not known");
    EXPECT_EQ(co_await b, "resolve host: Name or service not known");
  });
}

TEST_F(ResolverTest, TheAnswerIsKeptAlsoIfTheLastWhoAskedHasGone) {
  names_.Tell("host", {"192.0.2.1"});
  names_.Close();
  RunNet([this]() -> Co<void> {
    SystemResolver resolver;
    Task<std::string> only = CreateTask(Ask(resolver, "host"));
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
    co_await CancelAndWait(only);
    EXPECT_TRUE(only.Cancelled());
    // Who comes meanwhile joins.
    Task<std::string> next = CreateTask(Ask(resolver, "host"));
    co_await Turns();
    co_await CancelAndWait(next);
    names_.Open();
    EXPECT_TRUE(
        co_await Eventually([&] { return resolver.CachedAnswers() == 1; }));
    EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.1:80");
    EXPECT_EQ(names_.Asked(), 1);
  });
}

TEST_F(ResolverTest, WhatNoThreadHasBegunWithIsTakenBack) {
  names_.Tell("last", {"192.0.2.1"});
  names_.Close();
  RunNet([this]() -> Co<void> {
    SystemResolver resolver;
    std::vector<Task<std::string>> asking;
    for (int i = 0; i < 8; ++i) {
      const std::string host = "h" + std::to_string(i);
      names_.Tell(host, {"192.0.2.1"});
      asking.push_back(CreateTask(Ask(resolver, host)));
    }
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 8; }));
    Task<std::string> gone = CreateTask(Ask(resolver, "gone"));
    Task<std::string> also_gone = CreateTask(Ask(resolver, "gone"));
    co_await Turns();
    co_await CancelAndWait(gone);
    EXPECT_FALSE(also_gone.Done());
    co_await CancelAndWait(also_gone);
    EXPECT_TRUE(also_gone.Cancelled());
    for (const auto& task : asking) task.Cancel();
    Task<std::string> last = CreateTask(Ask(resolver, "last"));
    co_await Turns();
    names_.Open();
    EXPECT_EQ(co_await last, "192.0.2.1:80");
    EXPECT_EQ(names_.Asked(), 9);
    // It may be asked anew.
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "gone")),
              "resolve gone: Name or service not known");
    EXPECT_EQ(co_await Eventually([&] { return names_.Inside() == 0; }), true);
  });
}

TEST_F(ResolverTest, ReliabilityT34NamesThatHangDoNotHoldUpOtherWork) {
  names_.Close();
  RunNet([this]() -> Co<void> {
    std::vector<Task<std::string>> asking;
    for (int i = 0; i < 64; ++i) {
      asking.push_back(
          CreateTask(Ask(*DefaultResolver(), "h" + std::to_string(i))));
    }
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 8; }));
    const auto answer = [] { return 42; };
    EXPECT_EQ(co_await ToThread(answer), 42);
    EXPECT_EQ(co_await Ask(*DefaultResolver(), "192.0.2.1"), "192.0.2.1:80");
    for (const auto& task : asking) task.Cancel();
    co_await Turns();
    names_.Open();
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 0; }));
    EXPECT_LE(names_.Asked(), 16) << "the others were taken back";
  });
}

TEST_F(ResolverTest, TheLoopMayEndWhileSomebodyWaits) {
  names_.Close();
  RunNet([this]() -> Co<void> {
    Task<std::string> asking = CreateTask(Ask(*DefaultResolver(), "host"));
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
  });
  names_.Open();
}

TEST_F(ResolverTest, TheResolverMayDieWhileItsAnswerIsUnderWay) {
  names_.Tell("host", {"192.0.2.1"});
  names_.Close();
  RunNet([this]() -> Co<void> {
    auto resolver = std::make_shared<SystemResolver>();
    Task<std::string> asking = CreateTask(Ask(*resolver, "host"));
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
    resolver.reset();
    names_.Open();
    EXPECT_EQ(co_await asking, "192.0.2.1:80");
  });
}

TEST_F(ResolverTest, ACallerWaitsNoLongerThanTheTimeout) {
  names_.Tell("host", {"192.0.2.1"});
  names_.Close();
  RunNet([this]() -> Co<void> {
    SystemResolver resolver(ResolverOptions().Timeout(absl::Milliseconds(5)));
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host")),
              "resolve host: Connection timed out");
    names_.Open();
    EXPECT_TRUE(
        co_await Eventually([&] { return resolver.CachedAnswers() == 1; }));
    EXPECT_EQ(co_await Ask(resolver, "host"), "192.0.2.1:80");
  });
}

// ---- overrides

TEST_F(ResolverTest, AnOverrideIsAskedOfNobody) {
  RunNet([this]() -> Co<void> {
    const std::vector<Address> both = {Address::Parse("192.0.2.7:1"),
                                       Address::Parse("[2001:db8::7]:1")};
    const std::vector<Address> four = {both[0]};
    SystemResolver resolver(
        ResolverOptions().Override("Database", both).Override("four", four));
    EXPECT_EQ(co_await Ask(resolver, "dataBASE"),
              "192.0.2.7:80 [2001:db8::7]:80");
    EXPECT_EQ(co_await Ask(resolver, "database", 5, AF_INET6),
              "[2001:db8::7]:5");
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "four", 5, AF_INET6)),
              "resolve four: Address family for hostname not supported");
    EXPECT_EQ(names_.Asked(), 0);
    EXPECT_EQ(resolver.CachedAnswers(), 0u);
  });
}

class ResolverOverrideTest : public NetTest {};

TEST_F(ResolverOverrideTest,
       ASystemThatKnowsTheServiceGivesTheOverrideItsPort) {
  RunNet([]() -> Co<void> {
    const std::vector<Address> four = {Address::Parse("192.0.2.7:1")};
    SystemResolver resolver(ResolverOptions().Override("web", four));
    ResolveQuery query("web");
    query.Service("https");
    EXPECT_EQ(Text(co_await resolver.Resolve(query)), "192.0.2.7:443");
  });
}

TEST_F(ResolverTest, OptionsNameTheirRules) {
  auto error = [](auto f) -> std::string {
    try {
      f();
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(error([] { ResolverOptions().Override("x", {}); }),
            "ResolverOptions: no address for \"x\"");
  EXPECT_EQ(
      error([] { ResolverOptions().Override("x", {Address::Unix("/x")}); }),
      "ResolverOptions: \"unix:/x\" is not an address of IPv4 or IPv6");
  EXPECT_EQ(
      error([] { SystemResolver(ResolverOptions().Ttl(absl::Seconds(-1))); }),
      "SystemResolver: a time is negative");
}

// ---- misuse and errors

TEST_F(ResolverTest, WhatCannotBeAHostNamesTheRule) {
  RunNet([]() -> Co<void> {
    SystemResolver resolver;
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "")),
              "net: the name of the host is empty");
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, std::string("a\0b", 3))),
              "net: the name of a host holds a zero byte");
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, std::string(255, 'x'))),
              "net: the name of a host has at most 253 bytes, not 255");
    EXPECT_EQ(co_await ErrorOf(Ask(resolver, "host", 70000)),
              "Address: a port is from 0 to 65535, not 70000");
  });
}

TEST_F(ResolverTest, ReliabilityT57NamesAreRefusedOrAskedWhole) {
  // Generated names: what the system is asked is what was given, or nothing.
  static std::mutex mutex;
  static std::vector<std::string> seen;
  seen.clear();
  SocketShim shim;
  shim.table().getaddrinfo = [](const char* host, const char*, const addrinfo*,
                                addrinfo**) {
    std::lock_guard<std::mutex> lock(mutex);
    seen.push_back(host);
    return EAI_FAIL;
  };
  RunNet([]() -> Co<void> {
    SystemResolver resolver;
    uint64_t random = 57;
    for (int i = 0; i < 2000; ++i) {
      std::string name;
      random = random * 6364136223846793005u + 1442695040888963407u;
      const size_t length = (random >> 33) % 300;
      for (size_t j = 0; j < length; ++j) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        name += static_cast<char>(random >> 40);
      }
      const std::string error = co_await ErrorOf(Ask(resolver, name));
      const bool valid = !name.empty() && name.size() <= 254 &&
                         name.find('\0') == std::string::npos;
      EXPECT_EQ(error.substr(0, 8) == "resolve ", valid) << error;
      std::lock_guard<std::mutex> lock(mutex);
      if (valid) {
        EXPECT_EQ(seen, std::vector<std::string>(1, name));
      } else {
        EXPECT_TRUE(seen.empty());
      }
      seen.clear();
    }
  });
}

TEST_F(ResolverTest, AnErrorTellsWhatItIs) {
  const ResolveError none(EAI_NONAME, "host");
  EXPECT_EQ(none.Code(), EAI_NONAME);
  EXPECT_EQ(none.Errno(), ENXIO);
  EXPECT_TRUE(none.IsNotFound());
  EXPECT_EQ(none.operation(), "resolve");
  EXPECT_EQ(none.peer(), "host");
  const ResolveError again(EAI_AGAIN, "host");
  EXPECT_EQ(again.Errno(), EAGAIN);
  EXPECT_FALSE(again.IsNotFound());
  const ResolveError system(EAI_SYSTEM, "host", ENOMEM);
  EXPECT_EQ(system.Errno(), ENOMEM);
  EXPECT_STREQ(ResolveError(system).what(),
               "resolve host: Cannot allocate memory");
}

TEST_F(ResolverTest, ALoopThatIsStillThereKeepsItsResolver) {
  names_.Tell("host", {"192.0.2.1"});
  SystemResolver resolver;
  auto ask = [&resolver]() -> Co<std::string> {
    return ErrorOf(Ask(resolver, "host"));
  };
  {
    Runner first;
    EXPECT_EQ(first.Run(ask()), "");
    Runner second;
    EXPECT_EQ(second.Run(ask()),
              "SystemResolver: another loop uses it; give each loop one of its "
              "own");
  }
  EXPECT_EQ(resolver.CachedAnswers(), 1u);
  // The next loop has another clock.
  EXPECT_EQ(RunNet(ask), "");
  EXPECT_EQ(names_.Asked(), 2);
}

TEST_F(ResolverTest, WithoutALoopThereIsNoResolver) {
  EXPECT_THROW(DefaultResolver(), std::runtime_error);
  EXPECT_THROW(SetDefaultResolver(nullptr), std::runtime_error);
}

// ---- who brings one

// Knows one name.
class OneName final : public Resolver {
 public:
  explicit OneName(std::vector<Address> addresses)
      : addresses_(std::move(addresses)) {}
  Co<std::vector<Address>> Resolve(ResolveQuery query) override {
    asked.push_back(query.host());
    std::vector<Address> found = addresses_;
    for (Address& address : found) address = address.WithPort(query.port());
    co_return found;
  }
  std::vector<std::string> asked;

 private:
  std::vector<Address> addresses_;
};

std::shared_ptr<OneName> Loopback() {
  return std::make_shared<OneName>(
      std::vector<Address>(1, Address::Parse("127.0.0.1:0")));
}

Co<void> Nothing(StreamReader, StreamWriter) { co_return; }

TEST_F(ResolverTest, AnOptionBringsOne) {
  RunNet([this]() -> Co<void> {
    auto mine = Loopback();
    Server server = co_await StartServer(Nothing, "my.server", 0,
                                         ServerOptions().Resolver(mine));
    auto [reader, writer] = co_await OpenConnection(
        "my.host", server.Port(), ConnectOptions().Resolver(mine));
    EXPECT_EQ(mine->asked, (std::vector<std::string>{"my.server", "my.host"}));
    co_await OpenConnection("127.0.0.1", server.Port(),
                            ConnectOptions().Resolver(mine));
    EXPECT_EQ(mine->asked.size(), 2u) << "numeric";
    EXPECT_EQ(names_.Asked(), 0);
  });
}

TEST_F(ResolverTest, TheLoopsIsTheDefault) {
  RunNet([this]() -> Co<void> {
    EXPECT_EQ(DefaultResolver(), DefaultResolver());
    auto mine = Loopback();
    SetDefaultResolver(mine);
    EXPECT_EQ(DefaultResolver(), mine);
    Server server = co_await StartServer(Nothing, "my.server", 0);
    co_await OpenConnection("my.host", server.Port());
    EXPECT_EQ(mine->asked.size(), 2u);
    EXPECT_EQ(names_.Asked(), 0);
    SetDefaultResolver(nullptr);
    EXPECT_EQ(co_await ErrorOf(OpenConnection("my.host", server.Port())),
              "resolve my.host: Name or service not known");
  });
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(OpenConnection("my.host", 1)),
              "resolve my.host: Name or service not known")
        << "another loop";
  });
}

TEST_F(ResolverTest, AnswersOfAnotherFamilyAreLeftOut) {
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(OpenConnection(
                  "my.host", 1,
                  ConnectOptions().Resolver(Loopback()).Family(AF_INET6))),
              "resolve my.host: Address family for hostname not supported");
  });
}

// ---- GetAddrInfo and GetNameInfo, with the system's answers

class AddrInfoTest : public NetTest {};

TEST_F(AddrInfoTest, GetAddrInfoGivesWhatTheSystemDoes) {
  RunNet([]() -> Co<void> {
    AddrInfoOptions options;
    options.family = AF_INET;
    options.type = SOCK_STREAM;
    const std::vector<AddrInfo> web =
        co_await GetAddrInfo("localhost", "https", options);
    EXPECT_EQ(web.size(), 1u);
    EXPECT_EQ(web.front().address.ToString(), "127.0.0.1:443");
    EXPECT_EQ(web.front().family, AF_INET);
    EXPECT_EQ(web.front().type, SOCK_STREAM);
    EXPECT_EQ(web.front().protocol, IPPROTO_TCP);

    AddrInfoOptions passive;
    passive.family = AF_INET;
    passive.flags = AI_PASSIVE | AI_NUMERICSERV;
    const std::vector<AddrInfo> every = co_await GetAddrInfo("", 99, passive);
    EXPECT_GE(every.size(), 2u) << "streams and datagrams";
    EXPECT_EQ(every.front().address.ToString(), "0.0.0.0:99");
    EXPECT_FALSE((co_await GetAddrInfo("")).empty());
  });
}

TEST_F(AddrInfoTest, GetNameInfoIsTheWayBack) {
  RunNet([]() -> Co<void> {
    const NameInfo numeric = co_await GetNameInfo(
        Address::Parse("127.0.0.1:80"), NI_NUMERICHOST | NI_NUMERICSERV);
    EXPECT_EQ(numeric.host, "127.0.0.1");
    EXPECT_EQ(numeric.service, "80");
    const NameInfo named =
        co_await GetNameInfo(Address::Parse("127.0.0.1:443"), NI_NUMERICHOST);
    EXPECT_EQ(named.service, "https");
  });
}

TEST_F(AddrInfoTest, ErrorsHaveTheTextOfTheSystem) {
  SocketShim shim;
  shim.table().getnameinfo = [](const sockaddr*, socklen_t, char*, socklen_t,
                                char*, socklen_t, int) { return EAI_AGAIN; };
  RunNet([]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(GetAddrInfo("localhost", "no.such.service")),
              "resolve localhost: Servname not supported for ai_socktype");
    EXPECT_EQ(co_await ErrorOf(GetNameInfo(Address::Parse("[::1]:1"))),
              "resolve [::1]:1: Temporary failure in name resolution");
    EXPECT_EQ(co_await ErrorOf(GetNameInfo(Address::Unix("/x"))),
              "GetNameInfo: \"unix:/x\" is not an address of IPv4 or IPv6");
    EXPECT_EQ(co_await ErrorOf(GetAddrInfo(std::string(2, '\0'))),
              "net: the name of a host holds a zero byte");
    EXPECT_EQ(co_await ErrorOf(GetAddrInfo("x", std::string(2, '\0'))),
              "net: the name of a service holds a zero byte");
    EXPECT_THROW(static_cast<void>(GetAddrInfo("x", 65536)),
                 std::invalid_argument);
  });
}

TEST_F(ResolverTest, ACancelledGetAddrInfoLetsGoAtOnce) {
  names_.Close();
  RunNet([this]() -> Co<void> {
    auto asking = CreateTask(GetAddrInfo("slow.host"));
    EXPECT_TRUE(co_await Eventually([&] { return names_.Inside() == 1; }));
    const std::string dump = DumpTasks();
    EXPECT_NE(dump.find("the address of slow.host"), std::string::npos) << dump;
    co_await CancelAndWait(asking);
    EXPECT_TRUE(asking.Cancelled());
    EXPECT_EQ(names_.Inside(), 1);
  });
}

// ---- A181

TEST_F(ResolverTest, DebugModeReportsASlowResolution) {
  names_.Tell("host", {"192.0.2.1"});
  static std::vector<std::string> messages;
  messages.clear();
  DiagnosticSink before = SetDiagnosticSink(
      [](std::string_view message) { messages.emplace_back(message); });
  auto run = [](bool debug, absl::Duration threshold) {
    RunNet([=]() -> Co<void> {
      EventLoop::Current().SetDebug(debug);
      EventLoop::Current().SetSlowCallbackDuration(threshold);
      SystemResolver resolver;
      co_await Ask(resolver, "host");
    });
    return std::count_if(
        messages.begin(), messages.end(), [](const std::string& message) {
          return message.rfind("coil: resolving the address of host took ",
                               0) == 0;
        });
  };
  EXPECT_EQ(run(false, absl::ZeroDuration()), 0);
  EXPECT_EQ(run(true, absl::Hours(1)), 0);
  EXPECT_EQ(run(true, absl::ZeroDuration()), 1);
  SetDiagnosticSink(std::move(before));
}

// ---- threads

TEST_F(AddrInfoTest, LoopsOfManyThreadsShareTheThreads) {
  std::vector<std::thread> threads;
  std::atomic<int> found{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&found] {
      for (int round = 0; round < 5; ++round) {
        coil::Run([&found]() -> Co<void> {
          std::vector<Task<std::string>> asking;
          for (int j = 0; j < 4; ++j) {
            asking.push_back(
                CreateTask(Ask(*DefaultResolver(), "localhost", 80, AF_INET)));
          }
          asking.back().Cancel();
          for (int j = 0; j < 3; ++j) {
            if (co_await asking[j] == "127.0.0.1:80") ++found;
          }
          // Is not waited for.
          asking.push_back(CreateTask(Ask(*DefaultResolver(), "localhost")));
          co_await Turns();
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(found, 4 * 5 * 3);
}

}  // namespace
}  // namespace coil::net
