// Several addresses, of which some are silent, refuse, or answer late: under a
// virtual clock, by connections that the test plays.

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/net/internal/connect.h"
#include "coil/net/resolver.h"
#include "coil/net/streams.h"
#include "coil/task/errors.h"
#include "coil/task/shield.h"
#include "coil/task/testing.h"
#include "coil/timers/timeout.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::CheckedFd;
using coil_testing::ErrorOf;
using coil_testing::NetTest;
using coil_testing::Peer;
using coil_testing::RunNet;
using coil_testing::SocketShim;
using coil_testing::Turns;

const SimulationOptions kSimulation;
const RunOptions kVirtual = {.simulation = &kSimulation};

enum class Behaviour {
  kAnswers,      // connected in the next turn
  kAtOnce,       // connected before connect() returns
  kSilent,       // until Answer()
  kRefuses,      // in the next turn
  kUnreachable,  // before connect() returns
};

// What is at the addresses of these tests. A connection is a socket pair, of
// which the buffer is full until somebody answers.
class World final {
 public:
  World() {
    The() = this;
    shim_.table().socket = [](int, int type, int) {
      // Has the number until somebody connects.
      return ::socket(AF_UNIX, type, 0);
    };
    shim_.table().bind = [](int, const sockaddr* address, socklen_t size) {
      return The()->Bind(Address::FromSockaddr(address, size));
    };
    shim_.table().connect = [](int fd, const sockaddr* address,
                               socklen_t size) {
      return The()->Connect(fd, Address::FromSockaddr(address, size));
    };
    shim_.table().getsockopt = [](int fd, int level, int name, void* value,
                                  socklen_t* size) {
      const auto found = The()->errors_.find(fd);
      if (name == SO_ERROR && found != The()->errors_.end()) {
        *static_cast<int*>(value) = found->second;
        The()->errors_.erase(found);
        return 0;
      }
      return ::getsockopt(fd, level, name, value, size);
    };
  }

  void Put(const std::string& host, Behaviour behaviour) {
    behaviours_[host] = behaviour;
    order_.push_back(*Address::FromNumeric(host, 0));
  }
  void RefuseBind(const std::string& host, int error) {
    bind_errors_[host] = error;
  }
  // The silent one answers.
  void Answer(const std::string& host) { peers_.at(host).Receive(); }
  // It refuses.
  void Refuse(const std::string& host) {
    errors_[fds_.at(host)] = ECONNREFUSED;
    Answer(host);
  }
  void Clear() { peers_.clear(); }
  // The other end of what was connected to `host`; null if nobody tried.
  Peer* PeerOf(const std::string& host) {
    const auto found = peers_.find(host);
    return found != peers_.end() ? &found->second : nullptr;
  }
  // The connection was given up.
  bool Closed(const std::string& host) {
    char byte;
    for (;;) {
      const ssize_t n =
          ::recv(peers_.at(host).fd(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
      if (n <= 0) return n == 0;
      Answer(host);
    }
  }
  // "0ms A, 250ms B"
  std::string Log() { return std::exchange(log_, ""); }

  std::shared_ptr<Resolver> MakeResolver() {
    return std::make_shared<Names>(order_);
  }

 private:
  class Names final : public Resolver {
   public:
    explicit Names(std::vector<Address> all) : all_(std::move(all)) {}
    Co<std::vector<Address>> Resolve(ResolveQuery query) override {
      std::vector<Address> found;
      // A name is a list of the hosts that it stands for, or all of them.
      for (const Address& address : all_) {
        if (query.host() == "all" ||
            query.host().find(address.Host() + ";") != std::string::npos) {
          found.push_back(address.WithPort(query.port()));
        }
      }
      co_return found;
    }

   private:
    std::vector<Address> all_;
  };

  static World*& The() {
    static World* world = nullptr;
    return world;
  }

  void Write(const std::string& what) {
    const absl::Duration now = EventLoop::Current().Now() -
                               start_.value_or(EventLoop::Current().Now());
    if (!start_.has_value()) start_ = EventLoop::Current().Now();
    if (!log_.empty()) log_ += ", ";
    log_ += std::to_string(absl::ToInt64Milliseconds(now)) + "ms " + what;
  }
  int Bind(const Address& address) {
    const auto found = bind_errors_.find(address.Host());
    if (found == bind_errors_.end()) {
      Write("bind " + address.Host());
      return 0;
    }
    errno = found->second;
    return -1;
  }
  int Connect(int fd, const Address& address) {
    const std::string host = address.Host();
    Write(host);
    const Behaviour behaviour = behaviours_.at(host);
    if (behaviour == Behaviour::kUnreachable) {
      errno = ENETUNREACH;
      return -1;
    }
    int fds[2];
    CheckedFd(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
                           0, fds),
              "socketpair");
    CheckedFd(::dup3(fds[0], fd, O_CLOEXEC), "dup3");
    ::close(fds[0]);
    peers_[host] = Peer(fds[1]);
    fds_[host] = fd;
    errors_.erase(fd);
    if (behaviour == Behaviour::kAtOnce) return 0;
    if (behaviour == Behaviour::kSilent) {
      const std::string block(4096, 's');
      while (::send(fd, block.data(), block.size(), MSG_NOSIGNAL) > 0) {
      }
    }
    if (behaviour == Behaviour::kRefuses) errors_[fd] = ECONNREFUSED;
    errno = EINPROGRESS;
    return -1;
  }

  SocketShim shim_;
  std::map<std::string, Behaviour> behaviours_;
  std::vector<Address> order_;
  std::map<std::string, int> bind_errors_;
  std::map<int, int> errors_;
  std::map<std::string, Peer> peers_;
  std::map<std::string, int> fds_;
  std::optional<LoopTime> start_;
  std::string log_;
};

// "A" and so on are hosts.
const std::string kA6 = "2001:db8::a";
const std::string kB6 = "2001:db8::b";
const std::string kC6 = "2001:db8::c";
const std::string kA4 = "192.0.2.1";
const std::string kB4 = "192.0.2.2";

class HappyEyeballsTest : public NetTest {
 protected:
  void TearDown() override {
    world_.Clear();
    NetTest::TearDown();
  }
  ConnectOptions Options() {
    return ConnectOptions().Resolver(world_.MakeResolver());
  }
  // Connects to all; the host that won.
  Co<std::string> Winner(ConnectOptions options) {
    auto [reader, writer] = co_await OpenConnection("all", 80, options);
    co_return writer.PeerName().Host();
  }
  Co<std::string> Winner() { return Winner(Options()); }

  World world_;
};

TEST_F(HappyEyeballsTest, ASilentAddressIsPassedByAfterAQuarterOfASecond) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await Winner(), kA4);
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 250ms " + kA4);
        EXPECT_TRUE(world_.Closed(kA6)) << "the loser";
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, TheFamiliesTakeTurns) {
  for (const std::string& host : {kA6, kB6, kC6, kA4}) {
    world_.Put(host, Behaviour::kSilent);
  }
  world_.Put(kB4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await Winner(), kB4);
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 250ms " + kA4 + ", 500ms " +
                                    kB6 + ", 750ms " + kB4);
        for (const std::string& host : {kA6, kB6, kA4}) {
          EXPECT_TRUE(world_.Closed(host)) << host;
        }
        EXPECT_EQ(world_.PeerOf(kC6), nullptr) << "never tried";
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, AFailureStartsTheNextAtOnce) {
  world_.Put(kA6, Behaviour::kRefuses);
  world_.Put(kA4, Behaviour::kUnreachable);
  world_.Put(kB6, Behaviour::kSilent);
  world_.Put(kB4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await Winner(), kB4);
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 0ms " + kA4 + ", 0ms " + kB6 +
                                    ", 250ms " + kB4);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, TheFirstMayStillWinAfterOthersHaveBegun) {
  for (const std::string& host : {kA6, kA4, kB6}) {
    world_.Put(host, Behaviour::kSilent);
  }
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(Winner());
        co_await Sleep(absl::Milliseconds(300));
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 250ms " + kA4);
        world_.Answer(kA6);
        EXPECT_EQ(co_await winner, kA6);
        EXPECT_TRUE(world_.Closed(kA4));
        EXPECT_EQ(world_.Log(), "") << "no more is tried";
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, OfTwoThatAnswerTogetherTheFirstWins) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kSilent);
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(Winner());
        co_await Sleep(absl::Milliseconds(300));
        world_.Answer(kA4);
        world_.Answer(kA6);
        EXPECT_EQ(co_await winner, kA6);
        EXPECT_TRUE(world_.Closed(kA4));
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, AnEarlierOneThatFailsDoesNotHurryTheNext) {
  for (const std::string& host : {kA6, kA4, kB6}) {
    world_.Put(host, Behaviour::kSilent);
  }
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(Winner());
        co_await Sleep(absl::Milliseconds(300));
        world_.Refuse(kA6);
        co_await Sleep(absl::Milliseconds(199));
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 250ms " + kA4);
        co_await Sleep(absl::Milliseconds(1));
        EXPECT_EQ(world_.Log(), "500ms " + kB6);
        world_.Refuse(kB6);
        co_await Sleep(absl::Seconds(9));
        EXPECT_FALSE(winner.Done());
        world_.Refuse(kA4);
        EXPECT_EQ(co_await ErrorOf(std::move(winner)),
                  "connect to all:80 ([2001:db8::a]:80: Connection refused; "
                  "192.0.2.1:80: Connection refused; [2001:db8::b]:80: "
                  "Connection refused): Connection refused");
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, WithoutADelayOnlyFailuresCount) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kB6, Behaviour::kAnswers);
  world_.Put(kA4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(
            Winner(Options().HappyEyeballsDelay(absl::InfiniteDuration())));
        co_await Sleep(absl::Seconds(20));
        EXPECT_EQ(world_.Log(), "0ms " + kA6);
        co_await CancelAndWait(winner);
        EXPECT_TRUE(world_.Closed(kA6));
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, WithoutADelayTheOrderIsThatOfTheResolver) {
  world_.Put(kA6, Behaviour::kRefuses);
  world_.Put(kB6, Behaviour::kUnreachable);
  world_.Put(kA4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await Winner(
                      Options().HappyEyeballsDelay(absl::InfiniteDuration())),
                  kA4);
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 0ms " + kB6 + ", 0ms " + kA4);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, ADelayOfZeroTriesAllAtOnce) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kSilent);
  world_.Put(kB6, Behaviour::kSilent);
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(
            Winner(Options().HappyEyeballsDelay(absl::ZeroDuration())));
        co_await Turns(20);
        EXPECT_EQ(world_.Log(), "0ms " + kA6 + ", 0ms " + kA4 + ", 0ms " + kB6);
        world_.Answer(kB6);
        EXPECT_EQ(co_await winner, kB6);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, ConnectedAtOnceNeedsNoWait) {
  world_.Put(kA6, Behaviour::kAtOnce);
  world_.Put(kA4, Behaviour::kAnswers);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await Winner(), kA6);
        EXPECT_EQ(world_.Log(), "0ms " + kA6);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, TheErrorsOfAllAddressesAreKept) {
  world_.Put(kA6, Behaviour::kUnreachable);
  world_.Put(kA4, Behaviour::kRefuses);
  RunNet(
      [this]() -> Co<void> {
        int error = 0;
        std::string text;
        try {
          co_await Winner();
        } catch (const OsError& e) {
          error = e.Errno();
          text = e.what();
        }
        EXPECT_EQ(error, ENETUNREACH);
        EXPECT_EQ(text,
                  "connect to all:80 ([2001:db8::a]:80: Network is "
                  "unreachable; 192.0.2.1:80: Connection refused): Network is "
                  "unreachable");
        std::vector<std::string> texts;
        try {
          co_await Winner(Options().AllErrors(true));
        } catch (const ExceptionGroup& group) {
          for (const auto& one : group.Exceptions()) {
            texts.push_back(DescribeException(one));
          }
        }
        EXPECT_EQ(texts.size(), 2u);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, OneErrorIsThatError) {
  world_.Put(kA4, Behaviour::kRefuses);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await ErrorOf(Winner()),
                  "connect to 192.0.2.1:80: Connection refused");
        size_t errors = 0;
        try {
          co_await OpenConnection(*Address::FromNumeric(kA4, 80),
                                  ConnectOptions().AllErrors(true));
        } catch (const ExceptionGroup& group) {
          errors = group.Exceptions().size();
        }
        EXPECT_EQ(errors, 1u);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, ACancelClosesAll) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kSilent);
  RunNet(
      [this]() -> Co<void> {
        Task<std::string> winner = CreateTask(Winner());
        co_await Sleep(absl::Milliseconds(300));
        const std::string dump = DumpTasks();
        EXPECT_NE(dump.find("connect to [2001:db8::a]:80 (fd "),
                  std::string::npos)
            << dump;
        EXPECT_NE(dump.find(", 192.0.2.1:80 (fd "), std::string::npos) << dump;
        co_await CancelAndWait(winner);
        EXPECT_TRUE(world_.Closed(kA6));
        EXPECT_TRUE(world_.Closed(kA4));
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, ReliabilityT52ADeadlineClosesAll) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kSilent);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await ErrorOf(WithTimeout(absl::Seconds(3), Winner())),
                  "deadline exceeded");
        EXPECT_TRUE(world_.Closed(kA6));
        EXPECT_TRUE(world_.Closed(kA4));
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, TheLoopMayEndMeanwhile) {
  world_.Put(kA6, Behaviour::kSilent);
  world_.Put(kA4, Behaviour::kSilent);
  {
    EventLoop loop;
    loop.CallSoon([this] { CreateTask(Winner()); });
    loop.CallLater(absl::Milliseconds(300), [&loop] { loop.Stop(); });
    loop.RunForever();
    EXPECT_FALSE(world_.Closed(kA6));
  }
  EXPECT_TRUE(world_.Closed(kA6));
  EXPECT_TRUE(world_.Closed(kA4));
}

TEST_F(HappyEyeballsTest, ADescriptorThatIsNotToBeHadIsAnErrorOfItsAddress) {
  world_.Put(kA6, Behaviour::kAnswers);
  world_.Put(kA4, Behaviour::kAnswers);
  static int adds = 0;
  adds = 0;
  coil_testing::SystemShim system;
  system.table().epoll_ctl = [](int epfd, int op, int fd, epoll_event* event) {
    if (op == EPOLL_CTL_ADD && ++adds == 2) {  // the first one is the loop's
      errno = ENOSPC;
      return -1;
    }
    return ::epoll_ctl(epfd, op, fd, event);
  };
  RunNet([this]() -> Co<void> { EXPECT_EQ(co_await Winner(), kA4); }, kVirtual);
}

// ---- the end on this side

TEST_F(HappyEyeballsTest, EachAttemptHasAnAddressOfItsFamily) {
  world_.Put(kA6, Behaviour::kRefuses);
  world_.Put(kA4, Behaviour::kAnswers);
  world_.Put("2001:db8::1", Behaviour::kUnreachable);
  world_.Put("127.0.0.8", Behaviour::kUnreachable);
  world_.Put("127.0.0.9", Behaviour::kUnreachable);
  world_.RefuseBind("127.0.0.8", EADDRINUSE);
  const std::string here = "2001:db8::1;127.0.0.8;127.0.0.9;";
  const std::string there = kA6 + ";" + kA4 + ";";
  RunNet(
      [&]() -> Co<void> {
        auto [reader, writer] =
            co_await OpenConnection(there, 80, Options().LocalHost(here));
        EXPECT_EQ(writer.PeerName().Host(), kA4);
        EXPECT_EQ(world_.Log(), "0ms bind 2001:db8::1, 0ms " + kA6 +
                                    ", 0ms bind 127.0.0.9, 0ms " + kA4);
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, AnAddressOfThisSideThatCannotBeBoundIsNamed) {
  world_.Put(kA4, Behaviour::kAnswers);
  world_.RefuseBind("127.0.0.8", EADDRINUSE);
  RunNet(
      [this]() -> Co<void> {
        EXPECT_EQ(co_await ErrorOf(Winner(Options().LocalAddress(
                      *Address::FromNumeric("127.0.0.8", 7)))),
                  "bind to 127.0.0.8:7: Address already in use");
        EXPECT_EQ(co_await ErrorOf(Winner(
                      Options().LocalAddress(*Address::FromNumeric("::8", 7)))),
                  "bind to [::8]:7: Cannot assign requested address");
      },
      kVirtual);
}

TEST_F(HappyEyeballsTest, OptionsNameTheirRules) {
  RunNet([]() -> Co<void> {
    auto error = [](ConnectOptions options) -> Co<std::string> {
      return ErrorOf(OpenConnection("127.0.0.1", 0, std::move(options)));
    };
    EXPECT_EQ(
        co_await error(ConnectOptions().HappyEyeballsDelay(absl::Seconds(-1))),
        "OpenConnection: the delay of HappyEyeballsDelay() is negative");
    EXPECT_EQ(co_await error(ConnectOptions().Interleave(-1)),
              "OpenConnection: Interleave() counts addresses, not -1");
    EXPECT_EQ(co_await error(ConnectOptions()
                                 .LocalAddress(Address::Parse("[::1]:0"))
                                 .LocalHost("x")),
              "OpenConnection: LocalAddress() and LocalHost() exclude each "
              "other");
  });
}

// ---- order, as asyncio's _interleave_addrinfos()

std::string Order(const std::string& families, int count) {
  std::vector<Address> addresses;
  int number = 0;
  for (const char family : families) {
    const std::string host =
        (family == '6' ? "2001:db8::" : "192.0.2.") + std::to_string(++number);
    addresses.push_back(*Address::FromNumeric(host, 0));
  }
  std::string result;
  for (const Address& address : internal::Interleave(addresses, count)) {
    const std::string host = address.Host();
    result += host[host.size() - 1];
  }
  return result;
}

TEST(InterleaveTest, TakesTurnsAfterSomeOfTheFirstFamily) {
  EXPECT_EQ(Order("", 1), "");
  EXPECT_EQ(Order("666", 1), "123");
  EXPECT_EQ(Order("66644", 1), "14253");
  EXPECT_EQ(Order("46664", 1), "12534");
  EXPECT_EQ(Order("66644", 2), "12435");
  EXPECT_EQ(Order("66644", 3), "12345");
  EXPECT_EQ(Order("66644", 9), "12345");
}

// ---- every suspension

Co<void> ConnectPastASilentOne() {
  auto world = std::make_shared<World>();
  world->Put(kA6, Behaviour::kSilent);
  world->Put(kB6, Behaviour::kRefuses);
  world->Put(kA4, Behaviour::kSilent);
  world->Put(kB4, Behaviour::kAnswers);
  auto [reader, writer] = co_await OpenConnection(
      "all", 80, ConnectOptions().Resolver(world->MakeResolver()));
  EXPECT_EQ(writer.PeerName().Host(), kB4);
  co_await writer.Write("x");
}

TEST(HappyEyeballsSweepTest, NothingIsLeftWhereverItIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      ConnectPastASilentOne, SweepOptions().SecondCancel().Seeds(2));
  EXPECT_GT(result.points, 3u);
}

TEST(HappyEyeballsSweepTest, NothingIsLeftWhereverTheLoopEnds) {
  const SweepResult result = ForEachDestructionPoint(ConnectPastASilentOne);
  EXPECT_GT(result.points, 2u);
}

// ---- a socket that is connected

TEST(ConnectedSocketTest, IsAConnection) {
  RunNet([]() -> Co<void> {
    coil_testing::TcpEnds ends;
    Peer peer = std::move(ends.peer);
    auto [reader, writer] = co_await OpenConnection(std::move(ends.socket));
    co_await writer.Write("x");
    EXPECT_EQ(peer.ReceiveExactly(1), "x");
    EXPECT_EQ(writer.PeerName().Host(), "127.0.0.1");
  });
}

TEST(ConnectedSocketTest, MustBeAStream) {
  RunNet([]() -> Co<void> {
    const int before = coil_testing::OpenDescriptors();
    Socket datagrams(AF_INET, SOCK_DGRAM);
    EXPECT_EQ(co_await ErrorOf(OpenConnection(std::move(datagrams))),
              "OpenConnection: not a stream socket");
    EXPECT_EQ(coil_testing::OpenDescriptors(), before);
    EXPECT_NE(co_await ErrorOf(OpenConnection(Socket())), "");
  });
}

}  // namespace
}  // namespace coil::net
