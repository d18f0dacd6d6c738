// The network below the conformance suite of streams (stream_suite.cc): what a
// network has to be able to do so that the suite can run over it. Sockets do,
// over each poller, and so does a network in memory.
//
// To run the suite over a network of yours: derive from Environment and
// Network, and in a test that depends on :stream_suite write
//
//   namespace coil_testing {
//   INSTANTIATE_TEST_SUITE_P(InMemory, StreamConformanceTest,
//                            testing::Values(&my_environment), NameOf);
//   INSTANTIATE_TEST_SUITE_P(InMemory, StreamSweepTest,
//                            testing::Values(&my_environment), NameOf);
//   }

#ifndef COIL_TESTS_CONFORMANCE_NETWORK_H_
#define COIL_TESTS_CONFORMANCE_NETWORK_H_

#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/time/time.h"
#include "coil/net/streams.h"
#include "coil/task/co.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"

namespace coil_testing {

// One network, on the loop that runs. Made before the first step of a test and
// destroyed after its last.
class Network {
 public:
  // Somebody who listens. Closes with this object.
  class Listener {
   public:
    virtual ~Listener() = default;
    // Accepts no more; what is connected stays.
    virtual void Close() = 0;
    // Close(), and waits for the handlers; cancels those that take longer than
    // `grace`.
    virtual coil::Co<void> Shutdown(absl::Duration grace) = 0;
  };

  virtual ~Network() = default;

  // Listens at an address of the network's choice, a new one each time, and
  // runs `handler` for each connection.
  virtual coil::Co<std::unique_ptr<Listener>> Listen(
      coil::net::ConnectionHandler handler) = 0;
  // Connects to it. Throws OsError if it listens no more.
  virtual coil::Co<coil::net::StreamPair> Connect(Listener& listener) = 0;
};

// How tests run over one kind of network. A global object; stateless.
class Environment {
 public:
  virtual ~Environment() = default;
  // For the names of the tests: letters and digits.
  virtual std::string Name() const = 0;

  // Runs `main` on a new loop with a new network, to its end. Fails the test if
  // it hangs.
  virtual void Run(absl::FunctionRef<coil::Co<void>(Network&)> main) const = 0;
  // ForEachCancellationPoint() or, with `destroy`, ForEachDestructionPoint()
  // with a new network for each run.
  virtual coil::SweepResult Sweep(
      absl::FunctionRef<coil::Co<void>(Network&)> main,
      const coil::SweepOptions& options, bool destroy) const = 0;

  // How many bytes a test sends that is to send many.
  virtual size_t Much() const { return size_t{4} << 20; }
  // Whether Abort() with data under way is an error (a reset) for the peer;
  // otherwise it is an end of file.
  virtual bool TellsOfResets() const { return true; }
};

class StreamConformanceTest
    : public testing::TestWithParam<const Environment*> {
 protected:
  // EXPECTs that no descriptor was left open.
  void SetUp() override;
  void TearDown() override;

 private:
  int before_ = 0;
};

// Those that cancel or end the loop at each suspension. For networks on which
// two runs with the same seed go the same way.
class StreamSweepTest : public StreamConformanceTest {};

inline std::string NameOf(
    const testing::TestParamInfo<const Environment*>& info) {
  return info.param->Name();
}

}  // namespace coil_testing

#endif  // COIL_TESTS_CONFORMANCE_NETWORK_H_
