// tests/examples/program.h
//
// Runs a program and keeps what it prints.

#ifndef COIL_TESTS_EXAMPLES_PROGRAM_H_
#define COIL_TESTS_EXAMPLES_PROGRAM_H_

#include <string>
#include <vector>

namespace coil_testing {

struct ProgramResult {
  int exit_code = -1;  // -1 if it could not be started, or was killed
  std::string output;  // of stdout and stderr
};

// Runs `arguments`, of which the first is a path, with COIL_EXAMPLE_VIRTUAL=1.
ProgramResult RunProgram(const std::vector<std::string>& arguments);

// The text of a file; fails the test if it cannot be read.
std::string ReadFile(const std::string& path);

// A Python of at least 3.11; empty if there is none.
std::string FindPython();

}  // namespace coil_testing

#endif  // COIL_TESTS_EXAMPLES_PROGRAM_H_
