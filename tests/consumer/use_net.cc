// A line sent to a server on a free port of this machine, and its answer.

#include <iostream>
#include <string>

#include "coil/net/streams.h"
#include "coil/task/run.h"

coil::Co<void> Answer(coil::net::StreamReader reader,
                      coil::net::StreamWriter writer) {
  std::string line = co_await reader.ReadLine();
  co_await writer.Write("you said " + line);
  co_await writer.Close();
}

coil::Co<void> Main() {
  coil::net::Server server =
      co_await coil::net::StartServer(Answer, "127.0.0.1", 0);
  auto [reader, writer] =
      co_await coil::net::OpenConnection("127.0.0.1", server.Port());
  co_await writer.Write("hello\n");
  std::cout << co_await reader.ReadLine();
  co_await writer.Close();
  co_await server.Shutdown(absl::Seconds(1));
}

int main() { coil::Run(Main()); }
