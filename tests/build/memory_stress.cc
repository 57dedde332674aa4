// Drives the runtime's heap for test_runtime.py: random allocations that carry a pattern, checked on
// each free.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <new>
#include <stdexcept>

extern "C" size_t malloc_usable_size(void* payload);

extern "C" {

/// Keeps the compiler from proving that an allocation is unused and leaving it out.
static void* Needed(void* at) {
  asm volatile("" : "+r"(at) : : "memory");
  return at;
}

struct Piece {
  unsigned char* at;
  size_t bytes;
  unsigned char pattern;
};

static uint32_t state = 1;
static uint32_t Random() {  // xorshift32
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return state;
}

static bool Holds(const Piece& piece) {
  for (size_t i = 0; i < piece.bytes; ++i) {
    if (piece.at[i] != piece.pattern) return false;
  }
  return true;
}

/// Returns 0, or the number of the check that failed.
__attribute__((export_name("stress"))) int stress(uint32_t seed, int rounds) {
  static Piece pieces[512];
  memset(pieces, 0, sizeof(pieces));
  state = seed;
  for (int round = 0; round < rounds; ++round) {
    Piece& piece = pieces[Random() % 512];
    if (piece.at != nullptr && !Holds(piece)) return 1;
    const size_t bytes = Random() % 16 == 0 ? Random() % 300000 : Random() % 600;
    switch (Random() % 4) {
      case 0: {
        const size_t kept = piece.bytes < bytes ? piece.bytes : bytes;
        auto* moved = static_cast<unsigned char*>(realloc(piece.at, bytes));
        if (moved == nullptr) return 2;
        for (size_t i = 0; i < kept; ++i) {
          if (moved[i] != piece.pattern) return 3;
        }
        piece.at = moved;
        break;
      }
      case 1: {
        free(piece.at);
        const size_t alignment = size_t{16} << (Random() % 9);
        void* at = nullptr;
        if (posix_memalign(&at, alignment, bytes) != 0) return 4;
        if (reinterpret_cast<uintptr_t>(at) % alignment != 0) return 5;
        piece.at = static_cast<unsigned char*>(at);
        break;
      }
      case 2: {
        free(piece.at);
        piece.at = static_cast<unsigned char*>(calloc(bytes, 1));
        if (piece.at == nullptr) return 6;
        for (size_t i = 0; i < bytes; ++i) {
          if (piece.at[i] != 0) return 7;
        }
        break;
      }
      default:
        free(piece.at);
        piece.at = static_cast<unsigned char*>(malloc(bytes));
        if (piece.at == nullptr) return 8;
        if (reinterpret_cast<uintptr_t>(piece.at) % 16 != 0) return 9;
    }
    if (malloc_usable_size(piece.at) < bytes) return 10;
    piece.bytes = bytes;
    piece.pattern = static_cast<unsigned char>(Random());
    memset(piece.at, piece.pattern, bytes);
  }
  for (Piece& piece : pieces) {
    if (piece.at != nullptr && !Holds(piece)) return 11;
    free(piece.at);
  }
  return 0;
}

/// Allocates and frees once; 1 when there was room.
__attribute__((export_name("try_bytes"))) int try_bytes(size_t bytes) {
  void* at = Needed(malloc(bytes));
  free(at);
  return at != nullptr;
}

/// The text of the exception that `new` throws, or null when there was room.
__attribute__((export_name("new_error"))) const char* new_error(size_t bytes) {
  static char text[128];
  try {
    ::operator delete(Needed(::operator new(bytes)));
    return nullptr;
  } catch (const std::bad_alloc& error) {
    strncpy(text, error.what(), sizeof(text) - 1);
    return text;
  }
}

__attribute__((export_name("free_twice"))) void free_twice() {
  void* at = Needed(malloc(100));
  free(at);
  free(Needed(at));
}

static void Throw() { throw std::runtime_error("thrown in noexcept"); }
__attribute__((export_name("uncatchable"))) void uncatchable() noexcept { Throw(); }
__attribute__((export_name("give_up"))) void give_up() { abort(); }

/// Frames of 64 KiB, so that the wasm stack ends long before the engine's own.
__attribute__((export_name("recurse"), noinline)) int recurse(int depth) {
  unsigned char frame[65536];
  memset(frame, depth, sizeof(frame));
  Needed(frame);
  return depth == 0 ? 0 : recurse(depth - 1) + frame[depth];
}
}
