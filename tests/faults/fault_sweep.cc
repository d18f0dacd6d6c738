#include "tests/faults/fault_sweep.h"

#include <dirent.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/child_process.h"
#include "coil/task/errors.h"
#include "coil/task/inspect.h"
#include "coil/task/internal/frame_allocator.h"
#include "coil/task/run.h"
#include "coil/timers/timeout.h"
#include "gtest/gtest.h"
#include "tests/net/process_testing.h"

namespace coil_testing {
namespace {

using coil::Co;

// A run takes about a millisecond; a machine may be busy.
constexpr absl::Duration kDeadline = absl::Seconds(10);
// Of a run in which a call fails for ever.
constexpr absl::Duration kShortDeadline = absl::Milliseconds(25);
// For runs that do not even hear of their deadline.
constexpr int kAlarmSeconds = 60;

char g_running[512];

void OnAlarm(int) {
  static const char kText[] = "\nthis run hangs or spins: ";
  static_cast<void>(!::write(2, kText, sizeof(kText) - 1));
  static_cast<void>(!::write(2, g_running, std::strlen(g_running)));
  static_cast<void>(!::write(2, "\n", 1));
  ::_exit(1);
}

// The threads of the resolver stay for the life of the process.
bool IsOfResolver(const std::string& task) {
  std::ifstream file("/proc/self/task/" + task + "/comm");
  std::string name;
  return std::getline(file, name) && name.starts_with("coil-resolver");
}

int ThreadsNow() {
  DIR* dir = ::opendir("/proc/self/task");
  if (dir == nullptr) return -1;
  std::vector<std::string> tasks;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] != '.') tasks.emplace_back(entry->d_name);
  }
  ::closedir(dir);
  // Its name is asked for only if there is more than this one.
  if (tasks.size() == 1) return 1;
  return static_cast<int>(
      tasks.size() - std::count_if(tasks.begin(), tasks.end(), IsOfResolver));
}

struct Base {
  int descriptors = OpenDescriptors();
  int threads = ThreadsNow();
  ptrdiff_t frames = coil::internal::LiveFrames();
  bool no_children = NoChildren();
  int orphans = coil::net::internal::OrphanCount();

  std::string ToString() const {
    return absl::StrCat(descriptors, " descriptors, ", threads, " threads, ",
                        frames, " frames, ", no_children ? "no" : "some",
                        " children, ", orphans, " orphans");
  }
  bool Exceeds(const Base& before) const {
    return descriptors > before.descriptors || threads > before.threads ||
           frames > before.frames || !no_children || orphans > before.orphans;
  }
};

// Whether a system call that fails explains this error.
bool IsExpected(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const coil::ExceptionGroup& group) {
    return std::all_of(group.Exceptions().begin(), group.Exceptions().end(),
                       IsExpected);
  } catch (const std::system_error&) {
    return true;  // OsError, ResolveError, TlsError; a thread that did not
                  // start
  } catch (const coil::net::IncompleteReadError&) {
    return true;
  } catch (const coil::TimeoutError&) {
    return false;
  } catch (const std::runtime_error& e) {
    // Of a pool without any thread; of sigaction().
    return std::strstr(e.what(), "thread") != nullptr ||
           std::strstr(e.what(), "cannot be handled") != nullptr;
  } catch (const std::invalid_argument& e) {
    // EPERM of epoll_ctl() says so of a device.
    return std::strstr(e.what(), "cannot be waited for") != nullptr;
  } catch (const std::bad_alloc&) {
    return true;  // for ENOMEM
  } catch (...) {
    return false;
  }
}

Co<void> Limited(const FaultScenario& scenario, absl::Duration deadline) {
  co_await coil::WithTimeout(deadline, scenario.run());
}

}  // namespace

FaultSweep::FaultSweep() {
  struct sigaction action{};
  action.sa_handler = OnAlarm;
  ::sigaction(SIGALRM, &action, nullptr);
}
FaultSweep::~FaultSweep() { ::alarm(0); }

bool FaultSweep::Enough() const { return failures_ >= 3; }

uint64_t FaultSweep::RunOnce(const FaultScenario& scenario,
                             const std::string& what, Leniency leniency) {
  ++totals_.runs;
  std::snprintf(g_running, sizeof(g_running), "%s: %s", scenario.name,
                what.c_str());
  ::alarm(kAlarmSeconds);
  const absl::Duration deadline =
      leniency == Leniency::kMayNotEnd ? kShortDeadline : kDeadline;
  const Base before;
  shim_.SetMissing(scenario.missing);
  std::exception_ptr error;
  std::string dump;
  try {
    coil::Runner runner;
    runner.Loop().SetExceptionHandler([](const coil::ExceptionContext&) {});
    if (leniency != Leniency::kMayNotEnd) {
      runner.Loop().CallLater(deadline - absl::Seconds(1),
                              [&dump] { dump = coil::DumpTasks(); });
    }
    runner.Run(Limited(scenario, deadline));
  } catch (...) {
    error = std::current_exception();
  }
  const uint64_t injected = shim_.Disarm();
  shim_.SetMissing(Call::kCount);
  totals_.injections += injected;

  std::string wrong;
  if (error == nullptr) {
    ++totals_.succeeded;
  } else {
    bool timed_out = false;
    try {
      std::rethrow_exception(error);
    } catch (const coil::TimeoutError&) {
      timed_out = true;
    } catch (...) {
    }
    if (timed_out && leniency == Leniency::kMayNotEnd) {
      ++totals_.given_up;
    } else if (leniency == Leniency::kMustSucceed && injected != 0) {
      wrong = absl::StrCat("should not even notice: ",
                           coil::DescribeException(error), "\n", dump);
    } else if (!IsExpected(error) || injected == 0) {
      wrong = absl::StrCat(timed_out ? "hangs: " : "ends with ",
                           coil::DescribeException(error), "\n", dump);
    } else {
      ++totals_.failed;
    }
  }
  // Threads of a pool end a moment after their loop, and a resolver's thread
  // lets go of it then. A child that outlives its loop is reaped by the next
  // one that is started.
  coil::net::internal::ReapOrphans();
  Base after;
  const absl::Time last = absl::Now() + absl::Seconds(10);
  while (after.Exceeds(before) && absl::Now() < last) {
    std::this_thread::yield();
    coil::net::internal::ReapOrphans();
    after = Base();
  }
  if (after.Exceeds(before)) {
    absl::StrAppend(&wrong, "leaves ", after.ToString(),
                    "; before: ", before.ToString());
  }
  if (!wrong.empty()) {
    ++failures_;
    ADD_FAILURE() << "\"" << scenario.name << "\", " << what << ":\n  "
                  << wrong;
  }
  ::alarm(0);
  return injected;
}

std::map<Call, uint64_t> FaultSweep::Calls(const FaultScenario& scenario) {
  std::map<Call, uint64_t> calls;
  // Twice: the first run makes what later ones use again.
  for (int i = 0; i < 2; ++i) {
    shim_.ArmNothing();
    RunOnce(scenario, "nothing fails", Leniency::kMustSucceed);
    calls.clear();
    for (int call = 0; call < kCalls; ++call) {
      const uint64_t count = shim_.Count(static_cast<Call>(call));
      if (count != 0) calls[static_cast<Call>(call)] = count;
    }
  }
  return calls;
}

void FaultSweep::Run(const FaultScenario& scenario, const Plan& plan) {
  // Each call or each second one: a loop that tries again may never get on.
  const bool for_ever = plan.every == 1 || plan.every == 2;
  const Leniency leniency = for_ever                 ? Leniency::kMayNotEnd
                            : plan.fault.transparent ? Leniency::kMustSucceed
                                                     : Leniency::kMayFail;
  shim_.Arm(plan);
  const uint64_t injected = RunOnce(scenario, plan.ToString(), leniency);
  if (injected != 0) {
    matrix_[{NameOf(plan.call), plan.fault.Name(plan.call)}] += injected;
  }
}

void FaultSweep::RunAtRandom(const FaultScenario& scenario, uint64_t seed,
                             uint32_t one_in) {
  shim_.ArmAtRandom(seed, one_in);
  RunOnce(scenario, absl::StrCat("one call in ", one_in, " fails, seed ", seed),
          Leniency::kMayFail);
}

}  // namespace coil_testing
