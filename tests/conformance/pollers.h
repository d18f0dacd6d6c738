// The pollers over which the conformance tests run.

#ifndef COIL_TESTS_CONFORMANCE_POLLERS_H_
#define COIL_TESTS_CONFORMANCE_POLLERS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "coil/loop/internal/io_uring_calls.h"
#include "coil/loop/internal/poller_choice.h"
#include "coil/loop/poller.h"

namespace coil_testing {

// A kind of poller. All of them are global objects.
struct PollerKind {
  std::string name;  // letters and digits
  coil::internal::PollerFactory make;
  // Of a ring: what the kernel is made to refuse, and how many completions it
  // may hold (0: as many as asked for).
  uint32_t refused_flags = 0;
  uint32_t completions = 0;
  bool refuses_buffers = false;
};

extern const PollerKind kEpoll;
extern const PollerKind kIoUring;
// As on kernels before 6.1 and before 5.18.
extern const PollerKind kIoUringUndeferred;
extern const PollerKind kIoUringPlain;
// So few completions fit in that the kernel has to hold them back.
extern const PollerKind kIoUringTiny;
// The same, and two buffers for all that is received.
extern const PollerKind kIoUringTwoBuffers;
// The kernel does not receive and accept by itself: as before 6.0.
extern const PollerKind kIoUringPolls;

// Those of `kinds` that can be had here: where io_uring is denied it is left
// out, which IoUringPollerTest.IsThereOrDenied looks at.
std::vector<const PollerKind*> Available(std::vector<const PollerKind*> kinds);

// Loops that are not given a poller make one of this kind, while this lives.
class ScopedPollerKind {
 public:
  explicit ScopedPollerKind(const PollerKind& kind);
  ScopedPollerKind(const ScopedPollerKind&) = delete;
  ScopedPollerKind& operator=(const ScopedPollerKind&) = delete;
  ~ScopedPollerKind();

 private:
  std::optional<coil::internal::ScopedIoUringCalls> calls_;
  coil::internal::PollerFactory previous_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_CONFORMANCE_POLLERS_H_
