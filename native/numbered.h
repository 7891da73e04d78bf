// What JavaScript holds of this side: numbers, which are cheap to hand over. Any may come back.
#pragma once

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

namespace birkhoff {

// Things by their numbers, which are given again after a thing is gone.
template <class T>
class Numbered {
 public:
  double add(T thing) {
    if (unused_.empty()) {
      unused_.push_back(things_.size());
      things_.emplace_back();
    }
    const size_t number = unused_.back();
    unused_.pop_back();
    things_[number] = std::move(thing);
    return static_cast<double>(number);
  }
  // Null for what is no number of anything here.
  T* find(double number) {
    if (!(number >= 0 && number < static_cast<double>(things_.size()))) return nullptr;
    std::optional<T>& thing = things_[static_cast<size_t>(number)];
    return thing ? &*thing : nullptr;
  }
  // Of what find() finds.
  void remove(double number) {
    things_[static_cast<size_t>(number)].reset();
    unused_.push_back(static_cast<size_t>(number));
  }
  size_t count() const { return things_.size() - unused_.size(); }
  template <class Visit>
  void clear(Visit visit) {
    for (std::optional<T>& thing : things_) {
      if (thing) visit(*thing);
    }
    things_.clear();
    unused_.clear();
  }

 private:
  std::vector<std::optional<T>> things_;
  std::vector<size_t> unused_;
};

}  // namespace birkhoff
