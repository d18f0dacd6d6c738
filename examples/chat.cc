// chat [PORT]: a chat server with rooms, to be used with `nc 127.0.0.1 PORT`.
//
// Whoever connects says a name, then lines: "/join ROOM", "/who", "/quit", or
// what the others in the room are to read. What to look for: a task for each
// connection and one for what is sent to it, a queue between them so that a
// slow reader does not keep the others waiting, and a clean end however it
// comes.

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "coil/coil.h"

namespace chat {
namespace {

using coil::net::Server;
using coil::net::StreamReader;
using coil::net::StreamWriter;

// Lines that a client may be behind.
constexpr size_t kMostUnread = 100;

struct Client {
  // Nobody is waited for: who does not read misses what is said.
  void Post(std::string line) {
    const bool kept = unread.TryPut(std::move(line));
    missed += kept ? 0 : 1;
  }

  std::string name;
  std::string room;
  coil::Queue<std::string> unread{kMostUnread};
  int missed = 0;
};

class Rooms {
 public:
  // Takes `client` to `room`; an empty one is none.
  void Move(Client& client, std::string_view room) {
    if (!client.room.empty()) {
      rooms_[client.room].erase(&client);
      Say(client.room, absl::StrCat("* ", client.name, " has left\n"));
      if (rooms_[client.room].empty()) rooms_.erase(client.room);
    }
    client.room = room;
    if (room.empty()) return;
    rooms_[client.room].insert(&client);
    Say(client.room, absl::StrCat("* ", client.name, " is in ", room, "\n"));
  }

  // To everybody in `room`.
  void Say(const std::string& room, const std::string& line) {
    for (Client* client : rooms_[room]) client->Post(line);
  }

  std::string Who(const std::string& room) {
    std::set<std::string> names;
    for (const Client* client : rooms_[room]) names.insert(client->name);
    return absl::StrCat("* here: ", absl::StrJoin(names, ", "), "\n");
  }

 private:
  std::map<std::string, std::set<Client*>> rooms_;
};

// Does what one line says; false for the last one.
bool Obey(Rooms& rooms, Client& client, std::string_view line) {
  if (line == "/quit") return false;
  if (line == "/who") {
    client.Post(rooms.Who(client.room));
  } else if (absl::ConsumePrefix(&line, "/join ") && !line.empty()) {
    rooms.Move(client, line);
  } else if (!line.empty()) {
    rooms.Say(client.room, absl::StrCat(client.name, ": ", line, "\n"));
  }
  return true;
}

// Reads until the client goes.
coil::Co<void> Converse(Rooms& rooms, Client& client, StreamReader reader) {
  const std::string name = co_await reader.ReadLine();
  client.name = absl::StripAsciiWhitespace(name);
  if (client.name.empty()) co_return;
  rooms.Move(client, "lobby");
  while (std::optional<std::string> line = co_await reader.Next()) {
    if (!Obey(rooms, client, absl::StripAsciiWhitespace(*line))) break;
  }
}

coil::Co<void> SendUnread(Client& client, StreamWriter writer) {
  while (std::optional<std::string> line = co_await client.unread.Next()) {
    co_await writer.Write(*line);
  }
}

coil::Co<void> Serve(Rooms& rooms, StreamReader reader, StreamWriter writer) {
  co_await writer.Write("your name?\n");
  Client client;
  coil::Task<void> sending = coil::CreateTask(SendUnread(client, writer));
  auto converse = [&] { return Converse(rooms, client, reader); };
  auto leave = [&]() -> coil::Co<void> {
    rooms.Move(client, "");
    client.unread.Shutdown();  // what is left is still sent, but not forever
    co_await coil::Settle(coil::WithTimeout(absl::Seconds(5), sending));
  };
  // A connection that breaks, or a line without an end, is its client's end and
  // nobody else's.
  co_await coil::Settle(coil::Finally(converse, leave));
}

coil::Co<void> Main(int port) {
  Rooms rooms;
  Server server = co_await coil::net::StartServer(
      [&rooms](StreamReader reader, StreamWriter writer) {
        return Serve(rooms, std::move(reader), std::move(writer));
      },
      "127.0.0.1", port);
  std::printf("chatting on port %d\n", server.Port());
  std::fflush(stdout);
  // Until Ctrl-C, which also ends who is connected: they use the rooms.
  auto serve = [&] { return server.ServeForever(); };
  auto end = [&] { return server.Shutdown(absl::ZeroDuration()); };
  co_await coil::Finally(serve, end);
}

}  // namespace
}  // namespace chat

int main(int argc, char** argv) {
  coil::Run(chat::Main(argc > 1 ? std::atoi(argv[1]) : 0));
}
