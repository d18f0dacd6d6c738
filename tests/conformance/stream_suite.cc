// What every network owes to StreamReader and StreamWriter. The tests are
// instantiated by others, see network.h.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "coil/loop/os_error.h"
#include "coil/net/streams.h"
#include "coil/sync/queue.h"
#include "coil/task/co.h"
#include "coil/task/gather.h"
#include "coil/task/task.h"
#include "coil/task/testing.h"
#include "gtest/gtest.h"
#include "tests/conformance/network.h"
#include "tests/net/net_testing.h"

namespace coil_testing {

void StreamConformanceTest::SetUp() { before_ = OpenDescriptors(); }

void StreamConformanceTest::TearDown() {
  EXPECT_EQ(OpenDescriptors(), before_);
}

namespace {

using coil::Co;
using coil::OsError;
using coil::net::StreamPair;
using coil::net::StreamReader;
using coil::net::StreamWriter;
using Listener = Network::Listener;

// Both ends of a connection, and who has accepted it.
struct Connected {
  Connected(std::unique_ptr<Listener> listener_in, StreamPair client_in,
            StreamPair server_in)
      : listener(std::move(listener_in)),
        client(std::move(client_in)),
        server(std::move(server_in)) {}
  std::unique_ptr<Listener> listener;
  StreamPair client;
  StreamPair server;
};

Co<Connected> ConnectEnds(Network& network) {
  auto accepted = std::make_shared<coil::Queue<StreamPair>>();
  auto hand_over = [accepted](StreamReader reader,
                              StreamWriter writer) -> Co<void> {
    accepted->PutNoWait(StreamPair(std::move(reader), std::move(writer)));
    co_return;
  };
  std::unique_ptr<Listener> listener =
      co_await network.Listen(std::move(hand_over));
  StreamPair client = co_await network.Connect(*listener);
  StreamPair server = co_await accepted->Get();
  co_return Connected(std::move(listener), std::move(client),
                      std::move(server));
}

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

// Bytes that do not repeat for long, and their hash (FNV-1a), piece by piece.
class Noise {
 public:
  std::string Next(size_t n) {
    std::string data(n, '\0');
    for (char& c : data) {
      state_ = state_ * 6364136223846793005u + 1442695040888963407u;
      c = static_cast<char>(state_ >> 56);
    }
    return data;
  }

 private:
  uint64_t state_ = 1;
};

class Hash {
 public:
  void Add(std::string_view data) {
    for (const char c : data) {
      value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211u;
    }
    size_ += data.size();
  }
  uint64_t value() const { return value_; }
  size_t size() const { return size_; }

 private:
  uint64_t value_ = 14695981039346656037u;
  size_t size_ = 0;
};

Co<void> SendNoise(StreamWriter writer, size_t total, Hash& hash) {
  Noise noise;
  // Of odd sizes, so that pieces and buffers do not meet.
  for (size_t sent = 0, piece = 1; sent < total;
       piece = piece * 7 % 99991 + 1) {
    const std::string data = noise.Next(std::min(piece, total - sent));
    hash.Add(data);
    co_await writer.Write(data);
    sent += data.size();
  }
  writer.WriteEof();
}

Co<void> ReceiveAll(StreamReader reader, Hash& hash) {
  for (;;) {
    const std::string_view data = co_await reader.Peek();
    if (data.empty()) co_return;
    hash.Add(data);
    reader.Consume(data.size());
  }
}

// ---- a connection
// --------------------------------------------------------------

TEST_P(StreamConformanceTest, WhatIsSentArrives) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    co_await ends.client.writer.Write("to the server");
    EXPECT_EQ(co_await ends.server.reader.ReadExactly(13), "to the server");
    co_await ends.server.writer.Write("to the client");
    EXPECT_EQ(co_await ends.client.reader.ReadExactly(13), "to the client");
  });
}

TEST_P(StreamConformanceTest, WhoWaitsBeforeItIsSentGetsIt) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    auto reading = coil::CreateTask(ends.server.reader.ReadLine());
    co_await Turns();
    EXPECT_FALSE(reading.Done());
    co_await ends.client.writer.Write("a li");
    co_await Turns();
    co_await ends.client.writer.Write("ne\nand more");
    EXPECT_EQ(co_await reading, "a line\n");
    EXPECT_EQ(co_await ends.server.reader.ReadExactly(8), "and more");
  });
}

TEST_P(StreamConformanceTest, AServerServesSeveralAtOnce) {
  GetParam()->Run([](Network& network) -> Co<void> {
    std::unique_ptr<Listener> listener = co_await network.Listen(Echo);
    std::vector<StreamPair> clients;
    for (int i = 0; i < 20; ++i) {
      clients.push_back(co_await network.Connect(*listener));
    }
    for (int round = 0; round < 3; ++round) {
      for (size_t i = 0; i < clients.size(); ++i) {
        co_await clients[i].writer.Write(std::to_string(i) + "\n");
      }
      for (size_t i = clients.size(); i-- > 0;) {
        EXPECT_EQ(co_await clients[i].reader.ReadLine(),
                  std::to_string(i) + "\n");
      }
    }
    for (StreamPair& client : clients) co_await client.writer.Close();
    co_await listener->Shutdown(absl::Seconds(5));
  });
}

TEST_P(StreamConformanceTest, NobodyConnectsToAClosedListener) {
  GetParam()->Run([](Network& network) -> Co<void> {
    std::unique_ptr<Listener> listener = co_await network.Listen(Echo);
    StreamPair before = co_await network.Connect(*listener);
    co_await before.writer.Write("x");
    EXPECT_EQ(co_await before.reader.ReadExactly(1), "x");
    listener->Close();
    EXPECT_THROW(co_await network.Connect(*listener), OsError);
    // Who is connected stays.
    co_await before.writer.Write("y");
    EXPECT_EQ(co_await before.reader.ReadExactly(1), "y");
  });
}

// ---- the end
// ------------------------------------------------------------------

TEST_P(StreamConformanceTest, HalfClosedConnectionsGoOnTheOtherWay) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    co_await ends.client.writer.Write("question");
    ends.client.writer.WriteEof();
    EXPECT_EQ(co_await ends.server.reader.ReadAll(), "question");
    EXPECT_TRUE(ends.server.reader.AtEof());
    EXPECT_EQ(co_await ends.server.reader.Read(10), "");
    co_await ends.server.writer.Write("answer");
    co_await ends.server.writer.Close();
    EXPECT_EQ(co_await ends.client.reader.ReadAll(), "answer");
  });
}

TEST_P(StreamConformanceTest, AnEndWakesWhoWaits) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    auto reading = coil::CreateTask(ends.server.reader.Read(10));
    co_await Turns();
    co_await ends.client.writer.Close();
    EXPECT_EQ(co_await reading, "");
  });
}

TEST_P(StreamConformanceTest, WhatCameBeforeTheEndIsRead) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    co_await ends.client.writer.Write("last words");
    co_await ends.client.writer.Close();
    co_await Turns();
    EXPECT_EQ(co_await ends.server.reader.ReadAll(), "last words");
  });
}

TEST_P(StreamConformanceTest, ALineThatNeverEndsIsIncomplete) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    co_await ends.client.writer.Write("half");
    ends.client.writer.WriteEof();
    EXPECT_THROW(co_await ends.server.reader.ReadUntil("\n"),
                 coil::net::IncompleteReadError);
  });
}

TEST_P(StreamConformanceTest, AnAbortIsAnErrorForThePeer) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    auto reading = coil::CreateTask(ErrorOf(ends.server.reader.Read(10)));
    co_await Turns();
    // More than the peer takes: something is queued, so that it is an abort.
    ends.client.writer.WriteSoon(std::string(GetParam()->Much(), 'x'));
    ends.client.writer.Abort();
    std::string error = co_await reading;
    while (error.empty() && !ends.server.reader.AtEof()) {
      error = co_await ErrorOf(ends.server.reader.Read(1 << 20));
    }
    if (GetParam()->TellsOfResets()) {
      EXPECT_NE(error.find("reset"), std::string::npos) << error;
    } else {
      EXPECT_EQ(error, "");
    }
  });
}

TEST_P(StreamConformanceTest, ClosingTellsEveryoneWhoWaits) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    auto reading = coil::CreateTask(ErrorOf(ends.client.reader.Read(1)));
    const std::string much(GetParam()->Much() * 4, 'x');
    auto writing = coil::CreateTask(ErrorOf(ends.client.writer.Write(much)));
    co_await Turns();
    EXPECT_FALSE(reading.Done());
    EXPECT_FALSE(writing.Done());
    ends.client.writer.Abort();
    EXPECT_NE(co_await reading, "");
    EXPECT_NE(co_await writing, "");
  });
}

TEST_P(StreamConformanceTest, WritingToAPeerThatHasGoneFails) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    ends.server.writer.Abort();
    const std::string data(65536, 'x');
    std::string error;
    for (int i = 0; i < 1000 && error.empty(); ++i) {
      error = co_await ErrorOf(ends.client.writer.Write(data));
    }
    EXPECT_NE(error, "");
  });
}

// ---- sizes
// --------------------------------------------------------------------

TEST_P(StreamConformanceTest, SingleBytesArriveInOrder) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    const std::string text = Noise().Next(300);
    auto send = [&]() -> Co<void> {
      for (const char& c : text) {
        co_await ends.client.writer.Write(std::string_view(&c, 1));
      }
    };
    auto sending = coil::CreateTask(send());
    std::string got;
    while (got.size() < text.size()) {
      got += co_await ends.server.reader.Read(1);
    }
    EXPECT_EQ(got, text);
    co_await sending;
  });
}

TEST_P(StreamConformanceTest, MuchArrivesUnchanged) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    Hash sent, got;
    co_await coil::Gather(
        SendNoise(ends.client.writer, GetParam()->Much(), sent),
        ReceiveAll(ends.server.reader, got));
    EXPECT_EQ(got.size(), GetParam()->Much());
    EXPECT_EQ(got.value(), sent.value());
  });
}

TEST_P(StreamConformanceTest, MuchArrivesUnchangedBothWaysAtOnce) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    Hash sent[2], got[2];
    const size_t much = GetParam()->Much() / 2;
    co_await coil::Gather(SendNoise(ends.client.writer, much, sent[0]),
                          SendNoise(ends.server.writer, much + 1, sent[1]),
                          ReceiveAll(ends.server.reader, got[0]),
                          ReceiveAll(ends.client.reader, got[1]));
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(got[i].size(), sent[i].size());
      EXPECT_EQ(got[i].value(), sent[i].value());
    }
  });
}

TEST_P(StreamConformanceTest, AWriterWaitsForASlowReader) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    const std::string much = Noise().Next(GetParam()->Much() * 4);
    auto writing = coil::CreateTask(ends.client.writer.Write(much));
    co_await Turns(20);
    EXPECT_FALSE(writing.Done());
    EXPECT_EQ(co_await ends.server.reader.ReadExactly(much.size()), much);
    co_await writing;
  });
}

// What one reader does not take is in nobody's way.
TEST_P(StreamConformanceTest, AStoppedReaderHoldsNobodyUp) {
  GetParam()->Run([](Network& network) -> Co<void> {
    constexpr int kOthers = 64;
    const size_t much = GetParam()->Much() / kOthers;
    Connected stopped = co_await ConnectEnds(network);
    const std::string flood = Noise().Next(GetParam()->Much());
    auto flooding = coil::CreateTask(stopped.client.writer.Write(flood));
    // It has begun, so that the system goes on to receive for it.
    std::string got = co_await stopped.server.reader.ReadExactly(1);
    std::vector<Connected> others;
    std::vector<Hash> sent(kOthers), received(kOthers);
    std::vector<Co<void>> work;
    for (size_t i = 0; i < kOthers; ++i) {
      others.push_back(co_await ConnectEnds(network));
      work.push_back(SendNoise(others[i].client.writer, much + i, sent[i]));
      work.push_back(ReceiveAll(others[i].server.reader, received[i]));
    }
    co_await coil::Gather(std::move(work));
    for (size_t i = 0; i < kOthers; ++i) {
      EXPECT_EQ(received[i].size(), much + i);
      EXPECT_EQ(received[i].value(), sent[i].value());
    }
    got += co_await stopped.server.reader.ReadExactly(flood.size() - 1);
    EXPECT_TRUE(got == flood);
    co_await flooding;
  });
}

// ---- cancellation
// ---------------------------------------------------------------

TEST_P(StreamConformanceTest, ACancelledReadLosesNothing) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    auto reading = coil::CreateTask(ends.server.reader.ReadExactly(10));
    co_await ends.client.writer.Write("first");
    co_await Turns(20);
    reading.Cancel();
    EXPECT_THROW(co_await reading, coil::CancelledError);
    co_await ends.client.writer.Write("other");
    EXPECT_EQ(co_await ends.server.reader.ReadExactly(10), "firstother");
  });
}

TEST_P(StreamConformanceTest, ACancelledWriteIsNotTorn) {
  GetParam()->Run([](Network& network) -> Co<void> {
    Connected ends = co_await ConnectEnds(network);
    const std::string much = Noise().Next(GetParam()->Much() * 4);
    auto writing = coil::CreateTask(ends.client.writer.Write(much));
    co_await Turns(20);
    writing.Cancel();
    EXPECT_THROW(co_await writing, coil::CancelledError);
    ends.client.writer.WriteSoon("next");
    ends.client.writer.WriteEof();
    const std::string got = co_await ends.server.reader.ReadAll();
    EXPECT_EQ(got.size(), much.size() + 4);
    EXPECT_TRUE(got == much + "next");
  });
}

// A conversation of both ends, with an end.
Co<void> AskTwice(Network& network) {
  std::unique_ptr<Listener> listener = co_await network.Listen(Echo);
  auto [reader, writer] = co_await network.Connect(*listener);
  for (const std::string_view question : {"one\n", "two\n"}) {
    co_await writer.Write(question);
    const std::string answer = co_await reader.ReadLine();
    // Nothing else than that the handler was cancelled ends it before.
    EXPECT_TRUE(answer == question || answer.empty()) << answer;
  }
  writer.WriteEof();
  EXPECT_EQ(co_await reader.ReadAll(), "");
  co_await writer.Close();
  co_await listener->Shutdown(absl::Seconds(1));
}

TEST_P(StreamSweepTest, NothingIsLeftWhereverAConversationIsCancelled) {
  const coil::SweepResult result = GetParam()->Sweep(
      AskTwice, coil::SweepOptions().SecondCancel().AllowError<OsError>(),
      false);
  EXPECT_GT(result.points, 10u);
  EXPECT_EQ(result.failed, 0u);
}

// Who is cancelled and reads on has missed nothing.
Co<void> ReadWhateverHappens(Network& network) {
  std::string sent;
  auto send = [&sent](StreamReader, StreamWriter writer) -> Co<void> {
    Noise noise;
    for (size_t n = 1; n < 3000; n = n * 5 + 1) {
      const std::string piece = noise.Next(n);
      sent += piece;
      writer.WriteSoon(piece);
      co_await coil::Yield();
    }
  };
  std::unique_ptr<Listener> listener = co_await network.Listen(send);
  auto [reader, writer] = co_await network.Connect(*listener);
  std::string got;
  for (bool ended = false; !ended;) {
    std::string piece;
    try {
      piece = co_await reader.Read(999);
      ended = piece.empty();
    } catch (const coil::CancelledError&) {
    }
    got += piece;
  }
  EXPECT_EQ(got.size(), sent.size());
  EXPECT_TRUE(got == sent);
  co_await writer.Close();
  co_await listener->Shutdown(absl::Seconds(1));
}

TEST_P(StreamSweepTest, NothingIsLostWhereverAReaderIsCancelled) {
  const coil::SweepResult result = GetParam()->Sweep(
      ReadWhateverHappens, coil::SweepOptions().AllowError<OsError>(), false);
  EXPECT_GT(result.points, 5u);
  EXPECT_EQ(result.failed, 0u);
}

TEST_P(StreamSweepTest, NothingIsLeftWhereverTheLoopEnds) {
  const coil::SweepResult result =
      GetParam()->Sweep(AskTwice, coil::SweepOptions(), true);
  EXPECT_GT(result.points, 5u);
  EXPECT_EQ(result.failed, 0u);
}

}  // namespace

// Who links the suite and no network has tests that are never run.
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StreamConformanceTest);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StreamSweepTest);

}  // namespace coil_testing
