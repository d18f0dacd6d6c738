#include "coil/net/internal/server_state.h"

#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/net/internal/socket_stream.h"
#include "coil/task/errors.h"
#include "coil/task/task.h"

namespace coil::net::internal {

// A handler that runs, or will; lives in the frame of its task.
class ServerState::RunningHandler final : public coil::internal::PoolAllocated {
 public:
  explicit RunningHandler(ServerState& server)
      : server_(ServerRef::Share(&server)), next_(server.first_handler_) {
    if (next_ != nullptr) next_->previous_ = this;
    server.first_handler_ = this;
  }
  RunningHandler(const RunningHandler&) = delete;
  RunningHandler& operator=(const RunningHandler&) = delete;
  ~RunningHandler() {
    (previous_ != nullptr ? previous_->next_ : server_->first_handler_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    if (!server_->HasHandlers()) server_->waiters_.WakeAll();
  }

  ServerState& server() const { return *server_; }
  RunningHandler* next() const { return next_; }
  coil::internal::TaskCore* task = nullptr;

 private:
  ServerRef server_;
  RunningHandler* previous_ = nullptr;
  RunningHandler* next_;
};

ServerState::ServerState(Handler handler, size_t limit,
                         std::source_location where)
    : handler_(std::move(handler)),
      limit_(limit),
      where_(where),
      loop_(&coil::internal::RequireLoop("StartServer")),
      context_(Context::CopyCurrent()) {}

void ServerState::AddSocket(Socket socket, int backlog, absl::Duration retry) {
  AcceptSink& sink = *this;
  listeners_.push_back(
      std::make_unique<Listener>(std::move(socket), sink, backlog, retry));
}

void ServerState::StartServing() {
  for (const auto& listener : listeners_) listener->Start();
  serving_ = true;
}

void ServerState::Close() noexcept {
  if (closed_) return;
  closed_ = true;
  for (const auto& listener : listeners_) listener->Close();
  waiters_.WakeAll();
}

void ServerState::OnAccept(Socket socket, const Address& peer) noexcept {
  try {
    StreamRef core = StreamRef::Share(new StreamCore(
        std::make_unique<SocketStream>(std::move(socket), peer), limit_));
    core->JoinList(this);
    auto running = std::make_unique<RunningHandler>(*this);
    RunningHandler& handler = *running;
    // Each handler has a copy of what StartServer() saw, as a task has.
    std::optional<Context> copy;
    TaskOptions options;
    if (context_.Size() != 0) options.context = &copy.emplace(context_.Copy());
    Task<void> task = coil::internal::Spawn(
        *loop_, Serve(std::move(running), std::move(core)), options, where_);
    handler.task = static_cast<coil::internal::TaskCore*>(&task.Checked());
  } catch (...) {
    ExceptionContext context("a server could not serve a connection");
    context.exception = std::current_exception();
    loop_->Report(context);
  }
}

Co<void> ServerState::Serve(std::unique_ptr<RunningHandler> running,
                            StreamRef core) {
  std::exception_ptr error;
  try {
    co_await running->server().handler_(StreamReader(core), StreamWriter(core));
  } catch (const CancelledError&) {
    core->StartClose();
    throw;
  } catch (...) {
    error = std::current_exception();
  }
  if (error == nullptr) co_return;
  ExceptionContext context("the handler of a connection has failed");
  context.exception = error;
  context.handle = absl::StrCat("connection from ", core->PeerText());
  running->server().loop().Report(context);
  core->StartClose();
}

void ServerState::OnRemoved() noexcept {
  if (Idle()) waiters_.WakeAll();
  Unref();
}

void ServerState::CloseClients() noexcept {
  for (StreamCore* core = First(); core != nullptr;) {
    StreamCore* next = core->NextInList();
    core->StartClose();
    core = next;
  }
}

void ServerState::AbortClients() noexcept {
  while (StreamCore* core = First()) core->Abort();
}

void ServerState::CancelHandlers() {
  for (RunningHandler* handler = first_handler_; handler != nullptr;
       handler = handler->next()) {
    handler->task->Cancel("the server is shutting down");
  }
}

bool ServerState::IsHandler(
    const coil::internal::TaskCore* task) const noexcept {
  for (RunningHandler* handler = first_handler_; handler != nullptr;
       handler = handler->next()) {
    if (handler->task == task) return true;
  }
  return false;
}

}  // namespace coil::net::internal
