// coil/net/internal/file_awaiter.h
//
// Waits until a FileWork is done: in the ring of the loop's poller where it has
// one, otherwise on a thread of the loop's pool.
//
// Cancellation: work that no thread has begun with is taken back. Otherwise the
//   task stays suspended until the kernel and the thread have let go: what can
//   stop half way is asked to, a write is finished.
// Threads: the loop's thread only.
// Lifetime: refers to the work, which lies in the same frame. A frame that is
//   destroyed waits.

#ifndef COIL_NET_INTERNAL_FILE_AWAITER_H_
#define COIL_NET_INTERNAL_FILE_AWAITER_H_

#include <cstdint>
#include <exception>
#include <string>
#include <utility>

#include "coil/loop/internal/file_ring.h"
#include "coil/net/internal/file_work.h"
#include "coil/task/internal/leaf_awaiter.h"
#include "coil/task/internal/thread_job.h"

namespace coil::net::internal {

class FileAwaiter final : public coil::internal::LeafAwaiter<FileAwaiter>,
                          private coil::internal::ThreadAwaiterBase,
                          private coil::internal::FileRing::Operation {
 public:
  explicit FileAwaiter(FileWork& work) noexcept
      : ThreadAwaiterBase(/*pool=*/nullptr, /*with_context=*/false),
        work_(&work) {}
  FileAwaiter(FileAwaiter&& other) noexcept
      : LeafAwaiter(std::move(other)),
        ThreadAwaiterBase(std::move(other)),
        Operation(),
        work_(other.work_) {}
  ~FileAwaiter() {
    Dispose();
    Drop();
  }

  bool Ready() noexcept { return false; }
  void Arm() noexcept;
  // The frame goes away with the work under way.
  void Unlink() noexcept;
  void GiveBack() noexcept {}
  // What came of it is in the work. Throws if there was no thread for it.
  void Take() {
    if (refused_ != nullptr) std::rethrow_exception(refused_);
  }

  bool OnCancel() noexcept override;
  void DescribeWait(std::string* out) const override;

 private:
  bool BeginInRing() noexcept;
  bool StartThread() noexcept;
  void OnDone(int32_t result) noexcept override;
  void Call() noexcept override { work_->Run(); }
  void OnBack(bool abandoned) noexcept override;

  FileWork* work_;
  coil::internal::FileRing* ring_ = nullptr;  // null: it is on a thread
  bool partly_ = false;  // done by the ring before a thread had it
  std::exception_ptr refused_;
};

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_FILE_AWAITER_H_
