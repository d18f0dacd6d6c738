// Files: what each operation does, on threads; and once more on io_uring, whose
// own failures are in tests/conformance/file_conformance_test.cc.

#include "coil/net/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coil/net/send_file.h"
#include "coil/task/gather.h"
#include "coil/task/testing.h"
#include "coil/task/with.h"
#include "gtest/gtest.h"
#include "tests/net/file_testing.h"
#include "tests/net/net_testing.h"

namespace coil::net {
namespace {

using coil_testing::Connection;
using coil_testing::ContentOf;
using coil_testing::ErrorOf;
using coil_testing::FileFolder;
using coil_testing::Pattern;
using coil_testing::RunNet;
using coil_testing::Turns;

class FileTest : public coil_testing::NetTest {
 protected:
  FileFolder folder_;
};

// ---- what each of them does

TEST_F(FileTest, WholeFilesAreReadAndWritten) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    for (const size_t size : {0, 1, 65535, 65536, 65537, 300000, 9000000}) {
      const std::string data = Pattern(size);
      co_await WriteFile(path, data);
      EXPECT_TRUE(ContentOf(path) == data) << size;
      const std::string read = co_await ReadFile(path);
      EXPECT_TRUE(read == data) << size;
    }
    co_await WriteFile(path, "and more", "a");
    EXPECT_EQ(ContentOf(path).size(), 9000008u);
    co_await WriteFile(path, "anew");
    EXPECT_EQ(ContentOf(path), "anew");
  });
}

TEST_F(FileTest, TheSystemsFilesDoNotSayHowLongTheyAre) {
  RunNet([]() -> Co<void> {
    const std::string status = co_await ReadFile("/proc/self/status");
    EXPECT_NE(status.find("Name:"), std::string::npos);
    EXPECT_EQ(co_await ReadFile("/dev/null"), "");
    const File zeros = co_await OpenFile("/dev/zero");
    EXPECT_EQ(co_await zeros.Read(100000), std::string(100000, '\0'));
  });
}

TEST_F(FileTest, ReadsGoOnWhereTheLastOneEnded) {
  RunNet([&]() -> Co<void> {
    const File file = co_await OpenFile(folder_.Make("file", "0123456789"));
    EXPECT_EQ(co_await file.Read(3), "012");
    EXPECT_EQ(file.Tell(), 3u);
    char bytes[4] = {};
    EXPECT_EQ(co_await file.Read(absl::MakeSpan(bytes)), 4u);
    EXPECT_EQ(std::string_view(bytes, 4), "3456");
    EXPECT_EQ(co_await file.Read(0), "");
    EXPECT_EQ(co_await file.Read(100), "789");
    EXPECT_EQ(co_await file.Read(100), "");
    EXPECT_EQ(co_await file.Read(absl::MakeSpan(bytes)), 0u);
    EXPECT_EQ(file.Tell(), 10u);
    EXPECT_EQ(co_await file.Seek(2), 2u);
    EXPECT_EQ(co_await file.Read(-1), "23456789");
    co_await file.Seek(-4, SeekFrom::kEnd);
    EXPECT_EQ(co_await file.ReadExactly(2), "67");
    EXPECT_EQ(co_await file.Seek(-3, SeekFrom::kCurrent), 5u);
    EXPECT_EQ(co_await file.ReadAll(), "56789");
    EXPECT_EQ(co_await file.Seek(50), 50u);
    EXPECT_EQ(co_await file.ReadAll(), "");
    EXPECT_EQ(file.Tell(), 50u);
  });
}

TEST_F(FileTest, AFileThatIsTooShortSaysWhatItHad) {
  RunNet([&]() -> Co<void> {
    const File file = co_await OpenFile(folder_.Make("file", "0123456789"));
    co_await file.Seek(8);
    std::string partial;
    try {
      co_await file.ReadExactly(5);
    } catch (const IncompleteReadError& error) {
      partial = error.partial();
      EXPECT_EQ(error.expected(), 5u);
      EXPECT_NE(std::string(error.what()).find("the file ended after 2 of 5"),
                std::string::npos)
          << error.what();
    }
    EXPECT_EQ(partial, "89");
    EXPECT_EQ(file.Tell(), 10u);
  });
}

TEST_F(FileTest, WritesGoOnWhereTheLastOneEnded) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w+");
    co_await file.Write("hello ");
    co_await file.Write("");
    co_await file.Write("world");
    EXPECT_EQ(file.Tell(), 11u);
    co_await file.Seek(0);
    EXPECT_EQ(co_await file.Read(5), "hello");
    co_await file.Write("_");
    EXPECT_EQ(ContentOf(path), "hello_world");
    EXPECT_EQ(co_await file.Size(), 11u);
    co_await file.Truncate(8);
    EXPECT_EQ(ContentOf(path), "hello_wo");
    co_await file.Truncate(10);
    EXPECT_EQ(ContentOf(path), std::string("hello_wo\0\0", 10));
    EXPECT_EQ(file.Tell(), 6u);
    co_await file.Sync();
    co_await file.SyncData();
    co_await file.Close();
  });
}

TEST_F(FileTest, AnOffsetLeavesThePositionWhereItIs) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "0123456789");
    const File file = co_await OpenFile(path, "r+");
    co_await file.Seek(4);
    EXPECT_EQ(co_await file.ReadAt(7, 100), "789");
    char bytes[2] = {};
    EXPECT_EQ(co_await file.ReadAt(1, absl::MakeSpan(bytes)), 2u);
    EXPECT_EQ(std::string_view(bytes, 2), "12");
    EXPECT_EQ(co_await file.ReadAt(1000, 5), "");
    co_await file.WriteAt(8, "AB");
    co_await file.WriteAt(12, "C");
    EXPECT_EQ(file.Tell(), 4u);
    EXPECT_EQ(ContentOf(path), std::string("01234567AB\0\0C", 13));
  });
}

TEST_F(FileTest, AppendedBytesGoToTheEndWhereverThatIs) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "01234");
    const File file = co_await OpenFile(path, "a+");
    EXPECT_EQ(file.Tell(), 5u);
    co_await file.Write("56");
    EXPECT_EQ(file.Tell(), 7u);
    const File other = co_await OpenFile(path, "a");
    co_await other.Write("78");
    co_await file.Seek(1);
    EXPECT_EQ(co_await file.Read(2), "12");
    co_await file.Write("9");
    EXPECT_EQ(file.Tell(), 10u);
    EXPECT_EQ(ContentOf(path), "0123456789");
  });
}

TEST_F(FileTest, ModesAreThoseOfPython) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    EXPECT_NE((co_await ErrorOf(OpenFile(path))).find(path), std::string::npos);
    EXPECT_NE(co_await ErrorOf(OpenFile(path, "r+")), "");
    const File made = co_await OpenFile(path, "xb");
    EXPECT_EQ(co_await ErrorOf(OpenFile(path, "x")),
              "open " + path + ": File exists");
    const File read = co_await OpenFile(path, "rb");
    EXPECT_EQ(co_await ErrorOf(read.Write("x")),
              "write to " + path + ": Bad file descriptor");
    EXPECT_EQ(co_await ErrorOf(made.Read(1)),
              "read from " + path + ": Bad file descriptor");
  });
  for (const char* wrong : {"", "rw", "t", "rt", "r++", "bb", "+", "rbb"}) {
    EXPECT_THROW(FileOptions{wrong}, std::invalid_argument) << wrong;
  }
  EXPECT_EQ(FileOptions("w+").flags(), O_RDWR | O_CREAT | O_TRUNC);
  EXPECT_EQ(FileOptions("+br").flags(), O_RDWR);
}

TEST_F(FileTest, OptionsSayWhoMayReadIt) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file =
        co_await OpenFile(path, FileOptions("w").Permissions(0600));
    struct stat status = {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0600u);
    EXPECT_EQ(::fcntl(file.Descriptor(), F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(::fcntl(file.Descriptor(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_EQ(::symlink(path.c_str(), folder_.Path("link").c_str()), 0);
    EXPECT_NE(co_await ErrorOf(OpenFile(folder_.Path("link"),
                                        FileOptions("r").Flags(O_NOFOLLOW))),
              "");
  });
}

TEST_F(FileTest, WhatIsNoFileIsRefused) {
  RunNet([&]() -> Co<void> {
    EXPECT_EQ(co_await ErrorOf(OpenFile("/tmp")), "open /tmp: Is a directory");
    const std::string fifo = folder_.Path("fifo");
    EXPECT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    // Nobody has its other end: open() would wait.
    EXPECT_EQ(co_await ErrorOf(OpenFile(fifo)),
              "open " + fifo + ": Illegal seek");
    EXPECT_NE(co_await ErrorOf(OpenFile(fifo, "a")), "");
    EXPECT_THROW(static_cast<void>(co_await OpenFile(std::string("a\0b", 3))),
                 std::invalid_argument);
    int fds[2];
    EXPECT_EQ(::pipe2(fds, O_CLOEXEC), 0);
    EXPECT_THROW(static_cast<void>(File::FromDescriptor(fds[0])), OsError);
    EXPECT_EQ(::close(fds[0]), 0);
    EXPECT_EQ(::close(fds[1]), 0);
    EXPECT_THROW(static_cast<void>(File::FromDescriptor(-1)), OsError);
  });
}

TEST_F(FileTest, ADescriptorIsTakenOverWithItsPosition) {
  RunNet([]() -> Co<void> {
    const int fd = ::memfd_create("file_test", MFD_CLOEXEC);
    EXPECT_EQ(::write(fd, "0123456789", 10), 10);
    ::lseek(fd, 3, SEEK_SET);
    const File file = File::FromDescriptor(fd, "the memory");
    EXPECT_EQ(file.Path(), "the memory");
    EXPECT_EQ(file.Descriptor(), fd);
    EXPECT_EQ(co_await file.Read(2), "34");
    EXPECT_EQ(::lseek(fd, 0, SEEK_CUR), 3);
    // A file can be sent as it is.
    Connection c;
    co_await c.writer.SendFile(file.Descriptor(), SendFileOptions().Offset(8));
    EXPECT_EQ(c.peer.ReceiveExactly(2), "89");
    EXPECT_EQ(file.Tell(), 5u);
  });
}

TEST_F(FileTest, SenselessPlacesAreRefused) {
  RunNet([&]() -> Co<void> {
    const File file = co_await OpenFile(folder_.Make("file", "0123"));
    const std::string before = co_await ErrorOf(file.Seek(-1));
    EXPECT_NE(before.find("before the start"), std::string::npos) << before;
    EXPECT_NE(co_await ErrorOf(file.Seek(-5, SeekFrom::kEnd)), "");
    co_await file.Seek(2);
    EXPECT_NE(co_await ErrorOf(file.Seek(INT64_MAX, SeekFrom::kCurrent)), "");
    EXPECT_EQ(file.Tell(), 2u);
    EXPECT_THROW(static_cast<void>(file.ReadAt(UINT64_MAX, 1)),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(file.WriteAt(INT64_MAX, "1")),
                 std::invalid_argument);
    EXPECT_THROW(static_cast<void>(file.Truncate(UINT64_MAX)),
                 std::invalid_argument);
  });
}

// ---- the end of a file

TEST_F(FileTest, AClosedFileSaysSo) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "0123");
    const File file = co_await OpenFile(path);
    const File copy = file;
    EXPECT_TRUE(file.IsOpen());
    co_await file.Close();
    EXPECT_FALSE(copy.IsOpen());
    EXPECT_EQ(copy.Descriptor(), -1);
    co_await copy.Close();
    EXPECT_THROW(static_cast<void>(file.Read(1)), InvalidStateError);
    EXPECT_THROW(file.Tell(), InvalidStateError);
    const File none;
    EXPECT_FALSE(none.IsOpen());
    EXPECT_EQ(none.Path(), "");
    co_await none.Close();
    EXPECT_THROW(static_cast<void>(none.ReadAll()), InvalidStateError);
  });
}

TEST_F(FileTest, CloseComesBehindWhatIsInLine) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w");
    const std::string data = Pattern(100000);
    Task<void> write = CreateTask(file.Write(data));
    Task<void> again = CreateTask(file.Write(data));
    Task<void> close = CreateTask(file.Close());
    co_await Yield();
    EXPECT_FALSE(file.IsOpen());
    EXPECT_THROW(static_cast<void>(file.Write("x")), InvalidStateError);
    co_await close;
    EXPECT_TRUE(write.Done() && again.Done());
    EXPECT_TRUE(ContentOf(path) == data + data);
  });
}

TEST_F(FileTest, OperationsKeepTheFileOpen) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    File file = co_await OpenFile(path, "w");
    Task<void> first = CreateTask(file.Write("first "));
    Task<void> second = CreateTask(file.Write("second"));
    file = File();
    co_await first;
    co_await second;
    EXPECT_EQ(ContentOf(path), "first second");
  });
}

TEST_F(FileTest, WithClosesItBehindTheBody) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "0123");
    const File file = co_await OpenFile(path);
    const std::string text =
        co_await With(file, [](const File& opened) -> Co<std::string> {
          co_return co_await opened.ReadAll();
        });
    EXPECT_EQ(text, "0123");
    EXPECT_FALSE(file.IsOpen());
    const File again = co_await OpenFile(path);
    auto fails = []() -> Co<void> {
      throw std::runtime_error("the body");
      co_return;
    };
    EXPECT_EQ(co_await ErrorOf(With(again, fails)), "the body");
    EXPECT_FALSE(again.IsOpen());
  });
}

// ---- order

Co<void> WriteLine(File file, int i, std::vector<int>& done) {
  co_await file.Write(std::to_string(i) + "\n");
  done.push_back(i);
}

TEST_F(FileTest, OperationsAreDoneInTheOrderOfTheirCalls) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Path("file");
    const File file = co_await OpenFile(path, "w");
    std::vector<int> done;
    std::vector<Task<void>> tasks;
    std::string expected;
    std::vector<int> all;
    for (int i = 0; i < 200; ++i) {
      tasks.push_back(CreateTask(WriteLine(file, i, done)));
      expected += std::to_string(i) + "\n";
      all.push_back(i);
    }
    for (Task<void>& task : tasks) co_await task;
    EXPECT_EQ(ContentOf(path), expected);
    EXPECT_EQ(done, all);
  });
}

TEST_F(FileTest, AReadSeesTheWritesBeforeIt) {
  RunNet([&]() -> Co<void> {
    const File file = co_await OpenFile(folder_.Path("file"), "w+");
    const std::string data = Pattern(1000);
    Task<void> write = CreateTask(file.Write(data));
    Task<std::string> read = CreateTask(file.ReadAt(0, 2000));
    Task<std::string> other = CreateTask(file.ReadAt(10, 5));
    Task<void> cut = CreateTask(file.Truncate(0));
    Task<std::string> nothing = CreateTask(file.ReadAt(0, 2000));
    EXPECT_EQ(co_await read, data);
    EXPECT_EQ(co_await other, data.substr(10, 5));
    EXPECT_EQ(co_await nothing, "");
    EXPECT_TRUE(write.Done() && cut.Done());
  });
}

// ---- time

CORO_TEST(FileTimeTest, VirtualTimeWaitsForFiles) {
  const LoopTime start = EventLoop::Current().Now();
  Task<void> sleeper = CreateTask(Sleep(absl::Hours(24)));
  for (int i = 0; i < 20; ++i) {
    const std::string text = co_await ReadFile("/proc/self/stat");
    EXPECT_FALSE(text.empty());
    EXPECT_FALSE(sleeper.Done());
  }
  EXPECT_LT(EventLoop::Current().Now() - start, absl::Hours(24));
  co_await sleeper;
}

TEST_F(FileTest, WithoutThreadsAndWithoutARingItSaysWhy) {
  RunNet([&]() -> Co<void> {
    const std::string path = folder_.Make("file", "0123");
    const File file = co_await OpenFile(path, "r+");
    EXPECT_TRUE(EventLoop::Current().ShutdownDefaultExecutor());
    const std::string error = co_await ErrorOf(file.Truncate(1));
    EXPECT_NE(error, "");
    EXPECT_EQ(ContentOf(path), "0123");
  });
}

}  // namespace
}  // namespace coil::net
