// The suite of streams over real sockets, on each poller.

#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coil/net/streams.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/conformance/network.h"
#include "tests/conformance/pollers.h"
#include "tests/net/net_testing.h"

namespace coil_testing {
namespace {

using coil::Co;

class SocketListener final : public Network::Listener {
 public:
  SocketListener(coil::net::Server server, std::string path)
      : server_(std::move(server)), path_(std::move(path)) {}
  void Close() override { server_.Close(); }
  Co<void> Shutdown(absl::Duration grace) override {
    return server_.Shutdown(grace);
  }
  int port() const { return server_.Port(); }
  const std::string& path() const { return path_; }

 private:
  coil::net::Server server_;
  std::string path_;
};

class TcpNetwork final : public Network {
 public:
  Co<std::unique_ptr<Listener>> Listen(
      coil::net::ConnectionHandler handler) override {
    coil::net::Server server =
        co_await coil::net::StartServer(std::move(handler), "127.0.0.1", 0);
    co_return std::make_unique<SocketListener>(std::move(server), "");
  }
  Co<coil::net::StreamPair> Connect(Listener& listener) override {
    return coil::net::OpenConnection(
        "127.0.0.1", static_cast<SocketListener&>(listener).port());
  }
};

class UnixNetwork final : public Network {
 public:
  Co<std::unique_ptr<Listener>> Listen(
      coil::net::ConnectionHandler handler) override {
    static int number = 0;
    std::string path = "@coil-conformance-" + std::to_string(::getpid()) + "-" +
                       std::to_string(++number);
    coil::net::Server server =
        co_await coil::net::StartUnixServer(std::move(handler), path);
    co_return std::make_unique<SocketListener>(std::move(server),
                                               std::move(path));
  }
  Co<coil::net::StreamPair> Connect(Listener& listener) override {
    return coil::net::OpenUnixConnection(
        static_cast<SocketListener&>(listener).path());
  }
};

template <class N>
class Sockets final : public Environment {
 public:
  Sockets(std::string name, const PollerKind& poller, bool tells_of_resets)
      : name_(std::move(name)),
        poller_(poller),
        tells_of_resets_(tells_of_resets) {}
  std::string Name() const override { return name_ + poller_.name; }
  void Run(absl::FunctionRef<Co<void>(Network&)> main) const override {
    const ScopedPollerKind scope(poller_);
    RunNet([&]() -> Co<void> {
      N network;
      co_await main(network);
    });
  }
  coil::SweepResult Sweep(absl::FunctionRef<Co<void>(Network&)> main,
                          const coil::SweepOptions& options,
                          bool destroy) const override {
    const ScopedPollerKind scope(poller_);
    auto scenario = [&]() -> Co<void> {
      N network;
      co_await main(network);
    };
    return destroy ? coil::ForEachDestructionPoint(scenario, options)
                   : coil::ForEachCancellationPoint(scenario, options);
  }
  bool TellsOfResets() const override { return tells_of_resets_; }

 private:
  const std::string name_;
  const PollerKind& poller_;
  const bool tells_of_resets_;
};

template <class N>
std::vector<const Environment*> OnEachPoller(
    std::string name, bool tells_of_resets,
    std::vector<const PollerKind*> kinds) {
  // Never destroyed: the tests keep pointers.
  std::vector<const Environment*> result;
  for (const PollerKind* kind : Available(std::move(kinds))) {
    result.push_back(new Sockets<N>(name, *kind, tells_of_resets));
  }
  return result;
}

const std::vector<const Environment*>& Tcp() {
  static const auto& environments =
      *new std::vector<const Environment*>(OnEachPoller<TcpNetwork>(
          "Tcp", true, {&kEpoll, &kIoUring, &kIoUringTwoBuffers}));
  return environments;
}

// Where what is sent has arrived, so that its runs are repeatable. It does not
// tell of a reset.
const std::vector<const Environment*>& Unix() {
  static const auto& environments =
      *new std::vector<const Environment*>(OnEachPoller<UnixNetwork>(
          "Unix", false,
          {&kEpoll, &kIoUring, &kIoUringTwoBuffers, &kIoUringPolls}));
  return environments;
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Tcp, StreamConformanceTest, testing::ValuesIn(Tcp()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Unix, StreamConformanceTest, testing::ValuesIn(Unix()),
                         NameOf);
INSTANTIATE_TEST_SUITE_P(Unix, StreamSweepTest, testing::ValuesIn(Unix()),
                         NameOf);

}  // namespace coil_testing
