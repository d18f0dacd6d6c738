#include "coil/net/signal_set.h"

#include <algorithm>
#include <stdexcept>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "coil/task/internal/task_core.h"

namespace coil::net {

using internal::NextSignalAwaiter;

SignalSet::SignalSet(std::vector<int> signals)
    : loop_(&coil::internal::RequireLoop("SignalSet")) {
  if (signals.empty()) {
    throw std::invalid_argument("SignalSet: there is no signal in it");
  }
  std::sort(signals.begin(), signals.end());
  signals.erase(std::unique(signals.begin(), signals.end()), signals.end());
  pending_.reserve(signals.size());
  signals_.reserve(signals.size());
  try {
    for (const int signal : signals) {
      loop_->signals().Subscribe(*loop_, signal, this);
      signals_.push_back(signal);
    }
  } catch (...) {
    Leave();
    throw;
  }
}

SignalSet::~SignalSet() {
  Leave();
  while (first_ != nullptr) {
    NextSignalAwaiter* awaiter = first_;
    Unlink(awaiter);
    awaiter->set_ = nullptr;
    // One that has got its signal keeps it.
    if (awaiter->Armed()) awaiter->Finish();
  }
}

void SignalSet::Leave() noexcept {
  if (loop_ == nullptr) return;
  for (const int signal : signals_) loop_->signals().Unsubscribe(signal, this);
  loop_ = nullptr;
}

void SignalSet::OnSignal(int signal) noexcept {
  Deliver(signal, /*in_front=*/false);
}

void SignalSet::Deliver(int signal, bool in_front) noexcept {
  for (NextSignalAwaiter* awaiter = first_; awaiter != nullptr;
       awaiter = awaiter->next_) {
    if (!awaiter->Armed()) continue;
    awaiter->signal_ = signal;
    awaiter->Finish();
    return;
  }
  if (std::find(pending_.begin(), pending_.end(), signal) != pending_.end()) {
    return;
  }
  pending_.insert(in_front ? pending_.begin() : pending_.end(), signal);
}

void SignalSet::Link(NextSignalAwaiter* awaiter) noexcept {
  awaiter->previous_ = last_;
  awaiter->next_ = nullptr;
  (last_ != nullptr ? last_->next_ : first_) = awaiter;
  last_ = awaiter;
}

void SignalSet::Unlink(NextSignalAwaiter* awaiter) noexcept {
  (awaiter->previous_ != nullptr ? awaiter->previous_->next_ : first_) =
      awaiter->next_;
  (awaiter->next_ != nullptr ? awaiter->next_->previous_ : last_) =
      awaiter->previous_;
}

namespace internal {

void NextSignalAwaiter::Validate() const {
  if (set_->loop_ != &task_->loop()) {
    coil::internal::ThrowWrongLoop("SignalSet");
  }
}

bool NextSignalAwaiter::Ready() noexcept {
  if (set_->pending_.empty()) return false;
  signal_ = set_->pending_.front();
  set_->pending_.erase(set_->pending_.begin());
  // Not linked: what was taken is returned in the same step.
  set_ = nullptr;
  return true;
}

void NextSignalAwaiter::Arm() noexcept { set_->Link(this); }

void NextSignalAwaiter::Unlink() noexcept {
  if (set_ != nullptr) set_->Unlink(this);
}

void NextSignalAwaiter::GiveBack() noexcept {
  if (set_ == nullptr) return;
  set_->Unlink(this);
  if (signal_ != 0) set_->Deliver(signal_, /*in_front=*/true);
}

int NextSignalAwaiter::Take() {
  if (signal_ == 0) {
    throw std::runtime_error(
        "SignalSet: it was destroyed while a task waited in Next()");
  }
  if (set_ != nullptr) set_->Unlink(this);
  return signal_;
}

void NextSignalAwaiter::DescribeWait(std::string* out) const {
  absl::StrAppend(out, "signal ", absl::StrJoin(set_->signals_, ", "));
}

}  // namespace internal
}  // namespace coil::net
