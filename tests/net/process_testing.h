// Helpers of the tests of child processes.

#ifndef COIL_TESTS_NET_PROCESS_TESTING_H_
#define COIL_TESTS_NET_PROCESS_TESTING_H_

#include <sys/wait.h>

#include <cerrno>

#include "coil/net/internal/child_process.h"
#include "tests/net/net_testing.h"

namespace coil_testing {

// True if this process has no child, not even a zombie.
inline bool NoChildren() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 &&
         errno == ECHILD;
}

// Until the child `pid` has ended; it stays a zombie.
inline void AwaitZombie(pid_t pid) {
  siginfo_t info{};
  ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
}

// A test after which there is no child left.
class ProcessTest : public NetTest {
 protected:
  void TearDown() override {
    NetTest::TearDown();
    EXPECT_TRUE(NoChildren());
    EXPECT_EQ(coil::net::internal::OrphanCount(), 0);
  }
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_PROCESS_TESTING_H_
