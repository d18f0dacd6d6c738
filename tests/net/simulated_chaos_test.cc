// Conversations in a simulated network that does everything that it can do to
// them, over many seeds: what holds, holds always, and a seed repeats its run.

#include "tests/net/simulated_chaos.h"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/simulation.h"
#include "coil/net/simulated_network.h"
#include "coil/net/streams.h"
#include "coil/sync/queue.h"
#include "coil/task/run.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/timers/sleep.h"
#include "tests/net/net_testing.h"
#include "tests/net/simulated_testing.h"

namespace coil::net {
namespace {

using coil_testing::ChaosResult;
using coil_testing::EchoBytes;
using coil_testing::LinkOf;
using coil_testing::Pattern;
using coil_testing::ReceiveAll;
using coil_testing::Received;
using coil_testing::RunChaos;

// T13: 30 % of the requests are cancelled at some time, and no answer is ever
// that of another request.
TEST(ReliabilityT13, NoRequestIsGivenTheAnswerOfAnother) {
  constexpr uint64_t kSeeds = 2000;
  ChaosResult all;
  for (uint64_t seed = 1; seed <= kSeeds && !HasFailure(); ++seed) {
    all += RunChaos(seed);
  }
  // Everything that can happen has happened.
  EXPECT_GT(all.answered, kSeeds);
  EXPECT_GT(all.cancelled, kSeeds / 2);
  EXPECT_GT(all.reset, kSeeds / 20);
  EXPECT_GT(all.refused, 0u);
  EXPECT_GT(all.timed_out, 0u);
}

TEST(SimulatedNetworkTest, TheSameSeedIsTheSameRun) {
  uint64_t last = 0;
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    const ChaosResult first = RunChaos(seed);
    // Elsewhere in memory: addresses must not matter.
    std::vector<std::unique_ptr<char[]>> elsewhere;
    for (size_t size = 8; size < 2048; size += 16) {
      elsewhere.push_back(std::make_unique<char[]>(size));
    }
    const ChaosResult second = RunChaos(seed);
    ASSERT_EQ(first.trace, second.trace);
    ASSERT_EQ(first.answered, second.answered);
    ASSERT_EQ(first.end, second.end);
    ASSERT_NE(first.trace, last);  // and another seed another one
    last = first.trace;
  }
}

// T48: reads and writes of one byte, 30 % of which have to wait.
TEST(ReliabilityT48, BytesArriveWhereverTransfersStop) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    const SimulationOptions simulation{.seed = seed};
    auto main = [seed]() -> Co<void> {
      SimulatedNetwork network(SimulatedNetworkOptions()
                                   .Seed(seed)
                                   .LargestRead(1)
                                   .LargestWrite(1)
                                   .SpuriousBlocks(0.3)
                                   .ReceiveBuffer(1 + seed)
                                   .SendBuffer(1 + seed % 7)
                                   .SegmentSize(1 + seed % 5));
      Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
      StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
      const std::string data = Pattern(500, seed);
      auto write = [&]() -> Co<void> {
        co_await pair.writer.Write(data);
        pair.writer.WriteEof();
      };
      Task<void> writing = CreateTask(write());
      const Received received = co_await ReceiveAll(pair.reader);
      EXPECT_TRUE(received.data == data);
      EXPECT_EQ(received.error, 0);
      co_await writing;
    };
    coil::Run(main, {.simulation = &simulation});
  }
}

// T49: a reset behind each byte of an exchange of 4 KiB: what was received is
// the beginning of what was sent, the error is that of a reset, and nothing is
// left.
SIMULATED_TEST(ReliabilityT49, AResetAtEachByteIsACleanError) {
  constexpr size_t kSize = 4096;
  SimulatedNetwork network(
      SimulatedNetworkOptions().Seed(49).PartialTransfers(0.1));
  const std::string data = Pattern(kSize);
  size_t cut = 0;
  auto handler = [&](StreamReader reader, StreamWriter writer) -> Co<void> {
    co_await writer.Write(std::string_view(data).substr(0, cut));
    if (cut % 2 == 0) co_await Sleep(absl::Milliseconds(2));
    network.ResetConnections("default", "10.0.0.1");
    const Received received = co_await ReceiveAll(std::move(reader));
    EXPECT_EQ(received.error, ECONNRESET);
  };
  Server server = co_await StartServer(std::move(handler), "10.0.0.1", 80);
  size_t received_something = 0;
  for (cut = 0; cut <= kSize && !testing::Test::HasFailure(); ++cut) {
    SCOPED_TRACE(cut);
    StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
    const Received received = co_await ReceiveAll(pair.reader);
    EXPECT_EQ(received.error, ECONNRESET);
    EXPECT_LE(received.data.size(), cut);
    EXPECT_TRUE(data.starts_with(received.data));
    received_something += received.data.empty() ? 0 : 1;
    EXPECT_EQ(co_await coil_testing::ErrnoOf(pair.writer.Write("x")), EPIPE);
    pair.writer.Abort();
    co_await Sleep(absl::Milliseconds(5));
    EXPECT_EQ(network.Connections(), 0u);
    EXPECT_EQ(server.Connections(), 0u);
  }
  EXPECT_GT(received_something, kSize / 4);
}

// T53: with loss and delay, transfers finish all the same.
TEST(ReliabilityT53, TransfersFinishDespiteLoss) {
  for (const double loss : {0.0, 0.01, 0.05, 0.1}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      SCOPED_TRACE(testing::Message() << "loss " << loss << " seed " << seed);
      const SimulationOptions simulation{.seed = seed};
      auto main = [&]() -> Co<absl::Duration> {
        SimulatedNetwork network(SimulatedNetworkOptions().Seed(seed).Link(
            LinkOf(absl::Milliseconds(20)).Loss(loss)));
        Server server = co_await StartServer(EchoBytes, "10.0.0.1", 80);
        const LoopTime begin = coil_testing::LoopNow();
        StreamPair pair = co_await OpenConnection("10.0.0.1", 80);
        const std::string data = Pattern(30000, seed);
        pair.writer.WriteSoon(data);
        pair.writer.WriteEof();
        const Received received = co_await ReceiveAll(pair.reader);
        EXPECT_TRUE(received.data == data);
        EXPECT_EQ(received.error, 0);
        co_return coil_testing::LoopNow() - begin;
      };
      const absl::Duration taken = coil::Run(main, {.simulation = &simulation});
      if (loss == 0) {
        EXPECT_EQ(taken, absl::Milliseconds(80));
      }
    }
  }
}

}  // namespace
}  // namespace coil::net
