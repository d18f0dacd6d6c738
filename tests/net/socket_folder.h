// Where a test puts its Unix sockets.

#ifndef COIL_TESTS_NET_SOCKET_FOLDER_H_
#define COIL_TESTS_NET_SOCKET_FOLDER_H_

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <system_error>

namespace coil_testing {

// A folder of this test alone, for Unix sockets: its path is short, other than
// that of testing::TempDir(). Its name is good for the abstract namespace, too.
class SocketFolder {
 public:
  SocketFolder() {
    std::string name =
        std::filesystem::temp_directory_path().string() + "/coil-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error(name);
    path_ = name;
  }
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;
  ~SocketFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string Path(const std::string& name) const { return path_ + "/" + name; }
  std::string AbstractName() const { return "@" + path_; }

 private:
  std::string path_;
};

}  // namespace coil_testing

#endif  // COIL_TESTS_NET_SOCKET_FOLDER_H_
