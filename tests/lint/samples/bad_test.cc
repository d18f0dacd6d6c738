// lint as: tests/net/bad_test.cc

void Sleeps() {
  std::this_thread::sleep_for(std::chrono::seconds(1));  // BAD: sleep-in-test
  usleep(3);                                             // BAD: sleep-in-test
  absl::SleepFor(absl::Seconds(1));                      // BAD: sleep-in-test
  coil::Sleep(absl::Seconds(1));
}

Co<void> Ports() {
  int port = 8080;                                                        // BAD: fixed-port
  address.sin_port = htons(80);                                           // BAD: fixed-port
  auto server = co_await net::StartServer(handler, "127.0.0.1", 8080);    // BAD: fixed-port
  auto other = co_await net::StartServer(handler, "127.0.0.1", 0);
  Connect("localhost:8080");                                              // BAD: fixed-port
  uint16_t chosen_port = server.Port();
}
