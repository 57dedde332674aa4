// The wire form of the types that TVM stores in model libraries and RPC messages.
//
// Facts of the format (they must match the compiler's side): little-endian scalars; every sequence
// is a uint64 count and its elements; a map is a sequence of key, value; strings and bytes are
// sequences of bytes; DLDataType is u8 code, u8 bits, u16 lanes; DLDevice is i32 type, i32 id.
// Written for Transom, for the little-endian target wasm32 only.
#ifndef TRANSOM_TVM_SUPPORT_SERIALIZER_H_
#define TRANSOM_TVM_SUPPORT_SERIALIZER_H_

#include <dlpack/dlpack.h>
#include <tvm/ffi/container/array.h>
#include <tvm/ffi/container/map.h>
#include <tvm/ffi/string.h>
#include <tvm/support/io.h>

#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "this runtime is little-endian");

namespace tvm {
namespace support {
namespace wire {

struct Enabled {
  static constexpr bool enabled = true;
};

inline void WriteCount(Stream* stream, size_t count) {
  const uint64_t wide = count;
  stream->Write(static_cast<const void*>(&wide), sizeof(wide));
}

/// False also when the count cannot exist in a 32-bit address space.
inline bool ReadCount(Stream* stream, size_t* count) {
  uint64_t wide = 0;
  if (stream->Read(static_cast<void*>(&wide), sizeof(wide)) != sizeof(wide)) return false;
  *count = static_cast<size_t>(wide);
  return *count == wide;
}

template <typename Text>
inline void WriteText(Stream* stream, const Text& text) {
  WriteCount(stream, text.size());
  if (text.size() != 0) stream->Write(static_cast<const void*>(text.data()), text.size());
}

inline bool ReadText(Stream* stream, std::string* text) {
  size_t count = 0;
  if (!ReadCount(stream, &count)) return false;
  text->assign(count, '\0');
  return count == 0 || stream->Read(static_cast<void*>(&(*text)[0]), count) == count;
}

}  // namespace wire

/// Numbers, booleans and enumerations: their own bytes.
template <typename T>
struct Serializer<T, std::enable_if_t<std::is_arithmetic_v<T> || std::is_enum_v<T>>>
    : wire::Enabled {
  static void Write(Stream* stream, const T& value) {
    stream->Write(static_cast<const void*>(&value), sizeof(T));
  }
  static bool Read(Stream* stream, T* value) {
    return stream->Read(static_cast<void*>(value), sizeof(T)) == sizeof(T);
  }
};

template <>
struct Serializer<std::string> : wire::Enabled {
  static void Write(Stream* stream, const std::string& value) { wire::WriteText(stream, value); }
  static bool Read(Stream* stream, std::string* value) { return wire::ReadText(stream, value); }
};

/// ffi::String and ffi::Bytes share std::string's form.
template <typename T>
struct Serializer<
    T, std::enable_if_t<std::is_same_v<T, ffi::String> || std::is_same_v<T, ffi::Bytes>>>
    : wire::Enabled {
  static void Write(Stream* stream, const T& value) { wire::WriteText(stream, value); }
  static bool Read(Stream* stream, T* value) {
    std::string text;
    if (!wire::ReadText(stream, &text)) return false;
    *value = T(std::move(text));
    return true;
  }
};

template <typename First, typename Second>
struct Serializer<std::pair<First, Second>> : wire::Enabled {
  static void Write(Stream* stream, const std::pair<First, Second>& value) {
    stream->Write(value.first);
    stream->Write(value.second);
  }
  static bool Read(Stream* stream, std::pair<First, Second>* value) {
    return stream->Read(&value->first) && stream->Read(&value->second);
  }
};

template <typename T>
struct Serializer<std::vector<T>> : wire::Enabled {
  static void Write(Stream* stream, const std::vector<T>& values) {
    wire::WriteCount(stream, values.size());
    if constexpr (std::is_arithmetic_v<T>) {
      if (!values.empty()) {
        stream->Write(static_cast<const void*>(values.data()), values.size() * sizeof(T));
      }
    } else {
      for (const T& value : values) stream->Write(value);
    }
  }
  static bool Read(Stream* stream, std::vector<T>* values) {
    size_t count = 0;
    if (!wire::ReadCount(stream, &count)) return false;
    values->clear();
    values->resize(count);
    if constexpr (std::is_arithmetic_v<T>) {
      const size_t bytes = count * sizeof(T);
      return count == 0 || stream->Read(static_cast<void*>(values->data()), bytes) == bytes;
    } else {
      return stream->ReadArray(values->data(), count);
    }
  }
};

template <typename Key, typename Value>
struct Serializer<std::unordered_map<Key, Value>> : wire::Enabled {
  static void Write(Stream* stream, const std::unordered_map<Key, Value>& map) {
    wire::WriteCount(stream, map.size());
    for (const auto& [key, value] : map) {
      stream->Write(key);
      stream->Write(value);
    }
  }
  static bool Read(Stream* stream, std::unordered_map<Key, Value>* map) {
    size_t count = 0;
    if (!wire::ReadCount(stream, &count)) return false;
    map->clear();
    for (; count != 0; --count) {
      Key key;
      Value value;
      if (!stream->Read(&key) || !stream->Read(&value)) return false;
      map->emplace(std::move(key), std::move(value));
    }
    return true;
  }
};

template <typename T>
struct Serializer<ffi::Array<T>> : wire::Enabled {
  static void Write(Stream* stream, const ffi::Array<T>& values) {
    wire::WriteCount(stream, values.size());
    for (const T& value : values) stream->Write(value);
  }
  static bool Read(Stream* stream, ffi::Array<T>* values) {
    size_t count = 0;
    if (!wire::ReadCount(stream, &count)) return false;
    ffi::Array<T> read;
    for (; count != 0; --count) {
      T value;
      if (!stream->Read(&value)) return false;
      read.push_back(std::move(value));
    }
    *values = std::move(read);
    return true;
  }
};

template <typename Key, typename Value>
struct Serializer<ffi::Map<Key, Value>> : wire::Enabled {
  static void Write(Stream* stream, const ffi::Map<Key, Value>& map) {
    wire::WriteCount(stream, map.size());
    for (const auto& entry : map) {
      stream->Write(entry.first);
      stream->Write(entry.second);
    }
  }
  static bool Read(Stream* stream, ffi::Map<Key, Value>* map) {
    size_t count = 0;
    if (!wire::ReadCount(stream, &count)) return false;
    ffi::Map<Key, Value> read;
    for (; count != 0; --count) {
      Key key;
      Value value;
      if (!stream->Read(&key) || !stream->Read(&value)) return false;
      read.Set(std::move(key), std::move(value));
    }
    *map = std::move(read);
    return true;
  }
};

template <>
struct Serializer<DLDataType> : wire::Enabled {
  static void Write(Stream* stream, const DLDataType& dtype) {
    stream->Write(dtype.code);
    stream->Write(dtype.bits);
    stream->Write(dtype.lanes);
  }
  static bool Read(Stream* stream, DLDataType* dtype) {
    return stream->Read(&dtype->code) && stream->Read(&dtype->bits) && stream->Read(&dtype->lanes);
  }
};

template <>
struct Serializer<DLDevice> : wire::Enabled {
  static void Write(Stream* stream, const DLDevice& device) {
    stream->Write(static_cast<int32_t>(device.device_type));
    stream->Write(static_cast<int32_t>(device.device_id));
  }
  static bool Read(Stream* stream, DLDevice* device) {
    int32_t type = 0;
    int32_t id = 0;
    if (!stream->Read(&type) || !stream->Read(&id)) return false;
    device->device_type = static_cast<DLDeviceType>(type);
    device->device_id = id;
    return true;
  }
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_TVM_SUPPORT_SERIALIZER_H_
