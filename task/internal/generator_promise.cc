#include "coil/task/internal/generator_promise.h"

#include <stdexcept>

namespace coil::internal {

void ThrowGeneratorRunning(bool closing) {
  throw std::runtime_error(
      closing ? "AsyncGenerator: AClose(): asynchronous generator is already "
                "running; close it when its Next() has returned"
              : "AsyncGenerator: Next(): asynchronous generator is already "
                "running; one Next() at a time");
}

void ThrowGeneratorIgnoredExit() {
  throw std::runtime_error(
      "AsyncGenerator: AClose(): asynchronous generator ignored GeneratorExit; "
      "after GeneratorExit was thrown from a co_yield, a body does not yield "
      "again");
}

}  // namespace coil::internal
