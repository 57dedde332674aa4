// Memory that is handed out piece by piece and given back all at once. RPC messages live in one.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_SUPPORT_ARENA_H_
#define TRANSOM_SUPPORT_ARENA_H_

#include <cstddef>
#include <memory>
#include <vector>

namespace tvm {
namespace support {

/// Holds plain data only: no destructor is ever run on what it hands out.
class Arena {
 public:
  template <typename T>
  T* allocate_(int count = 1) {
    static_assert(alignof(T) <= alignof(std::max_align_t), "over-aligned types do not fit here");
    const size_t cells = (sizeof(T) * static_cast<size_t>(count) + sizeof(Cell) - 1) / sizeof(Cell);
    pieces_.push_back(std::make_unique<Cell[]>(cells == 0 ? 1 : cells));
    return reinterpret_cast<T*>(pieces_.back().get());
  }

  void RecycleAll() { pieces_.clear(); }

 private:
  struct Cell {
    std::max_align_t bytes;
  };
  std::vector<std::unique_ptr<Cell[]>> pieces_;
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_SUPPORT_ARENA_H_
