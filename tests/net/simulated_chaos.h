// A conversation of several clients with a server in a simulated network, and
// everything that can come in between: cancellation, resets, partitions,
// crashes, partial transfers. Header-only, for the short and the long run.

#ifndef COIL_TESTS_NET_SIMULATED_CHAOS_H_
#define COIL_TESTS_NET_SIMULATED_CHAOS_H_

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/internal/random.h"
#include "coil/loop/simulation.h"
#include "coil/net/simulated_network.h"
#include "coil/net/streams.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/timers/sleep.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/net/simulated_testing.h"

namespace coil_testing {

struct ChaosResult {
  uint64_t trace = 0;
  int64_t end = 0;  // in nanoseconds
  uint64_t answered = 0;
  uint64_t cancelled = 0;
  uint64_t reset = 0;
  uint64_t refused = 0;
  uint64_t timed_out = 0;
  uint64_t cut_off = 0;

  ChaosResult& operator+=(const ChaosResult& other) {
    answered += other.answered;
    cancelled += other.cancelled;
    reset += other.reset;
    refused += other.refused;
    timed_out += other.timed_out;
    cut_off += other.cut_off;
    return *this;
  }
};

// What a test of one seed does with its luck.
class Chaos {
 public:
  explicit Chaos(uint64_t seed) : seed_(seed), random_(seed * 3 + 1) {}

  ChaosResult result;

  coil::Co<void> Main() {
    const coil::LoopTime begin = LoopNow();
    {
      coil::net::SimulatedNetwork network(Options());
      network_ = &network;
      network.AddHost("server", {"10.0.0.1"});
      network.AddHost("client", {"10.0.0.2"});
      co_await Listen();
      std::vector<coil::Task<void>> clients;
      for (uint64_t i = 0; i < 3; ++i) {
        clients.push_back(coil::CreateTask(Client(i)));
      }
      coil::Task<void> disorder = coil::CreateTask(Disorder());
      for (const coil::Task<void>& client : clients) co_await client;
      disorder.Cancel();
      network.HealAll();
      co_await server_.Shutdown(absl::Seconds(5));
      EXPECT_EQ(server_.Connections(), 0u);
      server_ = coil::net::Server();
      co_await coil::Sleep(absl::Hours(1));
      // Nothing is left: no connection, no task, no timer.
      EXPECT_EQ(network.Connections(), 0u);
      EXPECT_EQ(coil::AllTasks().size(), 1u);
      result.trace = network.TraceHash();
    }
    EXPECT_EQ(coil::internal::CoreOf(coil::EventLoop::Current()).TimerCount(),
              0u);
    result.end = absl::ToInt64Nanoseconds(LoopNow() - begin);
  }

 private:
  // A request is its number, its size and that many bytes; the answer the same.
  static constexpr size_t kHeader = 16;

  coil::net::SimulatedNetworkOptions Options() {
    coil::net::SimulatedNetworkOptions options;
    options.Seed(seed_)
        .Link(coil::net::SimulatedLink()
                  .Latency(absl::Microseconds(100), absl::Milliseconds(5))
                  .Loss(Chance(30) ? 0.02 : 0))
        .SendBuffer(1 + Below(2000))
        .ReceiveBuffer(1 + Below(2000))
        .SegmentSize(100 + Below(1000))
        .PartialTransfers(0.3)
        .SpuriousBlocks(0.1)
        .ConnectTimeout(absl::Seconds(10))
        .RetransmitTimeout(absl::Seconds(10));
    if (Chance(50)) options.Resets(0.005);
    if (Chance(50)) {
      options.Partitions(0.005, absl::Milliseconds(10), absl::Seconds(15));
    }
    return options;
  }

  coil::Co<void> Listen() {
    const coil::net::SimulatedHostScope scope = network_->As("server");
    server_ = co_await coil::net::StartServer(EchoBytes, "server", 80);
  }

  // Once in a while something large happens.
  coil::Co<void> Disorder() {
    for (;;) {
      co_await coil::Sleep(absl::Milliseconds(20 + Below(200)));
      switch (Below(8)) {
        case 0:
          network_->Partition("client", "server");
          co_await coil::Sleep(absl::Milliseconds(Below(2000)));
          network_->Heal("client", "server");
          break;
        case 1:
          network_->ResetConnections("client", "server");
          break;
        case 2:
          network_->Kill("server");
          server_.Close();
          co_await coil::Sleep(absl::Milliseconds(Below(100)));
          co_await Listen();
          break;
        case 3:
          network_->StopAccepting("server");
          co_await coil::Sleep(absl::Milliseconds(Below(500)));
          network_->ResumeAccepting("server");
          break;
        default:
          break;
      }
    }
  }

  coil::Co<void> Client(uint64_t client) {
    const coil::net::SimulatedHostScope scope = network_->As("client");
    coil::net::StreamPair pair({}, {});
    for (uint64_t i = 0; i < 4; ++i) {
      const uint64_t number = seed_ * 1000 + client * 100 + i;
      bool good = false;
      const coil::LoopTime before = LoopNow();
      try {
        auto body = [&]() -> coil::Co<void> {
          if (!pair.writer) {
            pair = co_await coil::net::OpenConnection("server", 80);
          }
          co_await Request(pair, number);
        };
        // Three in ten are cancelled, most of them under way.
        const absl::Duration limit =
            Chance(30) ? absl::Microseconds(Below(20000)) : absl::Minutes(10);
        co_await coil::WithTimeout(limit, body);
        good = true;
        ++result.answered;
      } catch (const coil::TimeoutError&) {
        ++result.cancelled;
      } catch (const coil::net::IncompleteReadError&) {
        ++result.cut_off;
      } catch (const coil::OsError& error) {
        Count(error.Errno());
      }
      EXPECT_GE(LoopNow(), before);
      // Whatever comes on this connection belongs to a request of the past.
      if (!good && pair.writer) {
        if (Chance(50)) pair.writer.Abort();
        pair = coil::net::StreamPair({}, {});
      }
    }
  }

  coil::Co<void> Request(coil::net::StreamPair pair, uint64_t number) {
    const uint64_t size = Below(3000);
    std::string request(kHeader, '\0');
    std::memcpy(request.data(), &number, 8);
    std::memcpy(request.data() + 8, &size, 8);
    request += Pattern(size, number);
    // Who writes more than the window without reading waits for ever.
    pair.writer.WriteSoon(request);
    std::string answer;
    while (answer.size() < request.size()) {
      const std::string_view part = co_await pair.reader.Peek();
      if (part.empty()) {
        throw coil::net::IncompleteReadError(answer, request.size());
      }
      answer += part;
      pair.reader.Consume(part.size());
      // Never a byte of another request, nor out of order.
      EXPECT_TRUE(std::string_view(request).starts_with(answer));
    }
  }

  void Count(int error) {
    switch (error) {
      case ECONNRESET:
      case EPIPE:
        ++result.reset;
        break;
      case ECONNREFUSED:
        ++result.refused;
        break;
      case ETIMEDOUT:
        ++result.timed_out;
        break;
      default:
        ADD_FAILURE() << "an error that no network makes: " << error;
    }
  }

  uint64_t Below(uint64_t n) { return random_.Below(n); }
  bool Chance(uint64_t percent) { return Below(100) < percent; }

  const uint64_t seed_;
  coil::internal::Random random_;
  coil::net::SimulatedNetwork* network_ = nullptr;
  coil::net::Server server_;
};

inline ChaosResult RunChaos(uint64_t seed) {
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  const coil::SimulationOptions simulation{.seed = seed};
  Chaos chaos(seed);
  auto main = [&chaos]() -> coil::Co<void> { return chaos.Main(); };
  coil::Run(main, {.simulation = &simulation});
  return chaos.result;
}

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_SIMULATED_CHAOS_H_
