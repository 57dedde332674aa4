// The one text helper that the RPC and tensor cache sources take from TVM's header of this name.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_SUPPORT_UTILS_H_
#define TRANSOM_SUPPORT_UTILS_H_

#include <tvm/ffi/string.h>

#include <string_view>

namespace tvm {
namespace support {

inline bool StartsWith(const ffi::String& text, const char* prefix) {
  const std::string_view whole(text.data(), text.size());
  return whole.substr(0, std::string_view(prefix).size()) == prefix;
}

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_SUPPORT_UTILS_H_
