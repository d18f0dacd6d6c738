// Options that are passed as F({.name = value}) within a co_await are trivially
// destructible: g++ 12 destroys such a temporary twice. The lint allows that
// form for the structs that are named here, and for no other.

#include <type_traits>

#include "coil/loop/event_loop.h"
#include "coil/loop/simulation.h"
#include "coil/task/task.h"
#include "coil/task/wait.h"
#include "gtest/gtest.h"

namespace coil {
namespace {

static_assert(std::is_trivially_destructible_v<SimulationOptions>);
static_assert(std::is_trivially_destructible_v<TaskOptions>);
static_assert(std::is_trivially_destructible_v<WaitOptions>);

TEST(OptionsTest, AreTriviallyDestructible) { SUCCEED(); }

}  // namespace
}  // namespace coil
