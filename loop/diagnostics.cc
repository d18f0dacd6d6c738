#include "coil/loop/diagnostics.h"

#include <cxxabi.h>
#include <unistd.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <typeinfo>
#include <utility>

namespace coil {
namespace {

struct Sink {
  // Held while the sink runs.
  std::mutex mutex;
  // Shared, because a sink that replaces itself goes on running.
  std::shared_ptr<DiagnosticSink> function;
};

// Never destroyed: threads may still report while the process ends.
Sink& TheSink() {
  static Sink* const sink = new Sink;
  return *sink;
}

thread_local bool t_in_sink = false;

void WriteToStderr(std::string_view message) noexcept {
  // One write for each message, so that those of two threads do not mix.
  std::string line;
  try {
    line.reserve(message.size() + 1);
    line.append(message);
    line.push_back('\n');
    message = line;
  } catch (...) {  // out of memory: without the newline, then
  }
  while (!message.empty()) {
    const ssize_t n = ::write(STDERR_FILENO, message.data(), message.size());
    if (n <= 0) return;
    message.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Demangle(const char* name) {
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  int status = 0;
  // Owned at once: making the string may fail for want of memory.
  const std::unique_ptr<char, Free> text(
      abi::__cxa_demangle(name, nullptr, nullptr, &status));
  return text != nullptr && status == 0 ? text.get() : name;
}

}  // namespace

DiagnosticSink SetDiagnosticSink(DiagnosticSink sink) {
  Sink& the = TheSink();
  std::shared_ptr<DiagnosticSink> previous;
  if (sink != nullptr) {
    previous = std::make_shared<DiagnosticSink>(std::move(sink));
  }
  if (t_in_sink) {  // this thread has the mutex
    the.function.swap(previous);
    if (previous == nullptr) return nullptr;
    return [previous](std::string_view message) { (*previous)(message); };
  }
  {
    std::lock_guard<std::mutex> lock(the.mutex);
    the.function.swap(previous);
  }
  if (previous == nullptr) return nullptr;
  return std::move(*previous);
}

void WriteDiagnostic(std::string_view message) noexcept {
  if (t_in_sink) return WriteToStderr(message);
  try {
    Sink& the = TheSink();
    // What it captured is destroyed after the unlock.
    std::shared_ptr<DiagnosticSink> running;
    std::lock_guard<std::mutex> lock(the.mutex);
    running = the.function;
    if (running != nullptr) {
      struct Guard {
        Guard() { t_in_sink = true; }
        ~Guard() { t_in_sink = false; }
      } guard;
      (*running)(message);
      return;
    }
  } catch (...) {  // a sink must not fail; if it does, the message is not lost
  }
  WriteToStderr(message);
}

std::string DescribeException(const std::exception_ptr& exception) {
  if (exception == nullptr) return "none";
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return Demangle(typeid(e).name()) + ": " + e.what();
  } catch (...) {
    const std::type_info* type = abi::__cxa_current_exception_type();
    return type != nullptr ? Demangle(type->name()) : "an unknown exception";
  }
}

}  // namespace coil
