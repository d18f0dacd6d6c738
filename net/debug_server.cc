#include "coil/net/debug_server.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <source_location>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/server_state.h"
#include "coil/net/internal/socket_file.h"
#include "coil/net/socket.h"
#include "coil/task/inspect.h"
#include "coil/task/task.h"

namespace coil::net {
namespace {

constexpr size_t kLongestCommand = 256;

std::string Answer(std::string_view command) {
  EventLoop& loop = EventLoop::Current();
  if (command == "ps") return FormatTaskTable(loop);
  if (command == "pstree") return FormatTaskTree(loop);
  if (command == "dump") return DumpTasks(loop);
  return absl::StrCat("unknown command \"", command,
                      "\"; there are ps, pstree and dump\n");
}

// The mode of the file keeps others out, but a socket in the abstract namespace
// has none.
bool MayAsk(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == ::geteuid() || peer.uid == 0);
}

Co<void> AnswerOne(StreamReader reader, StreamWriter writer) {
  CurrentTask().SetName("debug server");
  if (!MayAsk(writer.Socket().Descriptor())) co_return;
  std::string answer;
  try {
    const std::string line = co_await reader.ReadLine();
    answer = Answer(absl::StripAsciiWhitespace(line));
    if (answer.empty() || answer.back() != '\n') answer += '\n';
    co_await writer.Write(answer);
    co_await writer.Close();
  } catch (const OsError&) {
    // Whoever asked has gone; the program has nothing to do with that.
  } catch (const LimitOverrunError&) {
  }
}

}  // namespace

DebugServer::DebugServer(std::string path)
    : path_(path.empty() ? DefaultPath(::getpid())
                         : absl::StrReplaceAll(
                               path, {{"%p", std::to_string(::getpid())}})) {
  const auto state = internal::ServerRef::Share(new internal::ServerState(
      AnswerOne, kLongestCommand, /*tls=*/nullptr, SecureOptions(),
      std::source_location::current()));
  const Address address = Address::Unix(path_);
  internal::RemoveStaleSocket(address, SOCK_STREAM);
  Socket socket(AF_UNIX, SOCK_STREAM);
  // Before bind(), which gives the mode of the socket to the file: it is never
  // open to others, whatever the umask.
  if (::fchmod(socket.Descriptor(), S_IRUSR | S_IWUSR) != 0) {
    throw OsError(errno, "fchmod", path_);
  }
  socket.Bind(address);
  state->AddSocket(std::move(socket), /*backlog=*/16, absl::Seconds(1),
                   internal::SocketFile(address));
  server_ = Server(state);
  server_.StartServing();
}

std::unique_ptr<DebugServer> DebugServer::FromEnvironment() {
  const char* value = std::getenv("COIL_DEBUG_SOCKET");
  const std::string_view path = value == nullptr ? "" : value;
  if (path.empty() || path == "0") return nullptr;
  if (path == "1") return std::make_unique<DebugServer>();
  return std::make_unique<DebugServer>(std::string(path));
}

std::string DebugServer::DefaultPath(pid_t pid) {
  const char* folder = std::getenv("XDG_RUNTIME_DIR");
  if (folder == nullptr || *folder == '\0') folder = P_tmpdir;
  return absl::StrCat(folder, "/coil-debug-", pid, ".sock");
}

}  // namespace coil::net
