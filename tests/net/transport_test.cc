// Transports and protocols over TCP and Unix sockets.

#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/net/transports.h"
#include "coil/task/context_var.h"
#include "gtest/gtest.h"
#include "tests/net/net_testing.h"
#include "tests/net/transport_testing.h"

namespace coil::net {
namespace {

using coil_testing::BufferedRecorder;
using coil_testing::Diagnostics;
using coil_testing::Eventually;
using coil_testing::Peer;
using coil_testing::Record;
using coil_testing::Recorder;
using coil_testing::RecordPtr;
using coil_testing::Reports;
using coil_testing::RunNet;
using coil_testing::TcpEnds;
using coil_testing::Turns;
using coil_testing::UnixEnds;

class TransportTest : public coil_testing::NetTest {};

// A transport on one end of a connection whose other end is played by hand.
template <class Ends>
struct EndsWith {
  explicit EndsWith(std::shared_ptr<StreamProtocol> protocol, Ends ends = {})
      : peer(std::move(ends.peer)),
        transport(MakeTransport(MakeByteStream(std::move(ends.socket)),
                                std::move(protocol))) {}
  Peer peer;
  std::shared_ptr<Transport> transport;
};
using Tcp = EndsWith<TcpEnds>;
using Unix = EndsWith<UnixEnds>;

RecordPtr NewRecord() { return std::make_shared<Record>(); }
std::shared_ptr<Recorder> NewRecorder(const RecordPtr& record) {
  return std::make_shared<Recorder>(record);
}

// Nothing more fits into the buffers of the system.
void FillUp(const std::shared_ptr<Transport>& transport) {
  const std::string block(4096, 'f');
  while (::send(transport->Socket().Descriptor(), block.data(), block.size(),
                MSG_NOSIGNAL | MSG_DONTWAIT) > 0) {
  }
}
// Of both ends.
void DrainPeer(Peer& peer) {
  while (!peer.Receive().empty()) {
  }
}

template <class F>
std::string ThrownBy(F f) {
  try {
    f();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

// ---- order

TEST_F(TransportTest, TheConnectionIsMadeFirstAndLostLast) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    ends.peer.Send("hello");
    ends.peer.ShutdownWrite();
    EXPECT_EQ(record->Log(), "");  // never inline
    co_await Eventually([&] { return record->lost; });
    EXPECT_EQ(record->Log(), "made, data hello, eof, lost");
    EXPECT_EQ(record->transport, ends.transport);
    co_await Turns();
    EXPECT_FALSE(record->alive);  // let go by the transport
    EXPECT_EQ(ends.transport->GetProtocol(), nullptr);
  });
}

TEST_F(TransportTest, CloseTellsOfTheLossOnceAndNeverInline) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    co_await Turns();
    ends.transport->Close();
    ends.transport->Close();
    ends.transport->Abort();
    EXPECT_TRUE(ends.transport->IsClosing());
    EXPECT_EQ(record->Log(), "made");
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, lost");
    ends.transport->Close();
    ends.transport->Abort();
    ends.transport->ResumeReading();
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, lost");
  });
}

TEST_F(TransportTest, ClosedBeforeItWasMadeItIsToldOfBoth) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    ends.transport->Abort();
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, lost");
  });
}

TEST_F(TransportTest, EofReceivedMayKeepTheWriteSideOpen) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    record->keep_open = true;
    Tcp ends(NewRecorder(record));
    ends.peer.ShutdownWrite();
    co_await Eventually([&] { return record->Count("eof") == 1; });
    co_await Turns();
    EXPECT_FALSE(ends.transport->IsClosing());
    ends.transport->Write("still here");
    ends.transport->Close();
    EXPECT_EQ(ends.peer.ReceiveAll(), "still here");
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, eof, lost");
  });
}

TEST_F(TransportTest, AResetIsGivenToConnectionLost) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Reports reports;
    Tcp ends(NewRecorder(record));
    co_await Turns();
    ends.peer.Reset();
    co_await Eventually([&] { return record->lost; });
    EXPECT_NE(record->Log().find("Connection reset by peer"), std::string::npos)
        << record->Log();
    EXPECT_TRUE(reports.Messages().empty());  // it happens to everybody
  });
}

TEST_F(TransportTest, AWriteErrorBreaksTheConnection) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    record->on_made = [&] { record->transport->PauseReading(); };
    co_await Turns();
    ends.peer.Close();
    ends.transport->Write("nobody reads this");
    EXPECT_EQ(record->Log(), "made");
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, lost: send to unix:: Broken pipe");
  });
}

TEST_F(TransportTest, AnErrorThatDropsTheQueueDoesNotResume) {
  RunNet([]() -> Co<void> {
    for (const bool closing : {false, true}) {
      SCOPED_TRACE(closing);
      RecordPtr record = NewRecord();
      record->on_made = [&] { record->transport->PauseReading(); };
      Unix ends(NewRecorder(record));
      co_await Turns();
      ends.transport->Write(std::string(1 << 20, 'x'));
      if (closing) ends.transport->Close();
      ends.peer.Close();
      co_await Eventually([&] { return record->lost; });
      EXPECT_EQ(record->log.at(1), "pause");
      EXPECT_EQ(record->log.at(2).substr(0, 20), "lost: send to unix::")
          << record->Log();
      record->on_made = nullptr;
    }
  });
}

TEST_F(TransportTest, CallbacksRunInTheContextOfTheMaker) {
  RunNet([]() -> Co<void> {
    static ContextVar<int> variable("transport_test", 0);
    variable.Set(7);
    RecordPtr record = NewRecord();
    std::vector<int> seen;
    record->on_made = record->on_data =
        record->on_lost = [&] { seen.push_back(variable.Get()); };
    Tcp ends(NewRecorder(record));
    variable.Set(8);
    ends.peer.Send("x");
    ends.peer.ShutdownWrite();
    co_await Eventually([&] { return record->lost; });
    EXPECT_EQ(seen, (std::vector<int>{7, 7, 7}));
  });
}

// ---- reading

TEST_F(TransportTest, APauseInConnectionMadeHolds) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    record->on_made = [&] {
      record->transport->PauseReading();
      record->transport->PauseReading();
    };
    Tcp ends(NewRecorder(record));
    ends.peer.Send("hello");
    EXPECT_TRUE(ends.transport->IsReading());
    co_await Turns(20);
    EXPECT_EQ(record->Log(), "made");
    EXPECT_FALSE(ends.transport->IsReading());
    ends.transport->ResumeReading();
    ends.transport->ResumeReading();
    EXPECT_EQ(record->Log(), "made");  // never inline
    EXPECT_TRUE(ends.transport->IsReading());
    co_await Eventually([&] { return !record->data.empty(); });
    EXPECT_EQ(record->Log(), "made, data hello");
    // While it waits for data, too.
    co_await Turns();
    ends.transport->PauseReading();
    ends.peer.Send("more");
    co_await Turns(20);
    EXPECT_EQ(record->data, "hello");
    ends.transport->ResumeReading();
    co_await Eventually([&] { return record->data == "hellomore"; });
    ends.transport->Close();
    EXPECT_FALSE(ends.transport->IsReading());
  });
}

TEST_F(TransportTest, NothingIsReceivedAfterCloseWithinACallback) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    record->on_data = [&] { record->transport->Close(); };
    Tcp ends(NewRecorder(record));
    ends.peer.Send(std::string(1 << 20, 'x'));
    co_await Eventually([&] { return record->lost; });
    EXPECT_LT(record->data.size(), size_t{1} << 20);
    EXPECT_EQ(record->Count("lost"), 1);
  });
}

TEST_F(TransportTest, ABufferedProtocolGetsAllInItsOwnMemory) {
  for (const size_t size : {size_t{1}, size_t{3}, size_t{1} << 16}) {
    SCOPED_TRACE(size);
    RunNet([size]() -> Co<void> {
      RecordPtr record = NewRecord();
      Unix ends(std::make_shared<BufferedRecorder>(record, size));
      const std::string text(size == 1 ? 1000 : 300000, 'x');
      std::string all;
      while (all.size() < text.size()) {
        const std::string part = "0123456789" + text.substr(0, 60000);
        ends.peer.Send(part);
        all += part;
        co_await Eventually([&] { return record->data.size() == all.size(); });
      }
      EXPECT_TRUE(record->data == all);
      ends.peer.ShutdownWrite();
      co_await Eventually([&] { return record->lost; });
      EXPECT_EQ(record->log.back(), "lost");
      EXPECT_EQ(record->Count("eof"), 1);
    });
  }
}

TEST_F(TransportTest, ProtocolsOfBothKindsMayBeSwitchedInTheMiddle) {
  RunNet([]() -> Co<void> {
    RecordPtr one = NewRecord();
    RecordPtr two = NewRecord();
    auto plain = NewRecorder(one);
    auto buffered = std::make_shared<BufferedRecorder>(two, 4);
    Tcp ends(plain);
    std::shared_ptr<Transport> transport = ends.transport;
    one->on_data = [&] { transport->SetProtocol(buffered); };
    two->on_data = [&] { transport->SetProtocol(plain); };
    ends.peer.Send("first");
    co_await Eventually([&] { return one->data == "first"; });
    EXPECT_EQ(transport->GetProtocol(), buffered);
    // Four of them fit; the rest is for the one who is there then.
    ends.peer.Send("secondthird");
    co_await Eventually([&] { return one->data == "firstndthird"; });
    EXPECT_EQ(two->data, "seco");
    EXPECT_EQ(two->Log(), "buffer seco");  // it was never told of the making
    transport->Close();
    co_await Turns();
    EXPECT_TRUE(two->lost);
    EXPECT_FALSE(one->lost);
    one->on_data = two->on_data = nullptr;
  });
}

TEST_F(TransportTest, ABufferIsNotUsedAfterAPauseInGetBuffer) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    auto protocol = std::make_shared<BufferedRecorder>(record, 100);
    Tcp ends(protocol);
    protocol->on_get = [&] { record->transport->PauseReading(); };
    ends.peer.Send("hello");
    co_await Eventually([&] { return !ends.transport->IsReading(); });
    co_await Turns();
    EXPECT_EQ(record->data, "");
    protocol->on_get = nullptr;
    ends.transport->ResumeReading();
    co_await Eventually([&] { return record->data == "hello"; });
    ends.transport->Abort();
  });
}

// ---- writing

TEST_F(TransportTest, WriteSendsAtOnceAndWriteLinesInOrder) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    co_await Turns();
    ends.transport->Write("a");
    EXPECT_EQ(ends.peer.Receive(), "a");
    const std::vector<std::string_view> lines = {"b", "", "c", "d"};
    ends.transport->WriteLines(lines);
    ends.transport->Write("");
    EXPECT_EQ(ends.peer.Receive(), "bcd");
    EXPECT_EQ(ends.transport->GetWriteBufferSize(), 0u);
    ends.transport->Close();
  });
}

TEST_F(TransportTest, WritingPausesAboveTheHighMarkAndResumesAtTheLowOne) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    co_await Turns();
    EXPECT_EQ(ends.transport->GetWriteBufferLimits(),
              (std::pair<size_t, size_t>{16 << 10, 64 << 10}));
    ends.transport->SetWriteBufferLimits(10, 4);
    FillUp(ends.transport);
    ends.transport->Write("0123456789");
    EXPECT_EQ(record->Log(), "made");  // as much as the mark, not more
    ends.transport->Write("x");
    EXPECT_EQ(record->Log(), "made, pause");  // by Write() itself
    ends.transport->Write("yz");
    EXPECT_EQ(ends.transport->GetWriteBufferSize(), 13u);
    EXPECT_EQ(record->Log(), "made, pause");
    for (int i = 0; i < 1000 && record->Count("resume") == 0; ++i) {
      DrainPeer(ends.peer);
      co_await Turns(1);
    }
    EXPECT_EQ(record->Log(), "made, pause, resume");
    EXPECT_LE(ends.transport->GetWriteBufferSize(), 4u);
    ends.transport->Abort();
  });
}

TEST_F(TransportTest, WritingResumesWhileMuchIsStillQueued) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    co_await Turns();
    ends.transport->SetWriteBufferLimits(3'000'000, 2'900'000);
    ends.transport->Write(std::string(4'000'000, 'q'));
    for (int i = 0; i < 10000 && record->Count("resume") == 0; ++i) {
      ends.peer.Receive(65536);
      co_await Turns(1);
    }
    EXPECT_EQ(record->Log(), "made, pause, resume");
    EXPECT_GT(ends.transport->GetWriteBufferSize(), 1'000'000u);
    ends.transport->Abort();
  });
}

TEST_F(TransportTest, PauseAndResumeTakeTurnsThroughManyWrites) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    co_await Turns();
    coil_testing::ShrinkBuffers(ends.transport->Socket().Descriptor(),
                                ends.peer.fd());
    ends.transport->SetWriteBufferLimits(20000);
    size_t sent = 0;
    size_t received = 0;
    // Written from within, too.
    record->on_resume = [&] {
      record->transport->Write(std::string(30000, 'r'));
      sent += 30000;
    };
    for (int i = 0; i < 200; ++i) {
      ends.transport->Write(std::string(7001, 'w'));
      sent += 7001;
      // Now and then all of it, in between little.
      size_t n;
      do {
        n = ends.peer.Receive(i % 10 == 9 ? 1 << 20 : 100).size();
        received += n;
        co_await Turns(2);
      } while (n != 0 && i % 10 == 9 && record->Count("resume") < 50);
    }
    record->on_resume = nullptr;
    ends.transport->Close();
    while (received < sent) {
      const std::string part = ends.peer.Receive();
      received += part.size();
      co_await Turns(1);
    }
    co_await Eventually([&] { return record->lost; });
    EXPECT_EQ(received, sent);
    std::string last = "resume";
    for (const std::string& line : record->log) {
      if (line != "pause" && line != "resume") continue;
      EXPECT_NE(line, last);
      last = line;
    }
    EXPECT_GT(record->Count("pause"), 3);
    EXPECT_EQ(last, "resume");  // also the flush of Close() tells
    EXPECT_EQ(record->log.back(), "lost");
  });
}

TEST_F(TransportTest, TheMarksFollowEachOther) {
  RunNet([]() -> Co<void> {
    using Limits = std::pair<size_t, size_t>;
    RecordPtr record = NewRecord();
    Unix ends(NewRecorder(record));
    Transport& transport = *ends.transport;
    co_await Turns();
    transport.SetWriteBufferLimits(400);
    EXPECT_EQ(transport.GetWriteBufferLimits(), (Limits{100, 400}));
    transport.SetWriteBufferLimits(std::nullopt, 50);
    EXPECT_EQ(transport.GetWriteBufferLimits(), (Limits{50, 200}));
    transport.SetWriteBufferLimits();
    EXPECT_EQ(transport.GetWriteBufferLimits(), (Limits{16384, 65536}));
    EXPECT_EQ(ThrownBy([&] { transport.SetWriteBufferLimits(5, 6); }),
              "Transport::SetWriteBufferLimits: the low water mark (6) is not "
              "above the high one (5)");
    FillUp(ends.transport);
    transport.Write("123");
    EXPECT_EQ(record->Log(), "made");
    transport.SetWriteBufferLimits(0);  // whenever something is queued
    EXPECT_EQ(record->Log(), "made, pause");
    transport.SetWriteBufferLimits(3, 3);
    EXPECT_EQ(record->Log(), "made, pause");
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, pause, resume");
    transport.Abort();
  });
}

TEST_F(TransportTest, WritingNeverResumesWithinAnotherCall) {
  for (const bool by_write : {false, true}) {
    SCOPED_TRACE(by_write);
    RunNet([by_write]() -> Co<void> {
      RecordPtr record = NewRecord();
      Unix ends(NewRecorder(record));
      Transport& transport = *ends.transport;
      co_await Turns();
      transport.SetWriteBufferLimits(0);
      FillUp(ends.transport);
      transport.Write("123");
      record->on_data = [&] {
        transport.SetWriteBufferLimits(100, 100);
        if (by_write) transport.Write("4");
        record->log.push_back("end");
      };
      ends.peer.Send("d");
      co_await Eventually([&] { return record->Count("resume") == 1; });
      EXPECT_EQ(record->Log(), "made, pause, data d, end, resume");
      transport.Abort();
    });
  }
}

TEST_F(TransportTest, CloseSendsWhatIsQueuedAndAbortDropsIt) {
  for (const bool abort : {false, true}) {
    SCOPED_TRACE(abort);
    RunNet([abort]() -> Co<void> {
      RecordPtr record = NewRecord();
      Tcp ends(NewRecorder(record));
      co_await Turns();
      const std::string text(8 << 20, 't');
      ends.transport->Write(text);
      EXPECT_GT(ends.transport->GetWriteBufferSize(), 0u);
      if (abort) {
        ends.transport->Abort();
        EXPECT_EQ(ends.transport->GetWriteBufferSize(), 0u);
      } else {
        ends.transport->Close();
        ends.transport->Write("dropped");
      }
      std::string received;
      while (!record->lost) {
        received += ends.peer.Receive();
        co_await Turns(1);
      }
      received += ends.peer.ReceiveAll();
      EXPECT_EQ(received == text, !abort);
      EXPECT_EQ(record->Log(),
                abort ? "made, pause, lost" : "made, pause, resume, lost");
    });
  }
}

TEST_F(TransportTest, AfterWriteEofNothingIsWrittenButMuchIsRead) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    co_await Turns();
    EXPECT_TRUE(ends.transport->CanWriteEof());
    ends.transport->Write("last words");
    ends.transport->WriteEof();
    ends.transport->WriteEof();
    EXPECT_EQ(ThrownBy([&] { ends.transport->Write("x"); }),
              "Transport::Write: nothing can be written after WriteEof()");
    EXPECT_EQ(ends.peer.ReceiveAll(), "last words");
    ends.peer.Send("answer");
    co_await Eventually([&] { return record->data == "answer"; });
    ends.peer.Close();
    co_await Eventually([&] { return record->lost; });
    EXPECT_EQ(record->log.back(), "lost");
  });
}

TEST_F(TransportTest, WritesAfterTheLossAreDroppedWithAWarningFromTheFifthOn) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    co_await Turns();
    ends.transport->Abort();
    Diagnostics diagnostics;
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(diagnostics.messages.size(), i < 5 ? 0u : 1u);
      ends.transport->Write("x");
      if (i == 2) co_await Turns();
    }
    EXPECT_EQ(diagnostics.messages.size(), 2u);
    EXPECT_EQ(diagnostics.messages.at(0),
              "Transport::Write: the connection is gone, and what is written "
              "is dropped");
  });
}

TEST_F(TransportTest, NoProtocolIsRefused) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    Tcp ends(NewRecorder(record));
    EXPECT_EQ(ThrownBy([&] { ends.transport->SetProtocol(nullptr); }),
              "Transport: the protocol is null");
    co_await Turns();
    ends.transport->Abort();
    co_await Turns();
    EXPECT_EQ(record->Log(), "made, lost");
  });
}

// ---- errors of the protocol

struct Failing {
  const char* name;
  std::function<void()> Record::* member;
  const char* report;
  bool fatal;
};

TEST_F(TransportTest, ErrorsOfCallbacksAreReported) {
  const Failing cases[] = {
      {"made", &Record::on_made, "a protocol's ConnectionMade() has failed",
       false},
      {"data", &Record::on_data, "a protocol's DataReceived() has failed",
       true},
      {"eof", &Record::on_eof, "a protocol's EofReceived() has failed", true},
      {"pause", &Record::on_pause, "a protocol's PauseWriting() has failed",
       false},
      {"resume", &Record::on_resume, "a protocol's ResumeWriting() has failed",
       false},
      {"lost", &Record::on_lost, "a protocol's ConnectionLost() has failed",
       false},
  };
  for (const Failing& failing : cases) {
    SCOPED_TRACE(failing.name);
    RunNet([&failing]() -> Co<void> {
      Reports reports;
      RecordPtr record = NewRecord();
      (*record).*(failing.member) = [] { throw std::runtime_error("mine"); };
      Unix ends(NewRecorder(record));
      co_await Turns();
      ends.transport->SetWriteBufferLimits(0);
      FillUp(ends.transport);
      ends.transport->Write("x");
      DrainPeer(ends.peer);
      co_await Eventually([&] { return record->Count("resume") == 1; });
      ends.peer.Send("data");
      co_await Eventually([&] { return !record->data.empty(); });
      co_await Turns();
      DrainPeer(ends.peer);  // or the end would be a reset
      ends.peer.Close();
      co_await Eventually([&] { return record->lost; });
      EXPECT_EQ(reports.Messages(),
                std::vector<std::string>{std::string(failing.report) +
                                         ": std::runtime_error: mine"});
      EXPECT_EQ(record->log.back(), failing.fatal ? "lost: mine" : "lost");
    });
  }
}

TEST_F(TransportTest, ErrorsOfABufferedProtocolAreFatal) {
  for (const int which : {0, 1, 2}) {
    SCOPED_TRACE(which);
    RunNet([which]() -> Co<void> {
      Reports reports;
      RecordPtr record = NewRecord();
      auto protocol =
          std::make_shared<BufferedRecorder>(record, which == 2 ? 0 : 10);
      const auto fail = [] { throw std::runtime_error("mine"); };
      if (which == 0) protocol->on_get = fail;
      if (which == 1) record->on_data = fail;
      Tcp ends(protocol);
      ends.peer.Send("data");
      co_await Eventually([&] { return record->lost; });
      const char* const kReports[] = {
          "a protocol's GetBuffer() has failed: std::runtime_error: mine",
          "a protocol's BufferUpdated() has failed: std::runtime_error: mine",
          ("a protocol's GetBuffer() has failed: std::runtime_error: "
           "BufferedProtocol::GetBuffer: it returned an empty buffer")};
      EXPECT_EQ(reports.Messages(), std::vector<std::string>{kReports[which]});
      EXPECT_EQ(record->Count("eof"), 0);
    });
  }
}

// ---- lifetime

TEST_F(TransportTest, ItLivesByItselfUntilTheConnectionIsLost) {
  RunNet([]() -> Co<void> {
    RecordPtr record = NewRecord();
    UnixEnds ends;
    Peer peer = std::move(ends.peer);
    std::weak_ptr<Transport> transport;
    {
      Unix unix_ends(NewRecorder(record), UnixEnds());
      peer = std::move(unix_ends.peer);
      transport = unix_ends.transport;
    }
    co_await Turns();
    record->transport.reset();
    peer.Send("still there");
    co_await Eventually([&] { return !record->data.empty(); });
    EXPECT_FALSE(transport.expired());
    peer.Close();
    co_await Eventually([&] { return record->lost; });
    co_await Turns();
    EXPECT_TRUE(transport.expired());
    EXPECT_FALSE(record->alive);
  });
}

TEST_F(TransportTest, ALoopThatClosesDropsTheProtocolWithoutACall) {
  // Kept from outside, written to, paused, and made in the last moment.
  for (const int state : {0, 1, 2, 3}) {
    SCOPED_TRACE(state);
    RecordPtr record = NewRecord();
    std::shared_ptr<Transport> outside;
    Peer peer;
    RunNet([&]() -> Co<void> {
      Unix ends(NewRecorder(record));
      peer = std::move(ends.peer);
      if (state != 3) co_await Turns();
      if (state == 0) outside = ends.transport;
      if (state == 1) {
        FillUp(ends.transport);
        ends.transport->Write("never sent");
      }
      if (state == 2) ends.transport->PauseReading();
    });
    record->transport.reset();
    EXPECT_FALSE(record->alive);
    EXPECT_FALSE(record->lost);
    if (outside != nullptr) {
      EXPECT_TRUE(outside->IsClosing());
      outside->Write("dropped");
      outside->Close();
      outside->Abort();
    }
  }
}

TEST_F(TransportTest, DebugModeTellsOfAnOpenTransportWhenTheLoopCloses) {
  Diagnostics diagnostics;
  RecordPtr record = NewRecord();
  coil::RunOptions options;
  options.debug = true;
  Peer peer;
  RunNet(
      [&]() -> Co<void> {
        // On a busy machine any callback may be slow, which is reported too.
        EventLoop::Current().SetSlowCallbackDuration(absl::InfiniteDuration());
        Tcp ends(NewRecorder(record));
        peer = std::move(ends.peer);
        co_await Turns();
      },
      options);
  record->transport.reset();
  ASSERT_EQ(diagnostics.messages.size(), 1u);
  EXPECT_NE(diagnostics.messages.at(0).find("the transport to"),
            std::string::npos)
      << diagnostics.messages.at(0);
}

}  // namespace
}  // namespace coil::net
