// What the wasi libraries expect from a host, fitted to what tvmjs (npm @mlc-ai/web-runtime) offers.
//
// Three things: memory growth that tvmjs is told of, a last word before every trap, and "no" to the
// file system calls that tvmjs does not implement. It must not know TVM.
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <exception>
#include <typeinfo>

// --- Memory growth -----------------------------------------------------------------------------------

extern "C" {

__attribute__((import_module("env"), import_name("emscripten_notify_memory_growth"))) void
transom_notify_memory_growth(uint32_t memory_index);

/// Replaces wasi-libc's sbrk: growth detaches every view that JavaScript holds on the memory, and the WASI
/// part of tvmjs renews its views only when it is told. `increment` is a whole number of pages.
void* sbrk(intptr_t increment) {
  constexpr uintptr_t kPageBytes = 65536;
  if (increment == 0) return reinterpret_cast<void*>(__builtin_wasm_memory_size(0) * kPageBytes);
  if (increment < 0 || increment % kPageBytes != 0) __builtin_trap();
  const uintptr_t old_pages = __builtin_wasm_memory_grow(0, increment / kPageBytes);
  if (old_pages == UINTPTR_MAX) {
    errno = ENOMEM;
    return reinterpret_cast<void*>(-1);
  }
  transom_notify_memory_growth(0);
  return reinterpret_cast<void*>(old_pages * kPageBytes);
}

// --- The last word before a trap -----------------------------------------------------------------------

/// Enough for a kind, a message and the file it came from; longer text is cut.
static char last_error[2048];

/// NUL-terminated UTF-8 text of what led to the last trap, empty when there was none. Callable after it.
__attribute__((export_name("transom_last_error"))) const char* transom_last_error() {
  return last_error;
}
}  // extern "C"

[[noreturn]] static void StopWithLastError() {
  // Straight to the descriptor: no stream may allocate or throw here.
  size_t length = 0;
  while (last_error[length] != '\0') ++length;
  write(STDERR_FILENO, last_error, length);
  write(STDERR_FILENO, "\n", 1);
  __builtin_trap();
}

/// An exception that nobody can catch (thrown inside noexcept code, or while another one unwinds).
[[noreturn]] static void StopOnUncaughtException() {
  const char* text = "a C++ exception could not be delivered";
  try {
    if (std::exception_ptr current = std::current_exception()) std::rethrow_exception(current);
  } catch (const std::exception& error) {
    text = error.what();
  } catch (...) {
  }
  snprintf(last_error, sizeof(last_error), "terminated: %s", text);
  StopWithLastError();
}

namespace {
struct InstallTerminateHandler {
  InstallTerminateHandler() { std::set_terminate(StopOnUncaughtException); }
} install_terminate_handler;
}  // namespace

/// libc++'s compiled part is built without exceptions: where it would throw (out of memory, std::stoi on
/// a word) it calls this instead.
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  StopWithLastError();
}
_LIBCPP_END_NAMESPACE_STD

// --- The end of the only thread --------------------------------------------------------------------------

/// Destructors of thread_local objects would run when the thread ends; the page's thread ends with the page.
extern "C" int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }

// --- WASI calls that tvmjs does not implement ----------------------------------------------------------

extern "C" {

/// The WASI errno for "no such function".
static constexpr int32_t kWasiNoSys = 52;
/// The WASI errno for "bad descriptor"; wasi-libc's search for preopened folders ends on it.
static constexpr int32_t kWasiBadDescriptor = 8;

int32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(int32_t, int32_t) { return kWasiNoSys; }
int32_t __imported_wasi_snapshot_preview1_fd_fdstat_set_flags(int32_t, int32_t) {
  return kWasiNoSys;
}
int32_t __imported_wasi_snapshot_preview1_fd_prestat_get(int32_t, int32_t) {
  return kWasiBadDescriptor;
}
int32_t __imported_wasi_snapshot_preview1_fd_prestat_dir_name(int32_t, int32_t, int32_t) {
  return kWasiBadDescriptor;
}
int32_t __imported_wasi_snapshot_preview1_path_open(int32_t, int32_t, int32_t, int32_t, int32_t,
                                                    int64_t, int64_t, int32_t, int32_t) {
  return kWasiNoSys;
}
}
