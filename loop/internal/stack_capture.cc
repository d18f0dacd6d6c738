#include "coil/loop/internal/stack_capture.h"

#include <semaphore.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <unwind.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/debugging/symbolize.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"

namespace coil::internal {
namespace {

constexpr int kMaxFrames = 64;
constexpr size_t kMaxName = 256;

enum RequestState : int { kIdle, kAsked, kAnswering, kAnswered };

// All that the handler touches. There is one, so that it is never too late: an
// answer that nobody waits for any more harms nobody.
struct Request {
  std::atomic<int> state{kIdle};
  std::atomic<const LoopCore*> core{nullptr};
  const StallProbe* probe = nullptr;
  uint64_t step = 0;
  bool same_step = false;
  int frames = 0;
  void* pcs[kMaxFrames] = {};
  size_t name_size = 0;
  char name[kMaxName] = {};
  sem_t answered;
};

Request& TheRequest() {
  static Request* const request = [] {
    auto* r = new Request;
    ::sem_init(&r->answered, 0, 0);
    return r;
  }();
  return *request;
}

// Read by the handler: a function-local static would take a guard.
std::atomic<Request*> g_request{nullptr};

std::mutex& RequestMutex() {
  static std::mutex* const mutex = new std::mutex;
  return *mutex;
}

// The unwinder follows call frame information, so that it also gets out of a
// library that was built without frame pointers: most stalls end in one.
_Unwind_Reason_Code AddFrame(_Unwind_Context* context, void* argument) {
  auto* request = static_cast<Request*>(argument);
  if (request->frames == kMaxFrames) return _URC_END_OF_STACK;
  int before = 0;
  const auto pc = _Unwind_GetIPInfo(context, &before);
  if (pc == 0) return _URC_END_OF_STACK;
  // A return address may be the start of the next function.
  request->pcs[request->frames++] =
      reinterpret_cast<void*>(before != 0 ? pc : pc - 1);
  return _URC_NO_REASON;
}

extern "C" void CoilStackSignalHandler(int, siginfo_t*, void*) {
  const int saved = errno;
  Request* request = g_request.load(std::memory_order_acquire);
  // The signal may be a late one, or somebody else's.
  auto is_for_us = [request] {
    return request->core.load(std::memory_order_relaxed) == LoopCore::Current();
  };
  int expected = kAsked;
  if (request != nullptr && is_for_us() &&
      request->state.compare_exchange_strong(expected, kAnswering,
                                             std::memory_order_acq_rel)) {
    if (!is_for_us()) {
      // The request was replaced just now.
      request->state.store(kAsked, std::memory_order_release);
      errno = saved;
      return;
    }
    const StallProbe& probe = *request->probe;
    request->same_step =
        probe.step.load(std::memory_order_relaxed) == request->step;
    request->frames = 0;
    request->name_size = 0;
    if (request->same_step) {
      _Unwind_Backtrace(AddFrame, request);
      if (const Runnable* node = probe.node.load(std::memory_order_relaxed)) {
        request->name_size = node->DescribeTo(request->name, kMaxName);
      }
    }
    request->state.store(kAnswered, std::memory_order_release);
    ::sem_post(&request->answered);
  }
  errno = saved;
}

struct Installed {
  int users = 0;
  int signal = 0;
  struct sigaction previous{};
};

Installed& TheInstalled() {
  static Installed* const installed = new Installed;
  return *installed;
}

std::string Symbol(void* pc) {
  char name[1024];
  char line[1200];
  if (!absl::Symbolize(pc, name, sizeof(name))) {
    std::snprintf(name, sizeof(name), "(unknown)");
  }
  std::snprintf(line, sizeof(line), "%p  %s", pc, name);
  return line;
}

bool IsHandler(const std::string& frame) {
  return frame.find("CoilStackSignalHandler") != std::string::npos;
}

}  // namespace

StackSignal::StackSignal(int signal) {
  std::lock_guard<std::mutex> lock(RequestMutex());
  Installed& installed = TheInstalled();
  if (installed.users > 0) {
    if (installed.signal != signal) {
      throw std::runtime_error(
          "Watchdog: all watchdogs of a process use the same signal");
    }
    ++installed.users;
    return;
  }
  g_request.store(&TheRequest(), std::memory_order_release);
  // The unwinder loads what it needs at its first use, which must not be in the
  // handler.
  Request warm_up;
  _Unwind_Backtrace(AddFrame, &warm_up);
  struct sigaction action{};
  action.sa_sigaction = CoilStackSignalHandler;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK;
  sigfillset(&action.sa_mask);
  if (Sys().sigaction(signal, &action, &installed.previous) != 0) {
    throw OsError(errno, "sigaction", std::to_string(signal));
  }
  installed.signal = signal;
  installed.users = 1;
}

StackSignal::~StackSignal() {
  std::lock_guard<std::mutex> lock(RequestMutex());
  Installed& installed = TheInstalled();
  if (--installed.users == 0) {
    Sys().sigaction(installed.signal, &installed.previous, nullptr);
  }
}

bool CaptureStack(const LoopCore& core, const StallProbe& probe, uint64_t step,
                  int signal, absl::Duration patience, CapturedStack& result) {
  std::lock_guard<std::mutex> lock(RequestMutex());
  const pid_t thread = probe.thread.load(std::memory_order_acquire);
  if (thread == 0) return false;
  Request& request = TheRequest();
  request.core.store(&core, std::memory_order_relaxed);
  request.probe = &probe;
  request.step = step;
  request.state.store(kAsked, std::memory_order_release);
  if (::syscall(SYS_tgkill, ::getpid(), thread, signal) != 0) {
    request.state.store(kIdle, std::memory_order_release);
    return false;
  }
  // sem_timedwait() takes a date; absl::Now() is one.
  const timespec deadline = absl::ToTimespec(absl::Now() + patience);
  while (::sem_timedwait(&request.answered, &deadline) != 0) {
    if (errno == EINTR) continue;
    int expected = kAsked;
    if (request.state.compare_exchange_strong(expected, kIdle,
                                              std::memory_order_acq_rel)) {
      return false;  // it blocks the signal, or sleeps deep in the kernel
    }
    // It is answering right now.
    while (::sem_wait(&request.answered) != 0) {
    }
    break;
  }
  request.state.store(kIdle, std::memory_order_relaxed);
  if (!request.same_step) return false;
  result.what.assign(request.name, request.name_size);
  result.frames.clear();
  for (int i = 0; i < request.frames; ++i) {
    result.frames.push_back(Symbol(request.pcs[i]));
  }
  // Above the interrupted function lie the capture, the handler, and the
  // kernel's trampoline, which has no name.
  auto handler =
      std::find_if(result.frames.begin(), result.frames.end(), IsHandler);
  for (int i = 0; i < 2 && handler != result.frames.end(); ++i) ++handler;
  if (handler != result.frames.end()) {
    result.frames.erase(result.frames.begin(), handler);
  }
  return true;
}

}  // namespace coil::internal
