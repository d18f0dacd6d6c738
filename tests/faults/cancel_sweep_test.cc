// Every public coroutine of //net, cancelled wherever it waits, and once more
// while it cleans up: T9, T14, T20 and T62 of the catalogue of failures. Unix
// sockets only, where what was sent has arrived: runs are repeatable.

#include <signal.h>
#include <sys/socket.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "coil/loop/os_error.h"
#include "coil/net/datagram.h"
#include "coil/net/pipe.h"
#include "coil/net/signal_set.h"
#include "coil/net/sock.h"
#include "coil/net/streams.h"
#include "coil/net/tls/context.h"
#include "coil/task/gather.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "coil/task/with.h"
#include "coil/timers/sleep.h"
#include "gtest/gtest.h"
#include "tests/faults/fault_scenarios.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"
#include "tests/net/tls/tls_testing.h"

namespace coil_testing {
namespace {

using coil::Co;
using coil::CreateTask;
using coil::Task;
using coil::net::Address;
using coil::net::ConnectOptions;
using coil::net::DatagramSocket;
using coil::net::MakeByteStream;
using coil::net::MakeStreams;
using coil::net::SecureOptions;
using coil::net::Server;
using coil::net::ServerOptions;
using coil::net::Socket;
using coil::net::StreamPair;
using coil::net::StreamReader;
using coil::net::StreamWriter;
using coil::net::TlsContext;

// 100,000 injections take a minute or two.
bool Whole() { return std::getenv("COIL_CANCELS_WHOLE") != nullptr; }

// Two streams that are connected with each other.
struct Both {
  Both() : Both(Fds()) {}
  StreamPair one;
  StreamPair other;

 private:
  struct Fds {
    Fds() { Check(::socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0, "pair"); }
    int fd[2];
  };
  explicit Both(const Fds& fds)
      : one(MakeStreams(MakeByteStream(Socket::FromDescriptor(fds.fd[0])))),
        other(MakeStreams(MakeByteStream(Socket::FromDescriptor(fds.fd[1])))) {
    ShrinkBuffers(fds.fd[0], fds.fd[1]);
    ShrinkBuffers(fds.fd[1], fds.fd[0]);
  }
};

// As EchoBack(), for clients that go away.
Co<void> Serve(StreamReader reader, StreamWriter writer) {
  try {
    co_await EchoBack(reader, writer);
  } catch (const coil::OsError&) {
  }
}

// TLS takes leave in the background, which takes the peer: not so after this.
class AbortAtEnd {
 public:
  explicit AbortAtEnd(StreamWriter writer) : writer_(std::move(writer)) {}
  AbortAtEnd(const AbortAtEnd&) = delete;
  AbortAtEnd& operator=(const AbortAtEnd&) = delete;
  ~AbortAtEnd() { writer_.Abort(); }

 private:
  StreamWriter writer_;
};

Co<void> ServeAndAbort(StreamReader reader, StreamWriter writer) {
  const AbortAtEnd guard(writer);
  co_await Serve(reader, writer);
}

// One run for all kinds of Read*(): the answer to `question`.
Co<void> Expect(StreamWriter writer, std::string question,
                Co<std::string> answer) {
  co_await writer.Write(question);
  const std::string got = co_await std::move(answer);
  // If the handler was cancelled, the connection has ended.
  if (got.size() < question.size()) {
    throw coil::net::IncompleteReadError(got, question.size());
  }
  EXPECT_EQ(got, question);
}

Co<void> Streams() {
  const SocketFolder folder;
  Server server =
      co_await coil::net::StartUnixServer(Serve, folder.Path("socket"));
  auto [reader, writer] =
      co_await coil::net::OpenUnixConnection(folder.Path("socket"));
  co_await Expect(writer, "some", reader.Read(10));
  co_await Expect(writer, "exactly", reader.ReadExactly(7));
  co_await Expect(writer, "line\n", reader.ReadLine());
  co_await Expect(writer, "until;", reader.ReadUntil(";", "!"));
  const std::vector<std::string_view> pieces = {"pie", "ces"};
  co_await writer.Write(pieces);
  char room[6];
  size_t got = 0;
  while (got < 6) {
    const size_t n = co_await reader.Read(absl::MakeSpan(room).subspan(got));
    if (n == 0) throw coil::net::IncompleteReadError("", 6);
    got += n;
  }
  EXPECT_EQ(std::string_view(room, 6), "pieces");
  writer.WriteSoon("soon");
  co_await writer.Drain();
  const std::string_view peeked = co_await reader.Peek();
  const size_t size = peeked.size();
  reader.Consume(size);
  writer.WriteEof();
  co_await reader.ReadAll();
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

// The ways of a server to end.
Co<void> Servers() {
  const SocketFolder folder;
  {
    Server server =
        co_await coil::net::StartUnixServer(Serve, folder.Path("a"));
    auto body = [&](Server& serving) -> Co<void> {
      auto [reader, writer] =
          co_await coil::net::OpenUnixConnection(folder.Path("a"));
      co_await writer.Write("x");
      co_await reader.Read(1);
      EXPECT_TRUE(serving.IsServing());
      co_await writer.Close();
    };
    co_await coil::With(server, body);
  }
  Server server = co_await coil::net::StartUnixServer(Serve, folder.Path("b"));
  Task<void> forever = CreateTask(server.ServeForever());
  auto [reader, writer] =
      co_await coil::net::OpenUnixConnection(folder.Path("b"));
  co_await writer.Write("x");
  co_await coil::Sleep(absl::Seconds(1));  // in any order of the tasks
  server.Close();
  Task<void> closed = CreateTask(server.WaitClosed());
  co_await forever;
  co_await writer.Close();
  co_await closed;
}

// A handler that does not come to an end by itself.
Co<void> ShutdownAtTheDeadline() {
  const SocketFolder folder;
  auto slow = [](StreamReader reader, StreamWriter) -> Co<void> {
    try {
      co_await reader.Read(1);
    } catch (const coil::OsError&) {
    }
    co_await coil::Sleep(absl::Hours(1));
  };
  Server server = co_await coil::net::StartUnixServer(slow, folder.Path("s"));
  std::vector<Co<StreamPair>> connects;
  for (int i = 0; i < 3; ++i) {
    connects.push_back(coil::net::OpenUnixConnection(folder.Path("s")));
  }
  std::vector<StreamPair> clients = co_await coil::Gather(std::move(connects));
  for (const StreamPair& client : clients) co_await client.writer.Write("x");
  co_await server.Shutdown(absl::Seconds(1));
}

// Neither is as fast as the other would like.
Co<void> FlowControl() {
  Both ends;
  auto write = [writer = ends.one.writer]() -> Co<void> {
    for (int i = 0; i < 4; ++i) co_await writer.Write(std::string(9000, 'x'));
    writer.WriteSoon(std::string(20000, 'y'));
    co_await writer.Drain();
    co_await writer.Close();
  };
  auto read = [reader = ends.other.reader]() -> Co<void> {
    size_t all = 0;
    for (;;) {
      const std::string part = co_await reader.Read(3000);
      if (part.empty()) break;
      all += part.size();
      co_await coil::Yield();
    }
    // Of a cancelled Write() the tail is sent all the same.
    EXPECT_TRUE(all % 9000 == 0 || all >= 36000 || all % 9000 == 20000 % 9000)
        << all;
  };
  Task<void> writing = CreateTask(std::move(write));
  Task<void> reading = CreateTask(std::move(read));
  // Whoever is cancelled closes the connection for the other.
  ends.one = StreamPair({}, {});
  ends.other = StreamPair({}, {});
  co_await writing;
  co_await reading;
}

Co<void> Upgrade() {
  static const auto* const server_context = new TlsContext(ServerContext());
  Both ends;
  auto serve = [pair = ends.other]() -> Co<void> {
    const AbortAtEnd guard(pair.writer);
    try {
      co_await pair.writer.StartTls(*server_context, SecureOptions());
      co_await EchoBack(pair.reader, pair.writer);
    } catch (const coil::OsError&) {
      // The client is gone.
    }
  };
  Task<void> serving = CreateTask(std::move(serve));
  ends.other = StreamPair({}, {});
  const AbortAtEnd guard(ends.one.writer);
  const SecureOptions options = SecureOptions().ServerHostname("localhost");
  co_await ends.one.writer.StartTls(ClientContext(), options);
  co_await Expect(ends.one.writer, "secret\n", ends.one.reader.ReadLine());
  co_await Expect(ends.one.writer, std::string(20000, 'x'),
                  ends.one.reader.ReadExactly(20000));
  co_await ends.one.writer.Close();
  co_await serving;
}

Co<void> TlsServer() {
  static const auto* const server_context = new TlsContext(ServerContext());
  const SocketFolder folder;
  Server server = co_await coil::net::StartUnixServer(
      ServeAndAbort, folder.Path("tls"), ServerOptions().Tls(*server_context));
  ConnectOptions options;
  options.Tls(ClientContext(), SecureOptions().ServerHostname("localhost"));
  auto [reader, writer] =
      co_await coil::net::OpenUnixConnection(folder.Path("tls"), options);
  const AbortAtEnd guard(writer);
  co_await Expect(writer, "hello", reader.ReadExactly(5));
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

Co<void> Datagrams() {
  const SocketFolder folder;
  DatagramSocket server =
      co_await coil::net::OpenDatagram(Address::Unix(folder.Path("server")));
  DatagramSocket client =
      co_await coil::net::OpenDatagram(Address::Unix(folder.Path("client")),
                                       Address::Unix(folder.Path("server")));
  auto answer = [server]() -> Co<void> {
    for (int i = 0; i < 3; ++i) {
      coil::net::Datagram question = co_await server.ReceiveFrom();
      co_await server.SendTo(question.data, question.from);
    }
  };
  Task<void> answering = CreateTask(std::move(answer));
  for (int i = 0; i < 3; ++i) {
    const std::string question = "question " + std::to_string(i);
    co_await client.Send(question);
    // Or the other task was cancelled, and nobody answers: see the deadline.
    Task<std::string> receiving = CreateTask(client.Receive());
    co_await coil::Sleep(absl::Seconds(1));
    if (!receiving.Done()) {
      receiving.Cancel();
      break;
    }
    EXPECT_EQ(co_await receiving, question);
  }
  answering.Cancel();
}

Co<void> Socks() {
  const SocketFolder folder;
  Socket listener(AF_UNIX, SOCK_STREAM);
  listener.Bind(Address::Unix(folder.Path("l")));
  listener.Listen(5);
  Socket client(AF_UNIX, SOCK_STREAM);
  co_await coil::net::SockConnect(client, Address::Unix(folder.Path("l")));
  coil::net::SockAccepted accepted = co_await coil::net::SockAccept(listener);
  ShrinkBuffers(client.Descriptor(), accepted.socket.Descriptor());
  const std::string data(30000, 'd');
  Task<void> send = CreateTask(coil::net::SockSendAll(client, data));
  size_t got = 0;
  while (got < data.size() && !(send.Done() && send.Cancelled())) {
    Task<std::string> receive =
        CreateTask(coil::net::SockRecv(accepted.socket, 4096));
    co_await coil::Sleep(absl::Seconds(1));
    if (!receive.Done()) {
      receive.Cancel();
      break;
    }
    got += (co_await receive).size();
  }
  co_await send;
  EXPECT_EQ(got, data.size());
}

Co<void> Pipes() {
  auto [read_end, write_end] = coil::net::MakePipe();
  StreamReader reader = coil::net::ConnectReadPipe(std::move(read_end));
  StreamWriter writer = coil::net::ConnectWritePipe(std::move(write_end));
  auto write = [writer = std::move(writer)]() -> Co<void> {
    co_await writer.Write(std::string(100000, 'p'));
    co_await writer.Close();
  };
  Task<void> writing = CreateTask(std::move(write));
  writer = {};
  const std::string all = co_await reader.ReadAll();
  co_await writing;
  // All or nothing, also if the writer was cancelled in the midst.
  EXPECT_TRUE(all.empty() || all.size() == 100000u) << all.size();
}

Co<void> Signals() {
  coil::net::SignalSet set{SIGUSR1, SIGUSR2};
  ::raise(SIGUSR1);
  Task<int> first = CreateTask(set.Next());
  Task<int> second = CreateTask(set.Next());
  co_await coil::Yield();
  ::raise(SIGUSR2);
  co_await coil::Sleep(absl::Seconds(1));
  // What a cancelled one was given goes to the next.
  first.Cancel();
  second.Cancel();
}

struct CancelScenario {
  const char* name;
  Co<void> (*run)();
  uint64_t seeds;  // of the whole sweep
  // An error of a task has no reader any more once main was cancelled.
  bool reports = false;
};

class CancelSweepTest : public testing::TestWithParam<CancelScenario> {};

size_t g_injections = 0;

bool IsExpected(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const WrongResult&) {
    return false;
  } catch (const coil::OsError&) {
    return true;
  } catch (const coil::net::IncompleteReadError&) {
    return true;
  } catch (...) {
    return false;
  }
}

TEST_P(CancelSweepTest, NothingIsLeftWhereverItIsCancelled) {
  coil::SweepOptions options;
  options.AllowError(IsExpected).AllowReports(GetParam().reports);
  if (Whole()) {
    options.SecondCancel().Seeds(GetParam().seeds);
  } else {
    options.SecondCancel().MostPoints(12);
  }
  const coil::SweepResult result =
      coil::ForEachCancellationPoint(GetParam().run, options);
  EXPECT_GT(result.points, 2u);
  // Each run but the first of each seed has one or two.
  g_injections += result.runs;
  std::printf("%s: %zu points, %zu runs\n", GetParam().name, result.points,
              result.runs);
}

TEST_P(CancelSweepTest, NothingIsLeftWhereverTheLoopEnds) {
  coil::SweepOptions options;
  if (!Whole()) options.MostPoints(12);
  EXPECT_GT(coil::ForEachDestructionPoint(GetParam().run, options).points, 0u);
}

const CancelScenario kScenarios[] = {
    {"Streams", Streams, 100},
    {"Servers", Servers, 60, true},
    {"ShutdownAtTheDeadline", ShutdownAtTheDeadline, 60},
    {"FlowControl", FlowControl, 60, true},
    {"Upgrade", Upgrade, 30},
    {"TlsServer", TlsServer, 30},
    {"Datagrams", Datagrams, 80, true},
    {"Socks", Socks, 60, true},
    {"Pipes", Pipes, 150, true},
    {"Signals", Signals, 250, true},
};

INSTANTIATE_TEST_SUITE_P(
    Scenarios, CancelSweepTest, testing::ValuesIn(kScenarios),
    [](const testing::TestParamInfo<CancelScenario>& info) {
      return std::string(info.param.name);
    });

// With a parameter: it runs behind those above.
class CancelTotalsTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(All, CancelTotalsTest, testing::Values(0));

TEST_P(CancelTotalsTest, AHundredThousandOfThem) {
  std::printf("%zu cancels were injected\n", g_injections);
  if (Whole()) {
    EXPECT_GE(g_injections, 100000u);
  }
}

}  // namespace
}  // namespace coil_testing
