// Programs that this project has not written, to talk to.

#ifndef COIL_TESTS_PEERS_PEER_TESTING_H_
#define COIL_TESTS_PEERS_PEER_TESTING_H_

#include <unistd.h>

#include <optional>
#include <string>

#include "coil/net/subprocess.h"
#include "coil/task/co.h"
#include "gtest/gtest.h"
#include "tests/net/tls/tls_testing.h"

namespace coil_testing {

// Where it is; empty if it is not installed.
inline std::string FindProgram(const std::string& name) {
  for (const char* folder : {"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/",
                             "/usr/local/bin/", "/usr/local/sbin/"}) {
    if (::access((folder + name).c_str(), X_OK) == 0) return folder + name;
  }
  return "";
}

// At the beginning of a test. COIL_BAZELW_PEERS=1 makes ./bazelw install them.
#define COIL_NEEDS_PROGRAM(name)                   \
  if (::coil_testing::FindProgram(name).empty()) { \
    GTEST_SKIP() << name << " is not installed";   \
  }                                                \
  static_assert(true, "")

// Reads lines until one holds `word`; what comes behind it there.
inline coil::Co<std::string> LineWith(coil::net::StreamReader reader,
                                      std::string word) {
  std::string seen;
  while (std::optional<std::string> line = co_await reader.Next()) {
    const size_t at = line->find(word);
    if (at != std::string::npos) {
      while (!line->empty() && line->back() == '\n') line->pop_back();
      co_return line->substr(at + word.size());
    }
    seen += *line;
  }
  ADD_FAILURE() << "no \"" << word << "\" in\n" << seen;
  co_return "";
}

// Lines, so that what was said is told apart from where calls begin and end.
inline std::string SomeText(size_t lines) {
  std::string text;
  for (size_t i = 0; i < lines; ++i) {
    text += "line " + std::to_string(i) + " of what is sent\n";
  }
  return text;
}

}  // namespace coil_testing

#endif  // COIL_TESTS_PEERS_PEER_TESTING_H_
