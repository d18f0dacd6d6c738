// A message allocates nothing, and an idle connection is small.

#include <string>
#include <string_view>

#include "coil/net/internal/socket_stream.h"
#include "coil/net/internal/stream_core.h"
#include "tests/loop/counting_allocations.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::AllocationCount;
using coil_testing::Connection;
using coil_testing::NetTest;
using coil_testing::RunNet;
using coil_testing::Turns;

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kPools = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
constexpr bool kPools = false;
#else
constexpr bool kPools = true;
#endif
#else
constexpr bool kPools = true;
#endif

class AllocationTest : public NetTest {};

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  for (;;) {
    std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    co_await writer.Write(data);
    reader.Consume(data.size());
  }
}

// The same through the calls that copy.
Co<void> EchoLines(StreamReader reader, StreamWriter writer) {
  for (;;) {
    std::string line = co_await reader.ReadLine();
    if (line.empty()) co_return;
    co_await writer.Write(line);
  }
}

// How many allocations a hundred messages of 64 bytes cost.
Co<long> CostOf(Co<void> (*handler)(StreamReader, StreamWriter)) {
  Connection c;
  Task<void> task = CreateTask(handler(c.reader, c.writer));
  char message[64];
  for (char& byte : message) byte = 'm';
  message[63] = '\n';
  long before = 0;
  for (int i = 0; i < 110; ++i) {
    if (i == 10) before = AllocationCount();
    EXPECT_EQ(::send(c.peer.fd(), message, 64, 0), 64);
    co_await Turns(4);
    char answer[64];
    EXPECT_EQ(::recv(c.peer.fd(), answer, 64, MSG_DONTWAIT), 64);
  }
  const long cost = AllocationCount() - before;
  c.peer.Close();
  co_await task;
  co_return cost;
}

TEST_F(AllocationTest, AMessageAllocatesNothing) {
  RunNet([]() -> Co<void> {
    const long cost = co_await CostOf(Echo);
    // Turns() has a frame; without pools so has a block.
    EXPECT_LE(cost, kPools ? 0 : 300);
  });
}

TEST_F(AllocationTest, ALineAllocatesItsStringOnly) {
  RunNet([]() -> Co<void> {
    const long cost = co_await CostOf(EchoLines);
    // The string, and the list of the one separator of a line that is waited
    // for.
    EXPECT_LE(cost, kPools ? 200 : 1000);
  });
}

TEST_F(AllocationTest, AConnectionIsSmall) {
  EXPECT_LE(sizeof(internal::StreamCore), 320u);
  EXPECT_LE(sizeof(internal::SocketStream), 160u);
}

}  // namespace
}  // namespace coil::net
