// Two tasks that run at the same time, and their results.

#include <iostream>

#include "coil/task/gather.h"
#include "coil/task/run.h"

coil::Co<int> Square(int n) { co_return n* n; }

coil::Co<int> Main() {
  auto [a, b] = co_await coil::Gather(Square(3), Square(4));
  co_return a + b;
}

int main() { std::cout << coil::Run(Main()) << '\n'; }
