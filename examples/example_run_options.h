// examples/example_run_options.h
//
// How the examples run: as any program does, unless COIL_EXAMPLE_VIRTUAL=1 is
// in the environment. Then time is virtual: the seconds that they sleep take
// none, and their tests need not wait. A program of your own calls
// coil::Run(Main()).

#ifndef COIL_EXAMPLES_EXAMPLE_RUN_OPTIONS_H_
#define COIL_EXAMPLES_EXAMPLE_RUN_OPTIONS_H_

#include <cstdlib>
#include <string_view>

#include "coil/loop/simulation.h"
#include "coil/task/run.h"

inline coil::RunOptions ExampleRunOptions() {
  static constexpr coil::SimulationOptions kVirtual;
  const char* wish = std::getenv("COIL_EXAMPLE_VIRTUAL");
  coil::RunOptions options;
  if (wish != nullptr && std::string_view(wish) == "1") {
    options.simulation = &kVirtual;
  }
  return options;
}

#endif  // COIL_EXAMPLES_EXAMPLE_RUN_OPTIONS_H_
