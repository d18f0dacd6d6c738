// Helpers of the tests of //loop.

#ifndef COIL_TESTS_LOOP_LOOP_TESTING_H_
#define COIL_TESTS_LOOP_LOOP_TESTING_H_

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/loop/diagnostics.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/poller.h"
#include "coil/loop/simulation.h"

namespace coil_testing {

// Collects what would go to stderr.
class CapturedDiagnostics {
 public:
  CapturedDiagnostics()
      : previous_(coil::SetDiagnosticSink([this](std::string_view message) {
          std::lock_guard<std::mutex> lock(mutex_);
          messages_.emplace_back(message);
        })) {}
  ~CapturedDiagnostics() { coil::SetDiagnosticSink(std::move(previous_)); }

  std::vector<std::string> Messages() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return messages_;
  }
  size_t Count() const { return Messages().size(); }
  // All of them, one after another.
  std::string Text() const {
    std::string text;
    for (const std::string& message : Messages()) text += message + "\n";
    return text;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::string> messages_;
  coil::DiagnosticSink previous_;
};

// A descriptor that is closed at the end.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { Close(); }
  void Close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

struct Pipe {
  Pipe() {
    int fds[2];
    if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
      throw std::runtime_error("pipe2");
    }
    read = Fd(fds[0]);
    write = Fd(fds[1]);
  }
  void Put(std::string_view text = "x") {
    if (::write(write.get(), text.data(), text.size()) < 0) {
      throw std::runtime_error("write");
    }
  }
  // What is there now.
  std::string Take() {
    char buffer[4096];
    const ssize_t n = ::read(read.get(), buffer, sizeof(buffer));
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
  }
  Fd read;
  Fd write;
};

struct SocketPair {
  SocketPair() {
    int fds[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                     fds) != 0) {
      throw std::runtime_error("socketpair");
    }
    a = Fd(fds[0]);
    b = Fd(fds[1]);
  }
  Fd a;
  Fd b;
};

// A loop in virtual time.
class SimulatedLoop {
 public:
  explicit SimulatedLoop(uint64_t seed = 0)
      : simulation_{seed}, loop_(Options(simulation_)) {}
  coil::EventLoop& operator*() { return loop_; }
  coil::EventLoop* operator->() { return &loop_; }

 private:
  static coil::LoopOptions Options(const coil::SimulationOptions& simulation) {
    coil::LoopOptions options;
    options.simulation = &simulation;
    return options;
  }
  coil::SimulationOptions simulation_;
  coil::EventLoop loop_;
};

// Passes everything on to another poller, and counts.
class CountingPoller final : public coil::Poller {
 public:
  explicit CountingPoller(coil::Poller& inner) : inner_(inner) {}

  void Add(Watch& watch, int fd, coil::IoEvents interest,
           coil::Trigger trigger) override {
    inner_.Add(watch, fd, interest, trigger);
    ++watched_;
    Sync();
  }
  void Modify(Watch& watch, coil::IoEvents interest,
              coil::Trigger trigger) override {
    inner_.Modify(watch, interest, trigger);
  }
  void Remove(Watch& watch) noexcept override {
    if (watch.Watched()) --watched_;
    inner_.Remove(watch);
    Sync();
  }
  int Poll(absl::Duration timeout) override {
    ++polls;
    if (timeout > absl::ZeroDuration()) {
      ++blocking_polls;
      if (on_blocking_poll != nullptr) on_blocking_poll(timeout);
    }
    last_timeout = timeout;
    return inner_.Poll(timeout);
  }
  const char* Name() const noexcept override { return "counting"; }

  int polls = 0;
  int blocking_polls = 0;
  absl::Duration last_timeout;
  absl::AnyInvocable<void(absl::Duration)> on_blocking_poll;

 private:
  // The count is kept by the base class, through a watch.
  struct Placeholder final : Watch {
    void OnReady(coil::IoEvents) noexcept override {}
  };
  void Sync() {
    while (static_cast<int>(placeholders_.size()) < watched_) {
      placeholders_.push_back(std::make_unique<Placeholder>());
      SetDescriptor(*placeholders_.back(), 0);
    }
    while (static_cast<int>(placeholders_.size()) > watched_) {
      SetDescriptor(*placeholders_.back(), -1);
      placeholders_.pop_back();
    }
  }
  coil::Poller& inner_;
  int watched_ = 0;
  std::vector<std::unique_ptr<Placeholder>> placeholders_;
};

// Watches nothing in the real world and never waits: what a Poll() does is up
// to the test.
class ScriptedPoller final : public coil::Poller {
 public:
  void Add(Watch& watch, int fd, coil::IoEvents, coil::Trigger) override {
    SetDescriptor(watch, fd);
  }
  void Modify(Watch&, coil::IoEvents, coil::Trigger) override {}
  void Remove(Watch& watch) noexcept override { SetDescriptor(watch, -1); }
  int Poll(absl::Duration timeout) override {
    timeouts.push_back(timeout);
    return on_poll != nullptr ? on_poll() : 0;
  }
  const char* Name() const noexcept override { return "scripted"; }

  // What each poll was allowed to wait.
  std::vector<absl::Duration> timeouts;
  // Gives how many watches were told.
  absl::AnyInvocable<int()> on_poll;
};

// A step that records its name, for tests of order below the callbacks.
class NamedStep : public coil::internal::Runnable {
 public:
  NamedStep(std::string name, std::vector<std::string>& log,
            bool shuffles = false)
      : name_(std::move(name)), log_(log), shuffles_(shuffles) {}
  virtual ~NamedStep() = default;
  void Run() override { log_.push_back(name_); }
  void Abandon() noexcept override { abandoned = true; }
  std::string Describe() const override { return name_; }
  bool Shuffles() const override { return shuffles_; }
  bool abandoned = false;

 private:
  std::string name_;
  std::vector<std::string>& log_;
  bool shuffles_;
};

// Runs the loop until nothing is ready any more: one pass for each call of
// Stop().
inline void RunOnePass(coil::EventLoop& loop) {
  loop.Stop();
  loop.RunForever();
}

}  // namespace coil_testing

#endif  // COIL_TESTS_LOOP_LOOP_TESTING_H_
