// A queue of bytes: writers append, readers take from the front. RPC endpoints own two.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_SUPPORT_RING_BUFFER_H_
#define TRANSOM_SUPPORT_RING_BUFFER_H_

#include <tvm/ffi/error.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace tvm {
namespace support {

/// The waiting bytes stand in one piece, so a callback sees them with a single call. Despite its
/// name (the RPC sources choose it) nothing wraps around: taken bytes are dropped when more room is
/// needed.
class RingBuffer {
 public:
  size_t bytes_available() const { return end_ - begin_; }

  /// Room for `size` waiting bytes in all.
  void Reserve(size_t size) {
    if (begin_ != 0 && begin_ + size > bytes_.size()) {
      std::memmove(bytes_.data(), bytes_.data() + begin_, bytes_available());
      end_ -= begin_;
      begin_ = 0;
    }
    if (size > bytes_.size()) bytes_.resize(std::max(size, bytes_.size() * 2));
  }

  void Read(void* target, size_t size) {
    TVM_FFI_ICHECK_GE(bytes_available(), size);
    if (size != 0) std::memcpy(target, bytes_.data() + begin_, size);
    Drop(size);
  }

  /// `send(const void*, size_t)` returns how many bytes it took; so does this function.
  template <typename Send>
  size_t ReadWithCallback(Send send, size_t max_bytes) {
    const size_t offered = std::min(max_bytes, bytes_available());
    TVM_FFI_ICHECK_NE(offered, 0U);
    const size_t taken = send(static_cast<const void*>(bytes_.data() + begin_), offered);
    Drop(taken);
    return taken;
  }

  void Write(const void* source, size_t size) {
    Reserve(bytes_available() + size);
    if (size != 0) std::memcpy(bytes_.data() + end_, source, size);
    end_ += size;
  }

  /// `receive(void*, size_t)` returns how many bytes it wrote; so does this function.
  template <typename Receive>
  size_t WriteWithCallback(Receive receive, size_t max_bytes) {
    Reserve(bytes_available() + max_bytes);
    const size_t received = receive(static_cast<void*>(bytes_.data() + end_), max_bytes);
    end_ += received;
    return received;
  }

 private:
  void Drop(size_t size) {
    begin_ += size;
    if (begin_ == end_) begin_ = end_ = 0;
  }

  std::vector<char> bytes_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_SUPPORT_RING_BUFFER_H_
