// The last word before a trap; see support.cc.
#ifndef TRANSOM_STOP_H_
#define TRANSOM_STOP_H_

/// Keep the formatted text for transom_last_error(), write it to stderr as one line, and trap.
extern "C" [[noreturn]] __attribute__((format(printf, 1, 2))) void transom_stop(const char* format,
                                                                                ...);

#endif  // TRANSOM_STOP_H_
