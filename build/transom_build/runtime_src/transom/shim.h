// Included before every source: what wasi's single-threaded libc++ leaves out and TVM's sources
// name.
//
// One thread only, so a lock has nothing to do and a sleep would block the page: both return at
// once. There is no file system in the page either: file streams exist and never open.
#ifndef TRANSOM_SHIM_H_
#define TRANSOM_SHIM_H_

#ifdef __cplusplus

#include <chrono>
#include <istream>
#include <mutex>
#include <ostream>
#include <string>
#include <thread>

namespace std {

class mutex {
 public:
  void lock() {}
  bool try_lock() { return true; }
  void unlock() {}
};

class recursive_mutex : public mutex {};

template <typename... Mutexes>
class scoped_lock {
 public:
  explicit scoped_lock(Mutexes&...) {}
  scoped_lock(const scoped_lock&) = delete;
  scoped_lock& operator=(const scoped_lock&) = delete;
  ~scoped_lock() {}
};

namespace this_thread {
template <typename Rep, typename Period>
void sleep_for(const chrono::duration<Rep, Period>&) {}
}  // namespace this_thread

template <>
class basic_ifstream<char> : public basic_istream<char> {
 public:
  basic_ifstream() : basic_istream<char>(nullptr) { setstate(ios_base::failbit); }
  explicit basic_ifstream(const string&, ios_base::openmode = ios_base::in) : basic_ifstream() {}
  bool is_open() const { return false; }
  void close() {}
};

template <>
class basic_ofstream<char> : public basic_ostream<char> {
 public:
  basic_ofstream() : basic_ostream<char>(nullptr) { setstate(ios_base::failbit); }
  explicit basic_ofstream(const string&, ios_base::openmode = ios_base::out) : basic_ofstream() {}
  bool is_open() const { return false; }
  void close() {}
};

}  // namespace std

#endif  // __cplusplus
#endif  // TRANSOM_SHIM_H_
