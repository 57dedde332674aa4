// Base64 (RFC 4648, standard alphabet, padded) as streams over other streams.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_SUPPORT_BASE64_H_
#define TRANSOM_SUPPORT_BASE64_H_

#include <tvm/ffi/error.h>
#include <tvm/support/io.h>

#include <cstdint>
#include <cstring>

namespace tvm {
namespace support {

inline constexpr char kBase64Alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Decodes; ends at padding, at white space after the text, or at the end of the source.
class Base64InStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  explicit Base64InStream(Stream* source) : source_(source) {}

  /// Steps over white space in front of the text.
  void InitPosition() {
    do {
      has_peek_ = source_->Read(static_cast<void*>(&peek_), 1) == 1;
    } while (has_peek_ && IsSpace(peek_));
  }

  size_t Read(void* target, size_t size) override {
    auto* out = static_cast<uint8_t*>(target);
    size_t done = 0;
    while (done < size && Fill()) {
      bit_count_ -= 8;
      out[done++] = static_cast<uint8_t>(bits_ >> bit_count_);
    }
    return done;
  }
  size_t Write(const void*, size_t) override {
    TVM_FFI_THROW(InternalError) << "a Base64InStream cannot be written to";
    return 0;
  }

 private:
  static bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

  bool NextChar(char* c) {
    if (has_peek_) {
      has_peek_ = false;
      *c = peek_;
      return true;
    }
    return source_->Read(static_cast<void*>(c), 1) == 1;
  }

  /// Takes characters, six bits each, until a whole byte is there. False at the end of the text.
  bool Fill() {
    while (bit_count_ < 8) {
      char c = 0;
      if (ended_ || !NextChar(&c) || c == '=' || IsSpace(c)) {
        ended_ = true;
        return false;
      }
      const char* place = c == '\0' ? nullptr : std::strchr(kBase64Alphabet, c);
      TVM_FFI_ICHECK(place != nullptr) << "not base64: character code " << static_cast<int>(c);
      bits_ = (bits_ << 6) | static_cast<uint32_t>(place - kBase64Alphabet);
      bit_count_ += 6;
    }
    return true;
  }

  Stream* source_;
  char peek_ = 0;
  bool has_peek_ = false;
  bool ended_ = false;
  uint32_t bits_ = 0;
  int bit_count_ = 0;
};

/// Encodes; the last bytes and the padding leave with Finish().
class Base64OutStream : public Stream {
 public:
  using Stream::Read;
  using Stream::Write;

  explicit Base64OutStream(Stream* target) : target_(target) {}

  size_t Read(void*, size_t) override {
    TVM_FFI_THROW(InternalError) << "a Base64OutStream cannot be read from";
    return 0;
  }
  size_t Write(const void* source, size_t size) override {
    const auto* in = static_cast<const uint8_t*>(source);
    for (size_t i = 0; i < size; ++i) {
      group_ = (group_ << 8) | in[i];
      if (++group_size_ == 3) Flush();
    }
    return size;
  }
  void Finish() {
    if (group_size_ != 0) Flush();
  }

 private:
  /// One group of one to three bytes becomes four characters.
  void Flush() {
    group_ <<= 8 * (3 - group_size_);
    char text[4];
    for (int i = 0; i < 4; ++i) {
      text[i] = i > group_size_ ? '=' : kBase64Alphabet[(group_ >> (18 - 6 * i)) & 63];
    }
    target_->Write(static_cast<const void*>(text), sizeof(text));
    group_ = 0;
    group_size_ = 0;
  }

  Stream* target_;
  uint32_t group_ = 0;
  int group_size_ = 0;
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_SUPPORT_BASE64_H_
