// A name server in the place of getaddrinfo().

#ifndef COIL_TESTS_NET_NAMES_H_
#define COIL_TESTS_NET_NAMES_H_

#include <netdb.h>

#include <cerrno>
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "coil/loop/internal/socket_calls.h"

namespace coil_testing {

// Knows the names that it was told, and answers when it may. One at a time; it
// is in force while it lives.
class Names {
 public:
  Names() : scope_(Table()) {}
  // No thread may ask any more.
  ~Names() {
    Open();
    std::unique_lock<std::mutex> lock(state_.mutex);
    state_.changed.wait(lock, [this] { return state_.inside == 0; });
    state_.known.clear();
    state_.error = state_.system_error = state_.asked = 0;
  }

  void Tell(const std::string& host, std::vector<std::string> addresses) {
    std::lock_guard<std::mutex> lock(state_.mutex);
    state_.known[host] = std::move(addresses);
  }
  // From now on there is no answer but this EAI_*; zero ends that.
  void Fail(int error, int system_error = 0) {
    std::lock_guard<std::mutex> lock(state_.mutex);
    state_.error = error;
    state_.system_error = system_error;
  }
  // Who asks waits until Open().
  void Close() {
    std::lock_guard<std::mutex> lock(state_.mutex);
    state_.open = false;
  }
  void Open() {
    std::lock_guard<std::mutex> lock(state_.mutex);
    state_.open = true;
    state_.changed.notify_all();
  }
  // How many questions have come, and how many of them wait.
  int Asked() {
    std::lock_guard<std::mutex> lock(state_.mutex);
    return state_.asked;
  }
  int Inside() {
    std::lock_guard<std::mutex> lock(state_.mutex);
    return state_.inside;
  }

 private:
  struct State {
    std::mutex mutex;
    std::condition_variable changed;
    std::map<std::string, std::vector<std::string>> known;
    int error = 0;
    int system_error = 0;
    bool open = true;
    int asked = 0;
    int inside = 0;
  };

  // The threads outlive each test, and look at the table once more when they
  // have their answer: it and the state stay.
  static State& The() {
    static auto* const state = new State;
    return *state;
  }
  static const coil::internal::SocketTable* Table() {
    static const auto* const table = [] {
      auto* made =
          new coil::internal::SocketTable(coil::internal::kRealSocketCalls);
      made->getaddrinfo = &Answer;
      return made;
    }();
    return table;
  }

  static int Answer(const char* host, const char* service,
                    const addrinfo* hints, addrinfo** result) {
    State& state = The();
    std::unique_lock<std::mutex> lock(state.mutex);
    ++state.asked;
    ++state.inside;
    state.changed.wait(lock, [&state] { return state.open; });
    const int error = AnswerNow(state, host, service, hints, result);
    --state.inside;
    state.changed.notify_all();
    return error;
  }
  static int AnswerNow(const State& state, const char* host,
                       const char* service, const addrinfo* hints,
                       addrinfo** result) {
    if (state.error != 0) {
      errno = state.system_error;
      return state.error;
    }
    const auto found = state.known.find(host);
    if (found == state.known.end()) return EAI_NONAME;
    addrinfo* list = nullptr;
    for (auto address = found->second.rbegin(); address != found->second.rend();
         ++address) {
      addrinfo wanted = *hints;
      wanted.ai_flags = AI_NUMERICHOST;
      addrinfo* one = nullptr;
      if (::getaddrinfo(address->c_str(), service, &wanted, &one) != 0) {
        continue;  // of another family
      }
      addrinfo* last = one;
      while (last->ai_next != nullptr) last = last->ai_next;
      last->ai_next = list;
      list = one;
    }
    *result = list;
    return list != nullptr ? 0 : EAI_ADDRFAMILY;
  }

  State& state_ = The();
  coil::internal::ScopedSocketCalls scope_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_NAMES_H_
