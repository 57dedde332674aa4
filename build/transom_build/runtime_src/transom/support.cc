// What the wasi libraries expect from a host, fitted to what tvmjs (npm @mlc-ai/web-runtime)
// offers: a last word before every trap, and "no" to the file system calls that tvmjs does not
// implement. It must not know TVM. Memory has its own file.
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <exception>

#include "stop.h"

// --- The last word before a trap -----------------------------------------------------------------

/// Enough for a kind, a message and the place it came from; longer text is cut.
static char last_error[2048];

/// NUL-terminated UTF-8 text of what led to the last trap, empty when there was none. Callable
/// after it.
extern "C" const char* transom_last_error() { return last_error; }

[[noreturn]] static void StopWithLastError() {
  // Straight to the descriptor: no stream may allocate or throw here.
  write(STDERR_FILENO, last_error, strlen(last_error));
  write(STDERR_FILENO, "\n", 1);
  __builtin_trap();
}

extern "C" [[noreturn]] void transom_stop(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  StopWithLastError();
}

/// libc++'s compiled part is built without exceptions: where it would throw (std::stoi on a word,
/// an index out of range) it calls this instead.
_LIBCPP_BEGIN_NAMESPACE_STD
[[noreturn]] void __libcpp_verbose_abort(const char* format, ...) noexcept {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(last_error, sizeof(last_error), format, arguments);
  va_end(arguments);
  StopWithLastError();
}
_LIBCPP_END_NAMESPACE_STD

namespace {

/// An exception reached code that may not throw. Wasm code cannot tell which one it was; TVM's errors
/// have been written to stderr before they were thrown.
[[noreturn]] void StopOnUncaughtException() {
  transom_stop("terminated: an exception left C++ code that may not throw");
}

struct InstallTerminateHandler {
  InstallTerminateHandler() { std::set_terminate(StopOnUncaughtException); }
} install_terminate_handler;

}  // namespace

extern "C" {

/// Replaces wasi-libc's bare trap. TVM's LOG(FATAL) writes its reason to stderr and then calls this.
void abort() { transom_stop("abort() was called; its reason was written to stderr"); }

// --- The end of the only thread ------------------------------------------------------------------

/// Destructors of thread_local objects would run when the thread ends; it ends with the page.
int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }

// --- WASI calls that tvmjs does not implement ----------------------------------------------------

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
}  // extern "C"
