// The resolver with a real name server, dnsmasq: in namespaces of its own,
// where /etc/resolv.conf says so.

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coil/net/resolver.h"
#include "coil/net/streams.h"
#include "coil/net/subprocess.h"
#include "coil/task/co.h"
#include "coil/task/task.h"
#include "tests/net/net_testing.h"
#include "tests/net/socket_folder.h"
#include "tests/peers/peer_testing.h"

namespace coil::net {
namespace {

using coil_testing::ErrorOf;
using coil_testing::FindProgram;
using coil_testing::LineWith;
using coil_testing::RunNet;
using coil_testing::SocketFolder;

constexpr int kNoNamespaces = 77;

bool WriteFile(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file.good();
}

// True if this process has a network and a table of mounts of its own, in which
// 127.0.0.1 answers questions about names.
bool EnterNamespaces(const SocketFolder& folder) {
  const uid_t user = ::geteuid();
  const gid_t group = ::getegid();
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET) != 0) return false;
  if (!WriteFile("/proc/self/setgroups", "deny") ||
      !WriteFile("/proc/self/uid_map", absl::StrCat("0 ", user, " 1")) ||
      !WriteFile("/proc/self/gid_map", absl::StrCat("0 ", group, " 1"))) {
    return false;
  }
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool up = ::ioctl(fd, SIOCSIFFLAGS, &request) == 0;
  ::close(fd);
  const std::string conf = folder.Path("resolv.conf");
  return up && WriteFile(conf.c_str(), "nameserver 127.0.0.1\n") &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount(conf.c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) ==
             0;
}

// Runs `main` there, in a process of its own: its status.
int InNamespaces(const std::function<Co<void>()>& main) {
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    const SocketFolder folder;
    int status = kNoNamespaces;
    if (EnterNamespaces(folder)) {
      RunNet(main);
      status = testing::Test::HasFailure() ? 1 : 0;
    }
    std::fflush(stdout);
    ::_exit(status);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

Co<Process> StartDnsmasq() {
  Command command(FindProgram("dnsmasq"));
  command.Args(
      {"--no-daemon", "--no-hosts", "--no-resolv",
       "--conf-file=", "--pid-file=", "--bind-interfaces",
       "--listen-address=127.0.0.1", "--address=/wild.example/192.0.2.7",
       "--address=/wild.example/2001:db8::7",
       "--address=/here.example/127.0.0.1", "--address=/missing.example/"});
  command.Stderr(Pipe()).KillOnDrop();
  Process process = command.Spawn();
  co_await LineWith(process.stderr, "cleared cache");
  co_return process;
}

std::string Text(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) {
    absl::StrAppend(&text, text.empty() ? "" : " ", address.Host());
  }
  return text;
}

#define COIL_EXPECT_IN_NAMESPACES(main)                        \
  const int status = InNamespaces(main);                       \
  if (status == kNoNamespaces) {                               \
    GTEST_SKIP() << "namespaces of one's own are not allowed"; \
  }                                                            \
  EXPECT_EQ(status, 0)

TEST(DnsmasqTest, AnswersTheResolver) {
  COIL_NEEDS_PROGRAM("dnsmasq");
  auto main = []() -> Co<void> {
    const Process dnsmasq = co_await StartDnsmasq();
    SystemResolver resolver;
    const ResolveQuery v4 = ResolveQuery("a.wild.example").Family(AF_INET);
    EXPECT_EQ(Text(co_await resolver.Resolve(v4)), "192.0.2.7");
    const ResolveQuery v6 = ResolveQuery("a.wild.example").Family(AF_INET6);
    EXPECT_EQ(Text(co_await resolver.Resolve(v6)), "2001:db8::7");
    const ResolveQuery missing("a.missing.example");
    EXPECT_EQ(co_await ErrorOf(resolver.Resolve(missing)),
              "resolve a.missing.example: Name or service not known");
    // From the cache, whoever has gone.
    dnsmasq.Kill();
    co_await dnsmasq.Wait();
    EXPECT_EQ(Text(co_await resolver.Resolve(v4)), "192.0.2.7");
    const ResolveQuery other("b.wild.example");
    EXPECT_NE(co_await ErrorOf(resolver.Resolve(other)), "");
  };
  COIL_EXPECT_IN_NAMESPACES(main);
}

TEST(DnsmasqTest, AnswersManyAtOnceAlsoIfSomeGiveUp) {
  COIL_NEEDS_PROGRAM("dnsmasq");
  auto main = []() -> Co<void> {
    const Process dnsmasq = co_await StartDnsmasq();
    SystemResolver resolver;
    std::vector<Task<std::vector<Address>>> tasks;
    for (int i = 0; i < 100; ++i) {
      tasks.push_back(CreateTask(
          resolver.Resolve(ResolveQuery(absl::StrCat("n", i, ".wild.example"))
                               .Family(AF_INET))));
    }
    co_await Yield();
    for (size_t i = 0; i < tasks.size(); i += 3) tasks[i].Cancel();
    for (size_t i = 0; i < tasks.size(); ++i) {
      co_await Settle(tasks[i]);
      EXPECT_EQ(tasks[i].Cancelled(), i % 3 == 0);
      if (i % 3 != 0) {
        EXPECT_EQ(Text(tasks[i].Result()), "192.0.2.7");
      }
    }
  };
  COIL_EXPECT_IN_NAMESPACES(main);
}

TEST(DnsmasqTest, LeadsToAServer) {
  COIL_NEEDS_PROGRAM("dnsmasq");
  auto main = []() -> Co<void> {
    const Process dnsmasq = co_await StartDnsmasq();
    Server server =
        co_await StartServer(coil_testing::Echo, "www.here.example", 0);
    auto [reader, writer] =
        co_await OpenConnection("www.here.example", server.Port());
    co_await writer.Write("hello");
    EXPECT_EQ(co_await reader.ReadExactly(5), "hello");
    co_await writer.Close();
    co_await server.Shutdown(absl::Seconds(10));
  };
  COIL_EXPECT_IN_NAMESPACES(main);
}

}  // namespace
}  // namespace coil::net
