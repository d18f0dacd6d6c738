#include "coil/net/stream_writer.h"

#include <cerrno>
#include <stdexcept>

#include "coil/task/internal/task_state.h"
#include "coil/timers/sleep.h"

namespace coil::net {
namespace {

using internal::StreamRef;

Co<void> DrainStream(StreamRef core) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  if (core->closing()) co_await Yield();
  while (core->WritingPaused() && core->WriteRefused() == 0) {
    co_await core->drain_waiters().Wait("a stream to drain");
  }
  if (const int error = core->WriteRefused()) throw core->WriteError(error);
  if (core->read_error() != 0) throw core->ReadError();
}

Co<void> CloseStream(StreamRef core) {
  core->CheckLoop(co_await coil::internal::ThisTask());
  core->StartClose();
  while (!core->closed()) {
    co_await core->close_waiters().Wait("a stream to send what is queued");
  }
  if (core->HasUnseenWriteError()) throw core->WriteError(core->write_error());
}

}  // namespace

void StreamWriter::WriteSoon(std::string_view data) const {
  Checked()->WriteSoon(data);
}

Co<void> StreamWriter::Drain() const { return DrainStream(Checked()); }

void StreamWriter::SetWriteBufferLimits(size_t high, size_t low) const {
  Checked()->SetWriteLimits(high, low);
}

std::pair<size_t, size_t> StreamWriter::WriteBufferLimits() const {
  return {Checked()->high(), Checked()->low()};
}

void StreamWriter::WriteEof() const { Checked()->WriteEof(); }

Co<void> StreamWriter::Close() const { return CloseStream(Checked()); }

void StreamWriter::Abort() const { Checked()->Abort(); }

void StreamWriter::ThrowEmpty() {
  throw std::runtime_error(
      "StreamWriter: it is empty (default-constructed or moved from)");
}

}  // namespace coil::net
