#include "coil/net/tls/internal/openssl.h"

namespace coil::net::internal {

std::string TakeOpensslErrors() {
  std::string text;
  const char* data = nullptr;
  int flags = 0;
  while (const unsigned long error =  // NOLINT(runtime/int): OpenSSL's type
         ERR_get_error_all(nullptr, nullptr, nullptr, &data, &flags)) {
    if (!text.empty()) text += "; ";
    if (const char* reason = ERR_reason_error_string(error)) {
      text += reason;
    } else {
      char number[256];
      ERR_error_string_n(error, number, sizeof(number));
      text += number;
    }
    if ((flags & ERR_TXT_STRING) != 0 && data != nullptr && *data != '\0') {
      text += " (";
      text += data;
      text += ")";
    }
  }
  return text;
}

}  // namespace coil::net::internal
