// coil/net/internal/resolver_job.h
//
// A call of the C library that asks for names and may block for seconds:
// getaddrinfo() and getnameinfo(), on a few threads of their own, so that jobs
// of the default executor cannot keep a connection from being made. Shared by
// the thread that makes the call and the tasks that wait for it: whoever is
// last deletes it.
//
// Cancellation: who waits is let go at once; the thread finishes by itself,
//   also after the loop has ended.
// Threads: Call() is on a thread, everything else on the loop's.
// Lifetime: counted.

#ifndef COIL_NET_INTERNAL_RESOLVER_JOB_H_
#define COIL_NET_INTERNAL_RESOLVER_JOB_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coil/loop/internal/inbox.h"
#include "coil/loop/internal/loop_core.h"
#include "coil/loop/thread_pool.h"
#include "coil/net/addr_info.h"
#include "coil/net/internal/wait_list.h"
#include "coil/task/co.h"
#include "coil/task/internal/future_core.h"

namespace coil::net::internal {

class ResolverJob : private ThreadPool::Job {
 public:
  // Gives it to a thread. Throws what ThreadPool::Submit() throws.
  void Start();
  bool Done() const { return done_; }

  void Ref() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void Unref() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // Waits until `job` is done. When the last task that waits is cancelled, a
  // job that no thread has begun with is taken back: it will never be done.
  static Co<void> Wait(coil::internal::RefPtr<ResolverJob> job);

 protected:
  // `text` is "the address of host", for dumps and reports.
  ResolverJob(coil::internal::LoopCore& loop, std::string text)
      : loop_(&loop),
        remote_(loop.remote()),
        post_(*this),
        text_(std::move(text)) {}
  virtual ~ResolverJob() = default;

  // On a thread: makes the call and keeps what came of it.
  virtual void Call() noexcept = 0;
  // Instead, if the threads have ended.
  virtual void Refused() noexcept = 0;
  // On the loop's thread, before those who wait are woken.
  virtual void OnDone() noexcept {}
  // Nobody waits any more and no thread has begun with it.
  virtual void OnTakenBack() noexcept {}

 private:
  class Post final : public coil::internal::PostNode {
   public:
    explicit Post(ResolverJob& job) : job_(job) {}
    void Deliver(coil::internal::ReadyQueue&) noexcept override {
      job_.Finish();
    }
    void Abandon() noexcept override { job_.Unref(); }

   private:
    ResolverJob& job_;
  };
  class Interest;

  void Run() noexcept override;
  void Abandon() noexcept override;
  void Return() noexcept;
  void Finish() noexcept;
  void ReportIfSlow() const noexcept;
  void Leave() noexcept;

  coil::internal::LoopCore* loop_;
  std::shared_ptr<coil::internal::LoopRemote> remote_;
  Post post_;
  ThreadPool* pool_ = nullptr;
  WaitList waiters_;
  int interested_ = 0;
  bool done_ = false;
  std::atomic<int> references_{0};
  int64_t took_ = 0;  // nanoseconds
  std::string text_;
};

// One call of getaddrinfo(). An empty host or service is a null pointer.
class LookupJob : public ResolverJob {
 public:
  LookupJob(coil::internal::LoopCore& loop, std::string host,
            std::string service, const AddrInfoOptions& options);

  // Before Start(): if there is no such name, ask again with flags of zero.
  void RetryWithoutFlags() { retry_without_flags_ = true; }

  // Once it is done: an EAI_*, zero if there are results.
  int error() const { return error_; }
  const std::string& host() const { return host_; }
  std::vector<AddrInfo>& results() { return results_; }
  const std::vector<AddrInfo>& results() const { return results_; }
  // Throws ResolveError if there is an error.
  void Check() const;

 protected:
  ~LookupJob() override = default;

 private:
  void Call() noexcept override;
  void Refused() noexcept override;
  void Keep(const addrinfo* list);

  std::string host_;
  std::string service_;
  AddrInfoOptions options_;
  bool retry_without_flags_ = false;
  int error_ = 0;
  int system_error_ = 0;
  std::vector<AddrInfo> results_;
};

// Throws std::invalid_argument for what cannot be the name of a host, other
// than an empty one.
void CheckHostText(const std::string& host);

}  // namespace coil::net::internal

#endif  // COIL_NET_INTERNAL_RESOLVER_JOB_H_
