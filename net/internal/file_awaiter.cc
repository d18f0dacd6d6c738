#include "coil/net/internal/file_awaiter.h"

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/poller.h"

namespace coil::net::internal {

void FileAwaiter::Arm() noexcept {
  try {
    if (work_->ForRing()) ring_ = task_->loop().loop().GetPoller().Files();
  } catch (...) {  // in the child of a fork
    refused_ = std::current_exception();
    return GrantNextTurn();
  }
  if (ring_ != nullptr && BeginInRing()) {
    task_->loop().BeginExternal();
    return;
  }
  ring_ = nullptr;
  if (!StartThread()) GrantNextTurn();
}

bool FileAwaiter::BeginInRing() noexcept {
  work_->Prepare(*this);
  return ring_->Begin(*this);
}

bool FileAwaiter::StartThread() noexcept {
  try {
    Prepare(task_->loop());
  } catch (...) {
    refused_ = std::current_exception();
    return false;
  }
  refused_ = Submit(task_->loop());
  return refused_ == nullptr;
}

void FileAwaiter::OnDone(int32_t result) noexcept {
  const FileWork::Next next = work_->Take(result);
  if (next == FileWork::Next::kMore && BeginInRing()) return;
  task_->loop().EndExternal();
  ring_ = nullptr;
  partly_ = work_->done() > 0;
  if (next != FileWork::Next::kNothing && StartThread()) return;
  Grant();
}

void FileAwaiter::OnBack(bool abandoned) noexcept {
  Back(task_->loop());
  if (abandoned) refused_ = AbandonedError();
  Grant();
}

bool FileAwaiter::OnCancel() noexcept {
  // The work itself may be in use by the thread: nothing is asked of it.
  if (ring_ == nullptr && !partly_ && TryTakeBack(task_->loop())) {
    wait_ = LeafBase::Wait::kCancelled;
    return true;
  }
  if (work_->CanStop()) {
    work_->RequestStop();
    if (ring_ != nullptr) ring_->AskToStop(*this);
  }
  task_->RequestMustCancel();
  return false;
}

void FileAwaiter::Unlink() noexcept {
  const bool ask = work_->CanStop();
  if (ask) work_->RequestStop();
  if (ring_ == nullptr) return Abort(task_->loop());
  const int32_t result = ring_->Abort(*this, ask);
  task_->loop().EndExternal();
  if (work_->Take(result) != FileWork::Next::kNothing) work_->Run();
}

void FileAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, work_->Verb(), " of ", work_->path(),
                  ring_ != nullptr ? " by the kernel" : " on a thread");
}

}  // namespace coil::net::internal
