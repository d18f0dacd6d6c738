// Posts that end the loop which they are posted to.

#include <memory>
#include <thread>

#include "coil/loop/epoll_poller.h"
#include "coil/loop/event_loop.h"
#include "gtest/gtest.h"
#include "tests/loop/held_wake.h"
#include "tests/loop/loop_testing.h"

namespace coil {
namespace {

using coil_testing::CountingPoller;
using coil_testing::HeldWake;

TEST(PostsEndTest, PosterMayStillBeAtItWhenTheLoopIsGone) {
  EpollPoller inner;
  CountingPoller poller(inner);
  LoopOptions options;
  options.poller = &poller;
  auto loop = std::make_unique<EventLoop>(options);
  HeldWake wake(*loop);
  std::thread poster;
  poller.on_blocking_poll = [&](absl::Duration) {
    if (poster.joinable()) return;
    poster = std::thread([raw = loop.get()] {
      raw->CallSoonThreadSafe([raw] { raw->Stop(); });
    });
  };
  loop->RunForever();
  loop.reset();
  wake.Release();
  poster.join();
  EXPECT_EQ(wake.Held(), 1);
  EXPECT_EQ(wake.StillOpen(), 1);
}

}  // namespace
}  // namespace coil
