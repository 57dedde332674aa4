// Half precision to single precision, by the name that TVM's sort source calls.
// Written for Transom (the apache-tvm wheel lacks this header); see build/README.md.
#ifndef TRANSOM_COMPILER_RT_BUILTIN_FP16_H_
#define TRANSOM_COMPILER_RT_BUILTIN_FP16_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

/// IEEE 754 binary16 bits as a float: exact for every finite value; NaN stays NaN.
inline float TransomHalfToFloat(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction != 0 ? std::numeric_limits<float>::quiet_NaN()
                              : std::numeric_limits<float>::infinity();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

/// The template's shape is compiler-rt's; only the half-to-float case is asked for and offered.
template <typename Source, typename SourceBits, int kSourceFraction, typename Target,
          typename TargetBits, int kTargetFraction>
inline Target __extendXfYf2__(Source bits) {
  static_assert(std::is_same_v<SourceBits, uint16_t> && kSourceFraction == 10 &&
                    std::is_same_v<Target, float> && kTargetFraction == 23,
                "only half to float");
  return TransomHalfToFloat(bits);
}

#endif  // TRANSOM_COMPILER_RT_BUILTIN_FP16_H_
