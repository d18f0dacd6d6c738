#include "coil/task/internal/function_name.h"

#include <cstddef>
#include <string>
#include <string_view>

namespace coil::internal {

// In a coroutine, g++ gives the name of the function that it was split into:
//   void ns::{anonymous}::F<int>(ns::{anonymous}::F<int>(int)::_Z...Frame*)
// or, for an await in a lambda whose result has a destructor, only
//   ns::{anonymous}::F(int)::<lambda(int)>
// and clang that of the source, with its template arguments behind it:
//   Co<void> ns::(anonymous namespace)::F(T) [T = int]

namespace {

// The bracket that opens what text[close] closes; npos if there is none.
size_t OpenBracket(std::string_view text, size_t close) {
  int depth = 0;
  for (size_t i = close + 1; i-- > 0;) {
    if (text[i] == ')') ++depth;
    if (text[i] == '(' && --depth == 0) return i;
  }
  return std::string_view::npos;
}

void ReplaceAll(std::string& text, std::string_view what,
                std::string_view with) {
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos;
       at += with.size()) {
    text.replace(at, what.size(), with);
  }
}

}  // namespace

std::string ShortFunctionName(const char* function) {
  std::string_view text(function);
  // The template arguments, and what may stand behind the parameters.
  if (!text.empty() && text.back() == ']') {
    const size_t bracket = text.find(" [");
    if (bracket != std::string_view::npos) text = text.substr(0, bracket);
  }
  const bool lambda = text.ends_with(")>");  // of g++, without parameters
  const size_t close = text.rfind(')');
  if (close == std::string_view::npos) return std::string(text);
  const size_t open = OpenBracket(text, close);
  if (open == std::string_view::npos || open == 0) return std::string(text);
  if (!lambda) text = text.substr(0, open);
  // The result's type ends at the last space outside of all brackets.
  int depth = 0;
  for (size_t i = text.size(); i-- > 0;) {
    const char c = text[i];
    const bool arrow = c == '>' && i > 0 && text[i - 1] == '-';
    if (c == ')' || c == '}' || (c == '>' && !arrow)) ++depth;
    if (c == '(' || c == '{' || c == '<') --depth;
    if (c == ' ' && depth == 0) {
      text = text.substr(i + 1);
      break;
    }
  }
  std::string name(text);
  ReplaceAll(name, "(anonymous namespace)::", "");
  ReplaceAll(name, "{anonymous}::", "");
  ReplaceAll(name, "(anonymous class)::operator()", "<lambda>");
  // g++: "<lambda(int)>::operator()"
  for (size_t at; (at = name.find("<lambda(")) != std::string::npos;) {
    const size_t end = name.find(")>", at);
    if (end == std::string::npos) break;
    name.replace(at, end + 2 - at, "<lambda>");
  }
  ReplaceAll(name, "<lambda>::operator()", "<lambda>");
  // clang: the parameters of a lambda around this one.
  ReplaceAll(name, "<lambda>()::", "<lambda>::");
  return name;
}

}  // namespace coil::internal
