// Profiler ranges of NVIDIA's tools: nothing to do in a browser. Written for Transom; see
// build/README.md.
#ifndef TRANSOM_TVM_SUPPORT_CUDA_NVTX_H_
#define TRANSOM_TVM_SUPPORT_CUDA_NVTX_H_

#include <string>

#define TVM_NVTX_FUNC_SCOPE()

namespace tvm {
namespace support {

class NVTXScopedRange {
 public:
  explicit NVTXScopedRange(const char*) {}
  explicit NVTXScopedRange(const std::string&) {}
};

}  // namespace support
}  // namespace tvm

#endif  // TRANSOM_TVM_SUPPORT_CUDA_NVTX_H_
