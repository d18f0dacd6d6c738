// A test in two processes: a server and its clients.

#ifndef COIL_TESTS_FAULTS_PROCESSES_H_
#define COIL_TESTS_FAULTS_PROCESSES_H_

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <exception>
#include <functional>

#include "coil/task/co.h"
#include "coil/task/run.h"
#include "gtest/gtest.h"

namespace coil_testing {

// As many descriptors as the system lets this process have.
inline long RaiseDescriptorLimit(long wanted) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max < static_cast<rlim_t>(wanted)) {
    rlimit higher = {static_cast<rlim_t>(wanted), static_cast<rlim_t>(wanted)};
    if (::setrlimit(RLIMIT_NOFILE, &higher) == 0) return wanted;
  }
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<long>(limit.rlim_cur);
}

// Runs `main` in a process of its own, which has no loop yet. Ends with 0 if
// nothing was thrown and no test failed there.
inline pid_t InAnotherProcess(const std::function<coil::Co<void>()>& main) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child != 0) return child;
  int status = 1;
  try {
    coil::Run(main);
    status = testing::Test::HasFailure() ? 1 : 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "in the other process: %s\n", error.what());
  } catch (...) {
  }
  std::fflush(stdout);
  ::_exit(status);
}

inline int StatusOf(pid_t child) {
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

}  // namespace coil_testing

#endif  // COIL_TESTS_FAULTS_PROCESSES_H_
