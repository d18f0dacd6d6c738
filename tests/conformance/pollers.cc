#include "tests/conformance/pollers.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "coil/loop/epoll_poller.h"
#include "coil/loop/internal/io_uring_abi.h"
#include "coil/loop/io_uring_poller.h"

namespace coil_testing {
namespace {

using coil::internal::IoUringTable;
using coil::internal::kRealIoUringCalls;
using coil::internal::UringParams;

std::unique_ptr<coil::Poller> MakeEpoll() {
  return std::make_unique<coil::EpollPoller>();
}

std::unique_ptr<coil::Poller> MakeIoUring() {
  return std::make_unique<coil::IoUringPoller>();
}

std::unique_ptr<coil::Poller> MakeWithTwoBuffers() {
  coil::IoUringOptions options;
  options.buffers = 2;
  options.buffer_size = 10'000;
  return std::make_unique<coil::IoUringPoller>(options);
}

const PollerKind* g_kind = nullptr;

int RegisterAsToldToThis(int ring, unsigned operation, void* argument,
                         unsigned count) {
  if (g_kind->refuses_buffers) {
    errno = EINVAL;
    return -1;
  }
  return kRealIoUringCalls.register_(ring, operation, argument, count);
}

int SetupAsToldToThis(unsigned entries, UringParams* params) {
  if (params->flags & g_kind->refused_flags) {
    errno = EINVAL;
    return -1;
  }
  if (g_kind->completions != 0) {
    entries = params->cq_entries = g_kind->completions;
  }
  return kRealIoUringCalls.setup(entries, params);
}

const IoUringTable& Shim() {
  static const IoUringTable shim = [] {
    IoUringTable table = kRealIoUringCalls;
    table.setup = SetupAsToldToThis;
    table.register_ = RegisterAsToldToThis;
    return table;
  }();
  return shim;
}

constexpr uint32_t kTaskrun = coil::internal::kUringCoopTaskrun |
                              coil::internal::kUringTaskrunFlag |
                              coil::internal::kUringSubmitAll;

}  // namespace

const PollerKind kEpoll = {.name = "Epoll", .make = MakeEpoll};
const PollerKind kIoUring = {.name = "IoUring", .make = MakeIoUring};
const PollerKind kIoUringUndeferred = {
    .name = "IoUringUndeferred",
    .make = MakeIoUring,
    .refused_flags = coil::internal::kUringDeferTaskrun};
const PollerKind kIoUringPlain = {
    .name = "IoUringPlain",
    .make = MakeIoUring,
    .refused_flags = coil::internal::kUringDeferTaskrun |
                     coil::internal::kUringSingleIssuer | kTaskrun};
const PollerKind kIoUringTiny = {
    .name = "IoUringTiny", .make = MakeIoUring, .completions = 2};
const PollerKind kIoUringTwoBuffers = {
    .name = "IoUringTwoBuffers", .make = MakeWithTwoBuffers, .completions = 2};
const PollerKind kIoUringPolls = {
    .name = "IoUringPolls", .make = MakeIoUring, .refuses_buffers = true};

std::vector<const PollerKind*> Available(std::vector<const PollerKind*> kinds) {
  if (!coil::IoUringPoller::Available()) {
    std::erase_if(
        kinds, [](const PollerKind* kind) { return kind->make != MakeEpoll; });
  }
  return kinds;
}

ScopedPollerKind::ScopedPollerKind(const PollerKind& kind)
    : previous_(coil::internal::g_poller_factory.exchange(kind.make)) {
  g_kind = &kind;
  if (kind.refused_flags != 0 || kind.completions != 0 ||
      kind.refuses_buffers) {
    calls_.emplace(&Shim());
  }
}

ScopedPollerKind::~ScopedPollerKind() {
  coil::internal::g_poller_factory.store(previous_);
}

}  // namespace coil_testing
