#include "coil/net/internal/server_state.h"

#include <exception>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/event_loop.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/handshake.h"
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
    EndHandshake();
    (previous_ != nullptr ? previous_->next_ : server_->first_handler_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
    if (!server_->HasHandlers()) server_->waiters_.WakeAll();
  }

  ServerState& server() const { return *server_; }
  RunningHandler* next() const { return next_; }
  coil::internal::TaskCore* task = nullptr;

  void BeginHandshake(StreamRef core) noexcept {
    while (server_->handshakes_ >= server_->max_handshakes_) {
      server_->first_handshake_->GiveHandshakeUp();
    }
    handshaking_ = std::move(core);
    earlier_ = server_->last_handshake_;
    (earlier_ != nullptr ? earlier_->later_ : server_->first_handshake_) = this;
    server_->last_handshake_ = this;
    ++server_->handshakes_;
  }
  // Idempotent.
  void EndHandshake() noexcept {
    if (!handshaking_) return;
    (earlier_ != nullptr ? earlier_->later_ : server_->first_handshake_) =
        later_;
    (later_ != nullptr ? later_->earlier_ : server_->last_handshake_) =
        earlier_;
    --server_->handshakes_;
    handshaking_ = StreamRef();
  }

 private:
  // Its handler hears of it as of any other end of the connection.
  void GiveHandshakeUp() noexcept {
    const StreamRef core = handshaking_;
    EndHandshake();
    // One that has just ended, of which the handler has not heard yet, is in
    // nobody's way.
    if (!core->stream().Secure()->HandshakeEnded()) core->Abort();
  }

  ServerRef server_;
  RunningHandler* previous_ = nullptr;
  RunningHandler* next_;
  StreamRef handshaking_;  // while it is
  RunningHandler* earlier_ = nullptr;
  RunningHandler* later_ = nullptr;
};

ServerState::ServerState(Handler handler, size_t limit,
                         std::shared_ptr<const SecureLayer> tls,
                         SecureOptions tls_options, std::source_location where)
    : handler_(std::move(handler)),
      limit_(limit),
      tls_(std::move(tls)),
      tls_options_(std::move(tls_options)),
      where_(where),
      loop_(&coil::internal::RequireLoop("StartServer")),
      context_(Context::CopyCurrent()) {}

void ServerState::AddSocket(Socket socket, int backlog, absl::Duration retry,
                            SocketFile file) {
  AcceptSink& sink = *this;
  listeners_.push_back(std::make_unique<Listener>(
      std::move(socket), sink, backlog, retry, std::move(file)));
}

void ServerState::AddAddress(Network& network, const Address& address,
                             int backlog, bool reuse_port) {
  StreamSink& sink = *this;
  listeners_.push_back(network.Bind(address, backlog, reuse_port, sink));
}

void ServerState::StartServing() {
  try {
    for (const auto& listener : listeners_) listener->Start();
  } catch (...) {
    Close();  // not half of it
    throw;
  }
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
    Accept(MakeSocketStream(std::move(socket), peer));
  } catch (...) {
    ReportFailure();
  }
}

void ServerState::OnStream(std::unique_ptr<ByteStream> stream) noexcept {
  try {
    Accept(std::move(stream));
  } catch (...) {
    ReportFailure();
  }
}

// In a handler of an exception.
void ServerState::ReportFailure() noexcept {
  ExceptionContext context("a server could not serve a connection");
  context.exception = std::current_exception();
  loop_->Report(context);
}

void ServerState::Accept(std::unique_ptr<ByteStream> stream) {
  if (tls_ != nullptr) {
    std::unique_ptr<SecureStream> secure = tls_->NewStream(tls_options_);
    secure->Attach(std::move(stream), {});
    stream = std::move(secure);
  }
  StreamRef core = StreamRef::Share(new StreamCore(std::move(stream), limit_));
  core->JoinList(this);
  auto running = std::make_unique<RunningHandler>(*this);
  RunningHandler& handler = *running;
  if (tls_ != nullptr) handler.BeginHandshake(core);
  // Each handler has a copy of what StartServer() saw, as a task has.
  std::optional<Context> copy;
  TaskOptions options;
  if (context_.Size() != 0) options.context = &copy.emplace(context_.Copy());
  Task<void> task = coil::internal::Spawn(
      *loop_, Serve(std::move(running), std::move(core)), options, where_);
  handler.task = static_cast<coil::internal::TaskCore*>(&task.Checked());
}

Co<void> ServerState::Handle(RunningHandler& running, StreamRef core) {
  ServerState& server = running.server();
  if (core->stream().Secure() != nullptr) {
    bool refused = false;
    try {
      co_await HandshakeAwaiter(core);
    } catch (const OsError&) {
      // Whoever connects without TLS, or does not like our certificate, is no
      // concern of the program's.
      if (server.loop().debug()) throw;
      refused = true;
    }
    running.EndHandshake();
    if (refused) {
      core->Abort();
      co_return;
    }
  }
  co_await server.handler_(StreamReader(core), StreamWriter(core));
}

Co<void> ServerState::Serve(std::unique_ptr<RunningHandler> running,
                            StreamRef core) {
  std::exception_ptr error;
  try {
    co_await Handle(*running, core);
  } catch (const CancelledError&) {
    core->StartClose();
    throw;
  } catch (const coil::internal::LeavesLoop&) {
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
  for (StreamCore* core = First(); core != nullptr;) {
    StreamCore* next = core->NextInList();
    core->Abort();
    core = next;
  }
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
