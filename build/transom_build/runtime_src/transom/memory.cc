// The heap of the runtime: malloc and its family, and operator new on top of it.
//
// zig's wasm allocator rounds every large block up to a power of two (a tensor of 256 MiB takes
// 512) and grows the memory without a word, after which every view that JavaScript holds is dead.
// This one cuts blocks to size, joins free neighbours, and tells tvmjs of each growth. One thread;
// no locks.
//
// The heap is a row of blocks without gaps. A block is a header of eight bytes and its payload,
// which is aligned to 16; sizes include the header and are multiples of 16. Free blocks hang in
// lists by size class.
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <new>

#include "stop.h"

extern "C" {
/// First address after the static data, set by the linker.
extern unsigned char __heap_base;

__attribute__((import_module("env"), import_name("emscripten_notify_memory_growth"))) void
transom_notify_memory_growth(uint32_t memory_index);
}

namespace {

constexpr uint32_t kAlignment = 16;
constexpr uint32_t kHeaderBytes = 8;
constexpr uint32_t kPageBytes = 65536;
/// Growth comes in steps of at least 1 MiB: each one makes JavaScript rebuild its views.
constexpr uint32_t kGrowthPages = 16;
/// Nothing larger can fit beside the rest in 4 GiB, and no sum of sizes below may overflow.
constexpr size_t kLargestRequest = 0xF0000000;
/// Blocks of an inexact class looked at before a larger class is taken from.
constexpr int kPatience = 8;

struct Block {
  uint32_t size_before;     // of the block in front; 0: this one is the first of its region
  uint32_t size_and_state;  // bit 0: in use
  // Only in free blocks, at the payload's place:
  Block* next;
  Block* previous;

  uint32_t size() const { return size_and_state & ~1u; }
  bool used() const { return (size_and_state & 1u) != 0; }
  void set(uint32_t size, bool used) { size_and_state = size | (used ? 1u : 0u); }
  unsigned char* payload() { return reinterpret_cast<unsigned char*>(this) + kHeaderBytes; }
  Block* after() {
    return reinterpret_cast<Block*>(reinterpret_cast<unsigned char*>(this) + size());
  }
  Block* before() {
    return reinterpret_cast<Block*>(reinterpret_cast<unsigned char*>(this) - size_before);
  }
};
static_assert(sizeof(Block) == 16, "the smallest block must hold the links of a free one");

Block* BlockOf(void* payload) {
  return reinterpret_cast<Block*>(static_cast<unsigned char*>(payload) - kHeaderBytes);
}

// --- Free lists ----------------------------------------------------------------------------------

// Classes: 16-byte steps below 256, then eight steps for each power of two up to 2^32.
constexpr int kExactClasses = 16;
constexpr int kClasses = kExactClasses + 24 * 8;

Block* free_lists[kClasses];
uint32_t class_bits[(kClasses + 31) / 32];
/// The header-only block that closes the last region; always in use, so nothing joins past it.
Block* fence = nullptr;

int ClassOf(uint32_t size) {
  if (size < 256) return static_cast<int>(size / kAlignment);
  const int power = 31 - __builtin_clz(size);
  const int step = static_cast<int>((size >> (power - 3)) & 7);
  return kExactClasses + (power - 8) * 8 + step;
}

void Insert(Block* block) {
  const int index = ClassOf(block->size());
  block->previous = nullptr;
  block->next = free_lists[index];
  if (block->next != nullptr) block->next->previous = block;
  free_lists[index] = block;
  class_bits[index / 32] |= 1u << (index % 32);
}

void Remove(Block* block) {
  if (block->next != nullptr) block->next->previous = block->previous;
  if (block->previous != nullptr) {
    block->previous->next = block->next;
    return;
  }
  const int index = ClassOf(block->size());
  free_lists[index] = block->next;
  if (block->next == nullptr) class_bits[index / 32] &= ~(1u << (index % 32));
}

/// A free block of at least `size`, not removed from its list; null when there is none.
Block* Find(uint32_t size) {
  const int own = ClassOf(size);
  int patience = kPatience;
  for (Block* block = free_lists[own]; block != nullptr && patience-- > 0; block = block->next) {
    if (block->size() >= size) return block;
  }
  // Any block of a larger class fits.
  const int first = own + 1;
  for (int word = first / 32; word < static_cast<int>(sizeof(class_bits) / 4); ++word) {
    uint32_t bits = class_bits[word];
    if (word == first / 32) bits &= ~0u << (first % 32);
    if (bits != 0) return free_lists[word * 32 + __builtin_ctz(bits)];
  }
  return nullptr;
}

/// Make `block` free and join it with its free neighbours. Returns the joined block, which is
/// listed.
Block* Release(Block* block) {
  uint32_t size = block->size();
  Block* after = block->after();
  if (!after->used()) {
    Remove(after);
    size += after->size();
  }
  if (block->size_before != 0 && !block->before()->used()) {
    block = block->before();
    Remove(block);
    size += block->size();
  }
  block->set(size, false);
  block->after()->size_before = size;
  Insert(block);
  return block;
}

/// Cut a block in use to `size`; what is left over becomes free.
void Trim(Block* block, uint32_t size) {
  const uint32_t rest = block->size() - size;
  if (rest == 0) return;
  Block* after = block->after();
  block->set(size, true);
  Block* tail = block->after();
  tail->size_before = size;
  tail->set(rest, true);
  after->size_before = rest;
  Release(tail);
}

/// Take a free block into use, cut to `size`.
void* Take(Block* block, uint32_t size) {
  Remove(block);
  block->set(block->size(), true);
  Trim(block, size);
  return block->payload();
}

// --- Growth --------------------------------------------------------------------------------------

/// Close a region that ends at `end` with a fence, `size_before` being the block in front of it.
void SetFence(uintptr_t end, uint32_t size_before) {
  fence = reinterpret_cast<Block*>(end - kHeaderBytes);
  fence->size_before = size_before;
  fence->size_and_state = kHeaderBytes | 1u;
}

/// Turn [start, end) into one free block and a fence; `end` is a multiple of 16.
void AddRegion(uintptr_t start, uintptr_t end) {
  Block* block = reinterpret_cast<Block*>((start + kAlignment - 1) / kAlignment * kAlignment +
                                          kAlignment - kHeaderBytes);
  const uint32_t size =
      static_cast<uint32_t>(end - kHeaderBytes - reinterpret_cast<uintptr_t>(block));
  block->size_before = 0;
  block->set(size, true);
  SetFence(end, size);
  Release(block);
}

/// Grow, so that a free block of `size` exists unless someone else took the pages in between. False
/// when the memory's limit is reached.
bool Grow(uint32_t size) {
  if (fence == nullptr) {
    AddRegion(reinterpret_cast<uintptr_t>(&__heap_base),
              __builtin_wasm_memory_size(0) * static_cast<uintptr_t>(kPageBytes));
    if (Find(size) != nullptr) return true;
  }
  uint32_t missing = size + kAlignment + kHeaderBytes;
  if (fence->size_before != 0 && !fence->before()->used()) {
    // A free block at the end that were large enough would have been found, bar a full class.
    const uint32_t have = fence->size_before;
    missing = have < size ? size - have : kPageBytes;
  }
  uint32_t pages = (missing + kPageBytes - 1) / kPageBytes;
  uintptr_t old_pages = UINTPTR_MAX;
  if (pages < kGrowthPages) old_pages = __builtin_wasm_memory_grow(0, kGrowthPages);
  if (old_pages != UINTPTR_MAX) {
    pages = kGrowthPages;
  } else {
    old_pages = __builtin_wasm_memory_grow(0, pages);
  }
  if (old_pages == UINTPTR_MAX) return false;
  transom_notify_memory_growth(0);

  const uintptr_t start = old_pages * kPageBytes;
  const uint32_t bytes = pages * kPageBytes;
  if (start == reinterpret_cast<uintptr_t>(fence) + kHeaderBytes) {
    Block* block = fence;
    block->set(bytes, true);
    SetFence(start + bytes, bytes);
    Release(block);
  } else {
    // Someone else (JavaScript) grew the memory in between: what it took is not ours.
    AddRegion(start, start + bytes);
  }
  return true;
}

/// The block size for a payload of `bytes`; 0 when no block can be that large.
uint32_t BlockSize(size_t bytes) {
  if (bytes > kLargestRequest) return 0;
  const uint32_t size = static_cast<uint32_t>(bytes) + kHeaderBytes;
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

void* Allocate(size_t bytes) {
  const uint32_t size = BlockSize(bytes);
  if (size != 0) {
    Block* block = Find(size);
    while (block == nullptr && Grow(size)) block = Find(size);
    if (block != nullptr) return Take(block, size);
  }
  errno = ENOMEM;
  return nullptr;
}

void* AllocateAligned(size_t alignment, size_t bytes) {
  if (alignment <= kAlignment) return Allocate(bytes);
  if (bytes > kLargestRequest || alignment > kLargestRequest - bytes) {
    errno = ENOMEM;
    return nullptr;
  }
  void* wide = Allocate(bytes + alignment);
  if (wide == nullptr) return nullptr;
  Block* block = BlockOf(wide);
  const uintptr_t address = reinterpret_cast<uintptr_t>(wide);
  const uintptr_t aligned = (address + alignment - 1) / alignment * alignment;
  if (const uint32_t gap = static_cast<uint32_t>(aligned - address); gap != 0) {
    // The bytes in front become a block of their own; gaps are multiples of 16, so it is large
    // enough.
    Block* kept = BlockOf(reinterpret_cast<void*>(aligned));
    Block* after = block->after();
    const uint32_t rest = block->size() - gap;
    kept->size_before = gap;
    kept->set(rest, true);
    after->size_before = rest;
    block->set(gap, true);
    Release(block);
    block = kept;
  }
  Trim(block, BlockSize(bytes));
  return block->payload();
}

Block* CheckedBlock(void* payload) {
  Block* block = BlockOf(payload);
  if (reinterpret_cast<uintptr_t>(payload) % kAlignment != 0 || !block->used() ||
      block->after()->size_before != block->size()) {
    transom_stop("heap: %p is no block in use (freed twice, or its neighbour was overwritten)",
                 payload);
  }
  return block;
}

/// What `new` throws: like std::bad_alloc, but it says how much was wanted.
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(size_t bytes) {
    snprintf(text_, sizeof(text_), "out of memory: no room for %zu bytes, wasm memory is %zu MiB",
             bytes, static_cast<size_t>(__builtin_wasm_memory_size(0)) / 16);
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[96];
};

}  // namespace

extern "C" {

void* malloc(size_t bytes) { return Allocate(bytes); }

void free(void* payload) {
  if (payload != nullptr) Release(CheckedBlock(payload));
}

void* calloc(size_t count, size_t each) {
  size_t bytes = 0;
  if (__builtin_mul_overflow(count, each, &bytes)) {
    errno = ENOMEM;
    return nullptr;
  }
  void* payload = Allocate(bytes);
  if (payload != nullptr) memset(payload, 0, bytes);
  return payload;
}

void* realloc(void* payload, size_t bytes) {
  if (payload == nullptr) return Allocate(bytes);
  Block* block = CheckedBlock(payload);
  const uint32_t size = BlockSize(bytes);
  if (size == 0) {
    errno = ENOMEM;
    return nullptr;
  }
  Block* after = block->after();
  if (size > block->size() && !after->used() && block->size() + after->size() >= size) {
    Remove(after);
    block->set(block->size() + after->size(), true);
    block->after()->size_before = block->size();
  }
  if (size <= block->size()) {
    Trim(block, size);
    return payload;
  }
  void* moved = Allocate(bytes);
  if (moved == nullptr) return nullptr;
  memcpy(moved, payload, block->size() - kHeaderBytes);
  Release(block);
  return moved;
}

void* aligned_alloc(size_t alignment, size_t bytes) { return AllocateAligned(alignment, bytes); }
void* memalign(size_t alignment, size_t bytes) { return AllocateAligned(alignment, bytes); }

int posix_memalign(void** payload, size_t alignment, size_t bytes) {
  void* found = AllocateAligned(alignment, bytes);
  if (found == nullptr) return ENOMEM;
  *payload = found;
  return 0;
}

size_t malloc_usable_size(void* payload) {
  return payload == nullptr ? 0 : CheckedBlock(payload)->size() - kHeaderBytes;
}
}  // extern "C"

// libc++abi's own versions cannot throw (zig builds it without exceptions): they would trap
// instead.
void* operator new(size_t bytes) {
  void* payload = Allocate(bytes);
  if (payload == nullptr) throw OutOfMemory(bytes);
  return payload;
}

void* operator new(size_t bytes, std::align_val_t alignment) {
  void* payload = AllocateAligned(static_cast<size_t>(alignment), bytes);
  if (payload == nullptr) throw OutOfMemory(bytes);
  return payload;
}
