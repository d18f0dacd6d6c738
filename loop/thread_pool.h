// coil/loop/thread_pool.h
//
// ThreadPool runs jobs that block (file system, getaddrinfo, foreign libraries)
// on threads of its own, so that they do not block a loop. Tasks reach it
// through ToThread() and RunInExecutor(); for work that waits on descriptors
// use the loop.
//
// Example:
//   void WriteInBackground() {
//     coil::ThreadPool pool(4);
//     pool.Submit([] { /* blocking work */ });
//   }  // waits for the job
//
// Ordering: jobs start first in, first out. With one thread they run so, too.
// Cancellation: a job that has not started can be taken back with TryRemove();
//   one that runs cannot be stopped.
// Threads: every member may be called from any thread; jobs run on the pool's.
// Lifetime: the destructor runs what was submitted and waits for it. A job is
//   borrowed from Submit() until its Run() or Abandon() is called, or
//   TryRemove() returns true.
//
// asyncio: concurrent.futures.ThreadPoolExecutor (A172, A173).

#ifndef COIL_LOOP_THREAD_POOL_H_
#define COIL_LOOP_THREAD_POOL_H_

#include <memory>
#include <string_view>

#include "absl/functional/any_invocable.h"
#include "absl/time/time.h"
#include "coil/loop/internal/language.h"

namespace coil {

class ThreadPool {
 public:
  // A unit of work that allocates nothing: derive from it.
  class Job {
   public:
    Job() = default;
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    // On a thread of the pool. The job may die here.
    virtual void Run() noexcept = 0;
    // Instead of Run(), when the pool ends without it. Any thread; may die
    // here.
    virtual void Abandon() noexcept = 0;

   protected:
    ~Job() = default;

   private:
    friend class ThreadPool;
    Job* previous_ = nullptr;
    Job* next_ = nullptr;
    bool queued_ = false;
  };

  // Starts threads when jobs come, at most `threads` of them, named `name` and
  // a number for debuggers and ps. Throws std::invalid_argument if `threads`
  // < 1.
  explicit ThreadPool(int threads, std::string_view name = "coil-pool");
  // Shutdown(absl::InfiniteDuration()). REQUIRES: not called by one of its
  // jobs.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // Throws std::runtime_error after Shutdown(), in a forked child, or if not
  // even one thread can be started; with fewer threads than wanted it goes on.
  void Submit(Job& job);
  // The same for a callable; an exception that it throws goes to the diagnostic
  // sink (coil/loop/diagnostics.h), since nobody waits for it. Throws
  // std::invalid_argument for an empty one.
  void Submit(absl::AnyInvocable<void()> f);

  // Takes back a job that has not started. False if it has started, is done, or
  // was never submitted here; then it runs or has run.
  bool TryRemove(Job& job) noexcept;

  // True in a job of this pool: waiting there for another job may never end.
  bool RunsInThisPool() const noexcept;

  // Refuses new jobs, runs those that are there, and waits until the threads
  // have ended, at most `timeout`. False if they had not; they end by
  // themselves later. REQUIRES: not called by one of its jobs.
  bool Shutdown(absl::Duration timeout = absl::InfiniteDuration());
  // Refuses new jobs, abandons those that have not started, and waits for
  // nothing; nor will the destructor.
  void ShutdownNow() noexcept;

  int MaxThreads() const noexcept;
  // How many threads there are now.
  int Threads() const;
  // How many jobs wait for a thread.
  int Waiting() const;

 private:
  struct State;
  // Shared with the threads, which may outlive the pool after a timeout.
  std::shared_ptr<State> state_;
};

}  // namespace coil

#endif  // COIL_LOOP_THREAD_POOL_H_
