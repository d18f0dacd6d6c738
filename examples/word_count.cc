#include "coil/examples/word_count.h"

#include <algorithm>

namespace quickstart {
namespace {

// The letter in lower case, or zero for what stands between words. ASCII only:
// every other byte stands between words.
char WordLetter(char c) {
  if (c >= 'A' && c <= 'Z') return static_cast<char>(c - 'A' + 'a');
  const bool in_word =
      (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '\'';
  return in_word ? c : '\0';
}

}  // namespace

void WordCounter::Add(std::string_view text) {
  for (char c : text) {
    if (const char letter = WordLetter(c)) {
      word_.push_back(letter);
    } else if (!word_.empty()) {
      ++counts_[word_];
      word_.clear();
    }
  }
}

const WordCounts& WordCounter::Finish() {
  Add(" ");
  return counts_;
}

std::vector<std::pair<std::string, size_t>> MostFrequent(
    const WordCounts& counts, size_t n) {
  std::vector<std::pair<std::string, size_t>> words(counts.begin(),
                                                    counts.end());
  const auto more_frequent = [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  };
  std::sort(words.begin(), words.end(), more_frequent);
  if (words.size() > n) words.resize(n);
  return words;
}

}  // namespace quickstart
