// The suite of streams over the simulated network: an even one, one that tears
// and delays everything, one that loses packets.

#include <memory>
#include <string>
#include <utility>

#include "coil/loop/simulation.h"
#include "coil/net/simulated_network.h"
#include "coil/net/streams.h"
#include "coil/task/run.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/conformance/network.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::net::SimulatedLink;
using coil::net::SimulatedNetwork;
using coil::net::SimulatedNetworkOptions;

class SimulatedListener final : public Network::Listener {
 public:
  explicit SimulatedListener(coil::net::Server server)
      : server_(std::move(server)) {}
  void Close() override { server_.Close(); }
  Co<void> Shutdown(absl::Duration grace) override {
    return server_.Shutdown(grace);
  }
  int port() const { return server_.Port(); }

 private:
  coil::net::Server server_;
};

class InMemory final : public Network {
 public:
  explicit InMemory(const SimulatedNetworkOptions& options)
      : network_(options) {}
  Co<std::unique_ptr<Listener>> Listen(
      coil::net::ConnectionHandler handler) override {
    coil::net::Server server =
        co_await coil::net::StartServer(std::move(handler), "10.0.0.1", 0);
    co_return std::make_unique<SimulatedListener>(std::move(server));
  }
  Co<coil::net::StreamPair> Connect(Listener& listener) override {
    return coil::net::OpenConnection(
        "10.0.0.1", static_cast<SimulatedListener&>(listener).port());
  }

 private:
  SimulatedNetwork network_;
};

class Simulated final : public Environment {
 public:
  Simulated(std::string name, const SimulatedNetworkOptions& options)
      : name_(std::move(name)), options_(options) {}
  std::string Name() const override { return name_; }
  void Run(absl::FunctionRef<Co<void>(Network&)> main) const override {
    const coil::SimulationOptions simulation;
    auto body = [&]() -> Co<void> {
      InMemory network(options_);
      co_await main(network);
    };
    coil::Run(body, {.simulation = &simulation});
  }
  coil::SweepResult Sweep(absl::FunctionRef<Co<void>(Network&)> main,
                          const coil::SweepOptions& options,
                          bool destroy) const override {
    auto scenario = [&]() -> Co<void> {
      InMemory network(options_);
      co_await main(network);
    };
    return destroy ? coil::ForEachDestructionPoint(scenario, options)
                   : coil::ForEachCancellationPoint(scenario, options);
  }
  size_t Much() const override { return size_t{1} << 20; }

 private:
  const std::string name_;
  const SimulatedNetworkOptions options_;
};

const Simulated kEven("Simulated", SimulatedNetworkOptions());
const Simulated kTorn("SimulatedTorn", SimulatedNetworkOptions()
                                           .Seed(1)
                                           .PartialTransfers(0.5)
                                           .SpuriousBlocks(0.3)
                                           .SendBuffer(3000)
                                           .ReceiveBuffer(5000));
const Simulated kLossy(
    "SimulatedLossy",
    SimulatedNetworkOptions().Seed(2).Link(SimulatedLink()
                                               .Latency(absl::ZeroDuration(),
                                                        absl::Milliseconds(50))
                                               .Loss(0.05)));

}  // namespace

INSTANTIATE_TEST_SUITE_P(InMemory, StreamConformanceTest,
                         testing::Values(&kEven, &kTorn, &kLossy), NameOf);
// Not those that tear what is sent: the suite wants it whole.
INSTANTIATE_TEST_SUITE_P(InMemory, StreamSweepTest, testing::Values(&kEven),
                         NameOf);

}  // namespace coil_testing
