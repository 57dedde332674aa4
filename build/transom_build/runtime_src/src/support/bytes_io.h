// Streams over memory: reading from a fixed range, appending to a string.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_SUPPORT_BYTES_IO_H_
#define TRANSOM_SUPPORT_BYTES_IO_H_

#include <tvm/ffi/error.h>
#include <tvm/ffi/string.h>
#include <tvm/support/io.h>

#include <cstring>
#include <string>

namespace tvm {
namespace support {

/// Reads bytes that belong to someone else, who must outlive the stream.
class BytesInStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  BytesInStream(const void* data, size_t size)
      : next_(static_cast<const char*>(data)), left_(size) {}
  explicit BytesInStream(const std::string& bytes) : BytesInStream(bytes.data(), bytes.size()) {}
  explicit BytesInStream(const ffi::Bytes& bytes) : BytesInStream(bytes.data(), bytes.size()) {}

  size_t Read(void* target, size_t size) override {
    if (size > left_) size = left_;
    if (size != 0) std::memcpy(target, next_, size);
    next_ += size;
    left_ -= size;
    return size;
  }
  size_t Write(const void*, size_t) override {
    TVM_FFI_THROW(InternalError) << "a BytesInStream cannot be written to";
    return 0;
  }

 private:
  const char* next_;
  size_t left_;
};

/// Appends to a string that belongs to the caller.
class BytesOutStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  explicit BytesOutStream(std::string* target) : target_(target) {}

  size_t Read(void*, size_t) override {
    TVM_FFI_THROW(InternalError) << "a BytesOutStream cannot be read from";
    return 0;
  }
  size_t Write(const void* source, size_t size) override {
    target_->append(static_cast<const char*>(source), size);
    return size;
  }

 private:
  std::string* target_;
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_SUPPORT_BYTES_IO_H_
