// coil/loop/diagnostics.h
//
// The diagnostic sink takes the messages that coil has for people and not for
// the program: errors that nobody retrieved, slow callbacks, leaked objects.
// One sink serves the process; at first it writes each message to stderr.
//
// Example:
//   void Quiet() {
//     coil::SetDiagnosticSink([](std::string_view) {});
//   }
//
// Ordering: messages of one thread arrive in their order.
// Cancellation: does not apply.
// Threads: any. Calls of the sink never overlap; a message that the sink itself
//   causes goes to stderr. The sink may replace itself.
// Lifetime: the sink is kept until it is replaced, at the end of the process
//   too.
//
// asyncio: the logger "asyncio" (A185).

#ifndef COIL_LOOP_DIAGNOSTICS_H_
#define COIL_LOOP_DIAGNOSTICS_H_

#include <exception>
#include <string>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "coil/loop/internal/language.h"

namespace coil {

using DiagnosticSink = absl::AnyInvocable<void(std::string_view message)>;

// Replaces the sink; null restores the default, one write to stderr for each
// message. Returns the sink that was there, null if it was the default.
DiagnosticSink SetDiagnosticSink(DiagnosticSink sink);

// Gives `message` (a line or more, no newline at its end) to the sink. Never
// throws: a sink that does is replaced by stderr for that message.
void WriteDiagnostic(std::string_view message) noexcept;

// "std::runtime_error: no such thing" for an exception, with its type's name.
std::string DescribeException(const std::exception_ptr& exception);

}  // namespace coil

#endif  // COIL_LOOP_DIAGNOSTICS_H_
