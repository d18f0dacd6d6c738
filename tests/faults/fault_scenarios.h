// Small programs over coil's public interface, in which system calls are made
// to fail. Each ends with a value or with an error that says why, and checks
// what it has received: WrongResult is a bug.

#ifndef COIL_TESTS_FAULTS_FAULT_SCENARIOS_H_
#define COIL_TESTS_FAULTS_FAULT_SCENARIOS_H_

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "coil/net/server_options.h"
#include "coil/net/stream_reader.h"
#include "coil/net/stream_writer.h"
#include "coil/task/co.h"
#include "tests/faults/fault_shim.h"

namespace coil_testing {

class WrongResult : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

inline void Check(bool holds, std::string_view what) {
  if (!holds) throw WrongResult(std::string(what));
}

struct FaultScenario {
  const char* name;
  coil::Co<void> (*run)();
  Call missing = Call::kCount;  // of a kernel that does not have it
};

std::vector<FaultScenario> StreamScenarios();
std::vector<FaultScenario> SystemScenarios();
std::vector<FaultScenario> TlsScenarios();

// Sends what it receives back, until the end.
coil::Co<void> EchoBack(coil::net::StreamReader reader,
                        coil::net::StreamWriter writer);
// Three questions to such a server: a line, several pieces at once, and more
// than a system's buffer of a line.
coil::Co<void> AskEcho(coil::net::StreamReader reader,
                       coil::net::StreamWriter writer);
// A server tries again soon when it is out of descriptors.
coil::net::ServerOptions Impatient();

}  // namespace coil_testing

#endif  // COIL_TESTS_FAULTS_FAULT_SCENARIOS_H_
