// Protocols that write down what they are told.

#ifndef COIL_TESTS_NET_TRANSPORT_TESTING_H_
#define COIL_TESTS_NET_TRANSPORT_TESTING_H_

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "coil/loop/diagnostics.h"
#include "coil/net/protocol.h"
#include "coil/net/transport.h"

namespace coil_testing {

inline std::string ErrorText(const std::exception_ptr& error) {
  if (error == nullptr) return "lost";
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return absl::StrCat("lost: ", e.what());
  }
}

// What a protocol was told, and what it does then. Outlives the protocol.
struct Record {
  std::vector<std::string> log;
  std::string data;
  std::shared_ptr<coil::net::Transport> transport;
  bool keep_open = false;
  bool alive = false;
  bool lost = false;
  // Called in the members of these names, if set.
  std::function<void()> on_made, on_data, on_eof, on_pause, on_resume, on_lost;

  std::string Log() const { return absl::StrJoin(log, ", "); }
  int Count(std::string_view entry) const {
    int count = 0;
    for (const std::string& line : log) count += line == entry ? 1 : 0;
    return count;
  }
  static void Call(const std::function<void()>& f) {
    if (f) f();
  }
};
using RecordPtr = std::shared_ptr<Record>;

template <class Base>
class RecordingBase : public Base {
 public:
  explicit RecordingBase(RecordPtr record) : record_(std::move(record)) {
    record_->alive = true;
  }
  ~RecordingBase() override { record_->alive = false; }

  void ConnectionMade(
      std::shared_ptr<coil::net::Transport> transport) override {
    record_->log.push_back("made");
    record_->transport = std::move(transport);
    Record::Call(record_->on_made);
  }
  void ConnectionLost(std::exception_ptr error) override {
    record_->log.push_back(ErrorText(error));
    record_->lost = true;
    Record::Call(record_->on_lost);
  }
  void PauseWriting() override {
    record_->log.push_back("pause");
    Record::Call(record_->on_pause);
  }
  void ResumeWriting() override {
    record_->log.push_back("resume");
    Record::Call(record_->on_resume);
  }
  bool EofReceived() override {
    record_->log.push_back("eof");
    Record::Call(record_->on_eof);
    return record_->keep_open;
  }

 protected:
  RecordPtr record_;
};

class Recorder final : public RecordingBase<coil::net::Protocol> {
 public:
  using RecordingBase::RecordingBase;
  void DataReceived(std::string_view data) override {
    record_->data.append(data);
    if (data.size() <= 100) record_->log.push_back(absl::StrCat("data ", data));
    Record::Call(record_->on_data);
  }
};

// The same with memory of its own, `size` bytes of it.
class BufferedRecorder final
    : public RecordingBase<coil::net::BufferedProtocol> {
 public:
  BufferedRecorder(RecordPtr record, size_t size)
      : RecordingBase(std::move(record)), memory_(size, '\0') {}
  absl::Span<char> GetBuffer(size_t) override {
    Record::Call(on_get);
    return absl::MakeSpan(memory_);
  }
  void BufferUpdated(size_t n) override {
    record_->data.append(memory_, 0, n);
    if (n <= 100) {
      record_->log.push_back(absl::StrCat("buffer ", memory_.substr(0, n)));
    }
    Record::Call(record_->on_data);
  }
  std::function<void()> on_get;

 private:
  std::string memory_;
};

// Collects what goes to the diagnostic sink.
class Diagnostics {
 public:
  Diagnostics() {
    previous_ = coil::SetDiagnosticSink([this](std::string_view text) {
      messages.push_back(std::string(text));
    });
  }
  Diagnostics(const Diagnostics&) = delete;
  Diagnostics& operator=(const Diagnostics&) = delete;
  ~Diagnostics() { coil::SetDiagnosticSink(std::move(previous_)); }
  std::vector<std::string> messages;

 private:
  coil::DiagnosticSink previous_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_TRANSPORT_TESTING_H_
