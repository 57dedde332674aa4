// Byte streams with typed reads and writes: what TVM's runtime calls tvm::support::Stream.
//
// The apache-tvm wheel ships the runtime's sources without this header; this one is written for
// Transom from the way those sources use it. It must not know any concrete type: serializer.h does.
#ifndef TRANSOM_TVM_SUPPORT_IO_H_
#define TRANSOM_TVM_SUPPORT_IO_H_

#include <cstddef>
#include <cstdint>

namespace tvm {
namespace support {

/// How values of T travel through a Stream. Specializations set `enabled` and offer static
/// `Write(Stream*, const T&)` and `bool Read(Stream*, T*)` (false: the stream ended early).
template <typename T, typename Enable = void>
struct Serializer {
  static constexpr bool enabled = false;
};

/// A source or sink of bytes. A subclass that overrides the byte functions says `using
/// Stream::Read;` and `using Stream::Write;`, or its overrides hide the typed forms.
class Stream {
 public:
  virtual ~Stream() = default;

  /// Takes up to `size` bytes into `target`; returns how many there were.
  virtual size_t Read(void* target, size_t size) = 0;
  /// Appends `size` bytes; returns how many were taken.
  virtual size_t Write(const void* source, size_t size) = 0;

  template <typename T>
  bool Read(T* value) {
    static_assert(Serializer<T>::enabled, "this type has no Serializer");
    return Serializer<T>::Read(this, value);
  }

  template <typename T>
  void Write(const T& value) {
    static_assert(Serializer<T>::enabled, "this type has no Serializer");
    Serializer<T>::Write(this, value);
  }

  /// `count` values one after the other, without a length in front.
  template <typename T>
  bool ReadArray(T* values, size_t count) {
    for (T* end = values + count; values != end; ++values) {
      if (!this->Read(values)) return false;
    }
    return true;
  }

  template <typename T>
  void WriteArray(const T* values, size_t count) {
    for (const T* end = values + count; values != end; ++values) this->Write(*values);
  }
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_TVM_SUPPORT_IO_H_
