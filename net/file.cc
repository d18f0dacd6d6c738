#include "coil/net/file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coil/loop/internal/syscalls.h"
#include "coil/loop/os_error.h"
#include "coil/net/internal/file_awaiter.h"
#include "coil/net/internal/file_work.h"
#include "coil/sync/rw_lock.h"
#include "coil/task/errors.h"

namespace coil::net {

namespace internal {

// What the handles and the operations of a file share.
struct FileCore {
  explicit FileCore(std::string path_in) : path(std::move(path_in)) {}
  FileCore(const FileCore&) = delete;
  FileCore& operator=(const FileCore&) = delete;
  ~FileCore() { CloseNow(); }

  void CloseNow() noexcept {
    coil::internal::CloseDescriptor(std::exchange(fd, -1));
  }

  const std::string path;
  int fd = -1;
  bool appends = false;
  bool closing = false;
  int users = 0;  // operations in line
  int64_t position = 0;
  RwLock line;
};

}  // namespace internal

namespace {

using internal::FileAwaiter;
using internal::FileCore;
using internal::FileFacts;
using internal::FileWork;
using CorePtr = std::shared_ptr<FileCore>;

// Asked for at first where it is not known how much there is.
constexpr size_t kFirstPiece = size_t{64} << 10;

constexpr uint64_t kMostOffset = std::numeric_limits<int64_t>::max();

int64_t CheckedOffset(const char* what, uint64_t offset, uint64_t size) {
  if (offset > kMostOffset || size > kMostOffset - offset) {
    throw std::invalid_argument(absl::StrCat(
        "File::", what, ": no file is so long that it has the offset ", offset,
        size == 0 ? "" : " and that many bytes behind it"));
  }
  return static_cast<int64_t>(offset);
}

// One operation in line. The last one of a file that is to be closed, and is
// not because whoever wanted it was cancelled, does that.
class User {
 public:
  explicit User(FileCore& file) noexcept : file_(file) { ++file_.users; }
  User(const User&) = delete;
  User& operator=(const User&) = delete;
  ~User() {
    if (--file_.users == 0 && file_.closing) file_.CloseNow();
  }

 private:
  FileCore& file_;
};

// ---- reading, in turn

Co<size_t> Fill(FileCore& file, char* out, size_t size, int64_t offset) {
  if (size == 0) co_return 0;
  FileWork work(FileWork::Kind::kRead, file.path, file.fd);
  work.bytes = out;
  work.size = size;
  work.offset = offset;
  do {
    co_await FileAwaiter(work);
  } while (work.GoesOn());
  work.Check();
  co_return work.done();
}

Co<int64_t> AskSize(FileCore& file) {
  FileWork work(FileWork::Kind::kSize, file.path, file.fd);
  do {
    co_await FileAwaiter(work);
  } while (work.GoesOn());
  work.Check();
  co_return work.file_size();
}

Co<std::string> ReadUpTo(FileCore& file, size_t most, int64_t offset) {
  std::string data;
  size_t room = std::min(most, kFirstPiece);
  for (;;) {
    const size_t before = data.size();
    data.resize(before + room);
    const size_t n = co_await Fill(file, data.data() + before, room,
                                   offset + static_cast<int64_t>(before));
    data.resize(before + n);
    if (n < room || data.size() == most) co_return data;
    room = data.size();
    if (before == 0) {
      // One byte more than there should be, to see its end.
      const int64_t rest = co_await AskSize(file) - offset -
                           static_cast<int64_t>(data.size()) + 1;
      if (rest > 0) room = static_cast<size_t>(rest);
    }
    room = std::min(room, most - data.size());
  }
}

Co<std::string> ReadHere(CorePtr file, size_t most) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  std::string data = co_await ReadUpTo(*file, most, file->position);
  file->position += static_cast<int64_t>(data.size());
  co_return data;
}

Co<size_t> FillHere(CorePtr file, absl::Span<char> out) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  const size_t n = co_await Fill(*file, out.data(), out.size(), file->position);
  file->position += static_cast<int64_t>(n);
  co_return n;
}

Co<std::string> ReadThere(CorePtr file, size_t most, int64_t offset) {
  const User user(*file);
  const RwLock::ReadGuard turn = co_await file->line.AcquireRead();
  co_return co_await ReadUpTo(*file, most, offset);
}

Co<size_t> FillThere(CorePtr file, absl::Span<char> out, int64_t offset) {
  const User user(*file);
  const RwLock::ReadGuard turn = co_await file->line.AcquireRead();
  co_return co_await Fill(*file, out.data(), out.size(), offset);
}

Co<std::string> ReadAllOf(CorePtr file, size_t n) {
  std::string data = co_await ReadHere(std::move(file), n);
  if (data.size() < n) throw IncompleteReadError(std::move(data), n, "file");
  co_return data;
}

// ---- writing, in turn

// Moves the position behind what was written, on every way out.
class Advance {
 public:
  Advance(FileCore& file, const FileWork& work) : file_(file), work_(work) {}
  Advance(const Advance&) = delete;
  Advance& operator=(const Advance&) = delete;
  ~Advance() {
    if (work_.done() == 0) return;
    if (!file_.appends) {
      file_.position += static_cast<int64_t>(work_.done());
      return;
    }
    // Others may append, too: the system knows where.
    const off_t end = ::lseek(file_.fd, 0, SEEK_CUR);
    if (end >= 0) file_.position = end;
  }

 private:
  FileCore& file_;
  const FileWork& work_;
};

Co<void> WriteHere(CorePtr file, std::string_view data) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  if (data.empty()) co_return;
  FileWork work(FileWork::Kind::kWrite, file->path, file->fd);
  work.bytes = const_cast<char*>(data.data());  // they are not changed
  work.size = data.size();
  work.offset = file->position;
  work.appends = file->appends;
  const Advance advance(*file, work);
  co_await FileAwaiter(work);
  work.Check();
}

Co<void> WriteThere(CorePtr file, std::string_view data, int64_t offset) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  if (data.empty()) co_return;
  FileWork work(FileWork::Kind::kWrite, file->path, file->fd);
  work.bytes = const_cast<char*>(data.data());
  work.size = data.size();
  work.offset = offset;
  co_await FileAwaiter(work);
  work.Check();
}

// ---- the rest

Co<uint64_t> SeekTo(CorePtr file, int64_t offset, SeekFrom from) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  int64_t base = 0;
  if (from == SeekFrom::kCurrent) base = file->position;
  if (from == SeekFrom::kEnd) base = co_await AskSize(*file);
  int64_t position = 0;
  if (__builtin_add_overflow(base, offset, &position) || position < 0) {
    throw std::invalid_argument(absl::StrCat(
        "File::Seek: ", offset, " from ", base,
        position < 0 && offset < 0 ? " lies before the start of the file"
                                   : " is more than any file is long"));
  }
  file->position = position;
  co_return static_cast<uint64_t>(position);
}

Co<uint64_t> SizeOf(CorePtr file) {
  const User user(*file);
  const RwLock::ReadGuard turn = co_await file->line.AcquireRead();
  co_return static_cast<uint64_t>(co_await AskSize(*file));
}

// A sync or a truncate.
Co<void> Do(CorePtr file, FileWork::Kind kind, size_t size) {
  const User user(*file);
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  FileWork work(kind, file->path, file->fd);
  work.size = size;
  do {
    co_await FileAwaiter(work);
  } while (work.GoesOn());
  work.Check();
}

// Forgets a descriptor that is closed, on every way out.
class Forget {
 public:
  Forget(FileCore& file, const FileWork& work) : file_(file), work_(work) {}
  Forget(const Forget&) = delete;
  Forget& operator=(const Forget&) = delete;
  ~Forget() {
    if (work_.closed()) file_.fd = -1;
  }

 private:
  FileCore& file_;
  const FileWork& work_;
};

Co<void> CloseIt(CorePtr file) {
  if (file == nullptr) co_return;
  const User user(*file);
  file->closing = true;
  const RwLock::WriteGuard turn = co_await file->line.AcquireWrite();
  if (file->fd < 0) co_return;
  FileWork work(FileWork::Kind::kClose, file->path, file->fd);
  const Forget forget(*file, work);
  co_await FileAwaiter(work);
  work.Check();
}

}  // namespace

// ---- FileOptions

FileOptions::FileOptions(std::string_view mode) {
  int kinds = 0;
  int plus = 0;
  int binary = 0;
  for (const char c : mode) {
    switch (c) {
      case 'r':
        break;
      case 'w':
        flags_ |= O_CREAT | O_TRUNC;
        break;
      case 'x':
        flags_ |= O_CREAT | O_EXCL;
        break;
      case 'a':
        flags_ |= O_CREAT | O_APPEND;
        break;
      case '+':
        ++plus;
        continue;
      case 'b':
        ++binary;
        continue;
      default:
        kinds = 2;
        continue;
    }
    ++kinds;
    flags_ |= c == 'r' ? O_RDONLY : O_WRONLY;
  }
  if (kinds != 1 || plus > 1 || binary > 1) {
    throw std::invalid_argument(absl::StrCat(
        "FileOptions: the mode is one of r, w, x and a, perhaps with + and b, "
        "and not \"",
        mode, "\""));
  }
  if (plus != 0) flags_ = (flags_ & ~O_ACCMODE) | O_RDWR;
}

// ---- File

File File::FromDescriptor(int fd, std::string path) {
  if (path.empty()) path = absl::StrCat("fd ", fd);
  auto core = std::make_shared<FileCore>(std::move(path));
  const FileFacts facts = internal::FactsOf(fd);
  const off_t position = facts.error == 0 ? ::lseek(fd, 0, SEEK_CUR) : 0;
  if (facts.error != 0 || position < 0) {
    throw OsError(facts.error != 0 ? facts.error : ESPIPE, "open", core->path);
  }
  core->fd = fd;
  core->appends = facts.appends;
  core->position = position;
  return File(std::move(core));
}

File::CorePtr File::Checked(const char* what) const {
  if (core_ == nullptr) {
    throw InvalidStateError(absl::StrCat("File::", what, ": it is no file"));
  }
  if (core_->closing) {
    throw InvalidStateError(
        absl::StrCat("File::", what, ": ", core_->path, " was closed"));
  }
  return core_;
}

Co<std::string> File::Read(ptrdiff_t n) const {
  return ReadHere(Checked("Read"), n < 0 ? std::numeric_limits<size_t>::max()
                                         : static_cast<size_t>(n));
}

Co<size_t> File::Read(absl::Span<char> out) const {
  return FillHere(Checked("Read"), out);
}

Co<std::string> File::ReadAll() const {
  return ReadHere(Checked("ReadAll"), std::numeric_limits<size_t>::max());
}

Co<std::string> File::ReadExactly(size_t n) const {
  return ReadAllOf(Checked("ReadExactly"), n);
}

Co<void> File::Write(std::string_view data) const {
  return WriteHere(Checked("Write"), data);
}

Co<std::string> File::ReadAt(uint64_t offset, size_t n) const {
  return ReadThere(Checked("ReadAt"), n, CheckedOffset("ReadAt", offset, 0));
}

Co<size_t> File::ReadAt(uint64_t offset, absl::Span<char> out) const {
  return FillThere(Checked("ReadAt"), out,
                   CheckedOffset("ReadAt", offset, out.size()));
}

Co<void> File::WriteAt(uint64_t offset, std::string_view data) const {
  return WriteThere(Checked("WriteAt"), data,
                    CheckedOffset("WriteAt", offset, data.size()));
}

Co<uint64_t> File::Seek(int64_t offset, SeekFrom from) const {
  return SeekTo(Checked("Seek"), offset, from);
}

uint64_t File::Tell() const {
  return static_cast<uint64_t>(Checked("Tell")->position);
}

Co<uint64_t> File::Size() const { return SizeOf(Checked("Size")); }

Co<void> File::Truncate(uint64_t size) const {
  CheckedOffset("Truncate", size, 0);
  return Do(Checked("Truncate"), FileWork::Kind::kTruncate, size);
}

Co<void> File::Sync() const {
  return Do(Checked("Sync"), FileWork::Kind::kSync, 0);
}

Co<void> File::SyncData() const {
  return Do(Checked("SyncData"), FileWork::Kind::kSyncData, 0);
}

Co<void> File::Close() const { return CloseIt(core_); }

bool File::IsOpen() const noexcept {
  return core_ != nullptr && !core_->closing;
}

int File::Descriptor() const noexcept {
  return core_ != nullptr ? core_->fd : -1;
}

std::string_view File::Path() const noexcept {
  return core_ != nullptr ? std::string_view(core_->path) : std::string_view();
}

namespace {

Co<File> Same(File file) { co_return file; }

Co<void> CloseBehind(CorePtr core, std::exception_ptr error) {
  try {
    co_await CloseIt(std::move(core));
  } catch (const OsError&) {
    // An error of the body says more.
    if (error == nullptr) throw;
  }
}

}  // namespace

Co<File> File::AEnter() const {
  Checked("AEnter");
  return Same(*this);
}

Co<void> File::AExit(std::exception_ptr error) const {
  return CloseBehind(core_, std::move(error));
}

// ---- functions

Co<File> OpenFile(std::string path, FileOptions options) {
  if (path.find('\0') != std::string::npos) {
    throw std::invalid_argument("OpenFile: the path holds a zero byte");
  }
  auto core = std::make_shared<FileCore>(std::move(path));
  FileWork work(FileWork::Kind::kOpen, core->path, -1);
  work.flags = options.flags();
  work.permissions = options.permissions();
  do {
    co_await FileAwaiter(work);
  } while (work.GoesOn());
  work.Check();
  core->fd = work.TakeDescriptor();
  core->appends = work.facts().appends;
  if (core->appends) core->position = work.facts().size;
  co_return File(std::move(core));
}

Co<std::string> ReadFile(std::string path) {
  const File file = co_await OpenFile(std::move(path), "r");
  std::string data = co_await file.ReadAll();
  co_await file.Close();
  co_return data;
}

Co<void> WriteFile(std::string path, std::string_view data,
                   FileOptions options) {
  const File file = co_await OpenFile(std::move(path), options);
  co_await file.Write(data);
  co_await file.Close();
}

}  // namespace coil::net
