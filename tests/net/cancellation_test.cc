// A server and its client, cancelled at each of their suspensions.

#include <unistd.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"

namespace coil::net {
namespace {

Co<void> Echo(StreamReader reader, StreamWriter writer) {
  try {
    for (;;) {
      const std::string_view data = co_await reader.Peek();
      if (data.empty()) co_return;
      co_await writer.Write(data);
      reader.Consume(data.size());
    }
  } catch (const OsError&) {
    // The client has gone.
  }
}

// Over a Unix socket, where what is sent has arrived: the runs are repeatable.
Co<void> AskTwice() {
  const std::string path = "@coil-cancel-test-" + std::to_string(::getpid());
  std::vector<Socket> sockets;
  sockets.emplace_back(AF_UNIX, SOCK_STREAM);
  sockets[0].Bind(Address::Unix(path));
  Server server = co_await StartServer(Echo, std::move(sockets));
  auto [reader, writer] = co_await OpenUnixConnection(path);
  for (const std::string_view question : {"one\n", "two\n"}) {
    co_await writer.Write(question);
    const std::string answer = co_await reader.ReadLine();
    // Nothing else than that the handler was cancelled ends it before.
    EXPECT_TRUE(answer == question || answer.empty()) << answer;
  }
  writer.WriteEof();
  EXPECT_EQ(co_await reader.ReadAll(), "");
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

TEST(NetCancellationTest, NothingIsLeftWhereverAnEchoIsCancelled) {
  const SweepResult result = ForEachCancellationPoint(
      AskTwice, SweepOptions().SecondCancel().Seeds(3).AllowError<OsError>());
  EXPECT_GT(result.points, 10u);
}

TEST(NetCancellationTest, NothingIsLeftWhereverTheLoopOfAnEchoEnds) {
  const SweepResult result = ForEachDestructionPoint(AskTwice);
  EXPECT_GT(result.points, 5u);
}

}  // namespace
}  // namespace coil::net
