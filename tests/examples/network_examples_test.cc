// The examples that serve, as their users do: started, talked to, interrupted.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/examples/program.h"

extern char** environ;

namespace coil_testing {
namespace {

// A program that serves; what it prints first tells its port.
class ServingProgram {
 public:
  explicit ServingProgram(std::vector<std::string> arguments) {
    int out[2];
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    EXPECT_EQ(
        posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ),
        0);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    char byte;
    while (read(out[0], &byte, 1) == 1 && byte != '\n') line_ += byte;
    close(out[0]);
  }
  ServingProgram(const ServingProgram&) = delete;
  ServingProgram& operator=(const ServingProgram&) = delete;
  ~ServingProgram() {
    if (pid_ != 0) Interrupt();
  }

  // The number at the end of its first line.
  int Port() const {
    return std::atoi(line_.substr(line_.find_last_of(" :") + 1).c_str());
  }
  const std::string& Line() const { return line_; }
  // Ctrl-C; true if that was what ended it.
  bool Interrupt() {
    kill(pid_, SIGINT);
    int status = 0;
    waitpid(std::exchange(pid_, 0), &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGINT;
  }

 private:
  pid_t pid_ = 0;
  std::string line_;
};

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<in_port_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

// A socket that blocks.
class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {}
  static Connection To(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = Loopback(port);
    EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&address),
                      sizeof(address)),
              0);
    return Connection(fd);
  }
  Connection(Connection&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Connection() {
    if (fd_ >= 0) close(fd_);
  }
  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  std::string Line() {
    std::string line;
    char byte;
    while (recv(fd_, &byte, 1, 0) == 1) {
      line += byte;
      if (byte == '\n') break;
    }
    return line;
  }
  void ShutdownWrite() { shutdown(fd_, SHUT_WR); }
  int fd() const { return fd_; }

 private:
  int fd_;
};

TEST(UdpEchoTest, ClientsAskUntilTheyHaveTheirAnswer) {
  const ProgramResult result = RunProgram({"examples/udp_echo"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output,
            "client 1, question 1: answered after 1 try\n"
            "client 1, question 2: answered after 1 try\n"
            "client 1, question 3: answered after 2 tries\n"
            "client 2, question 1: answered after 1 try\n"
            "client 2, question 2: answered after 2 tries\n"
            "client 2, question 3: answered after 1 try\n");
}

TEST(UdpEchoTest, ServesUntilCtrlC) {
  ServingProgram server({"examples/udp_echo", "0"});
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(server.Port());
  for (const std::string text : {"hello", "", "you"}) {
    sendto(fd, text.data(), text.size(), 0,
           reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    char answer[100];
    EXPECT_EQ(recv(fd, answer, sizeof(answer), 0),
              static_cast<ssize_t>(text.size()));
  }
  close(fd);
  EXPECT_TRUE(server.Interrupt());
}

TEST(ChatTest, RoomsHearTheirOwn) {
  ServingProgram server({"examples/chat", "0"});
  Connection ann = Connection::To(server.Port());
  Connection bob = Connection::To(server.Port());
  EXPECT_EQ(ann.Line(), "your name?\n");
  EXPECT_EQ(bob.Line(), "your name?\n");
  ann.Send("Ann\n");
  EXPECT_EQ(ann.Line(), "* Ann is in lobby\n");
  bob.Send("Bob\r\n");
  EXPECT_EQ(ann.Line(), "* Bob is in lobby\n");
  EXPECT_EQ(bob.Line(), "* Bob is in lobby\n");
  ann.Send("hello\n");
  EXPECT_EQ(ann.Line(), "Ann: hello\n");
  EXPECT_EQ(bob.Line(), "Ann: hello\n");
  bob.Send("/join kitchen\n");
  EXPECT_EQ(ann.Line(), "* Bob has left\n");
  EXPECT_EQ(bob.Line(), "* Bob is in kitchen\n");
  bob.Send("to myself\n/who\n");
  EXPECT_EQ(bob.Line(), "Bob: to myself\n");
  EXPECT_EQ(bob.Line(), "* here: Bob\n");
  ann.Send("/join kitchen\n");
  EXPECT_EQ(ann.Line(), "* Ann is in kitchen\n") << "and not what was said";
  EXPECT_EQ(bob.Line(), "* Ann is in kitchen\n");
  bob.Send("/quit\n");
  EXPECT_EQ(ann.Line(), "* Bob has left\n");
  EXPECT_EQ(bob.Line(), "");
  EXPECT_TRUE(server.Interrupt());
  EXPECT_EQ(ann.Line(), "");
}

TEST(PortForwardTest, PassesBytesAndEndsOn) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  auto* any = reinterpret_cast<sockaddr*>(&address);
  ASSERT_EQ(bind(listener, any, size), 0);
  ASSERT_EQ(listen(listener, 10), 0);
  ASSERT_EQ(getsockname(listener, any, &size), 0);
  ServingProgram forwarder({"examples/port_forward", "0", "127.0.0.1",
                            std::to_string(ntohs(address.sin_port))});
  Connection client = Connection::To(forwarder.Port());
  Connection there(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  client.Send("question\n");
  EXPECT_EQ(there.Line(), "question\n");
  client.ShutdownWrite();
  EXPECT_EQ(there.Line(), "") << "the end of file";
  there.Send("answer\n");
  EXPECT_EQ(client.Line(), "answer\n") << "the other direction goes on";
  there.ShutdownWrite();
  EXPECT_EQ(client.Line(), "");
  EXPECT_TRUE(forwarder.Interrupt());
  close(listener);
}

TEST(BusyServerTest, PsShowsWhoWaitsForWhat) {
  ServingProgram server({"examples/busy_server"});
  const std::string socket = server.Line();
  ASSERT_NE(socket, "");
  // All have come in some time; how soon is not the matter.
  std::string table;
  while (table.find("table of 127.0.0.1:") == std::string::npos ||
         table.find("Semaphore") == std::string::npos) {
    const ProgramResult result = RunProgram({"net/ps", socket});
    ASSERT_EQ(result.exit_code, 0) << result.output;
    table = result.output;
  }
  EXPECT_NE(table.find("guest 1 "), std::string::npos) << table;
  EXPECT_NE(table.find("guest 20 "), std::string::npos) << table;
  const ProgramResult tree = RunProgram({"net/ps", socket, "--tree"});
  EXPECT_EQ(tree.exit_code, 0);
  EXPECT_NE(tree.output.find("guest 20"), std::string::npos) << tree.output;
  EXPECT_TRUE(server.Interrupt());
}

}  // namespace
}  // namespace coil_testing
