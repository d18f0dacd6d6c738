// A plain event loop, without coroutines: callbacks and a timer.

#include <iostream>

#include "absl/time/time.h"
#include "coil/loop/event_loop.h"

int main() {
  coil::EventLoop loop;
  loop.CallSoon([] { std::cout << "soon, "; });
  loop.CallLater(absl::Milliseconds(5), [&loop] {
    std::cout << "later\n";
    loop.Stop();
  });
  loop.RunForever();
}
