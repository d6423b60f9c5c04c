// SPDX-License-Identifier: Apache-2.0
// What guests print: "ok" or "FAIL" and what was expected, a line each; and children that they wait for.
#pragma once

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;
static inline void check(int condition, const char* name) {
    printf("%s %s\n", condition ? "ok" : "FAIL", name);
    fflush(stdout);
    if (!condition) ++failures;
}
#define CHECK(condition) check((condition) != 0, #condition)
/// The call fails with this error.
#define FAILS(call, error) check((errno = 0, (call) == -1) && errno == (error), #call " fails with " #error)

/// A child that runs the statements and then ends with status 0.
#define CHILD(...)             \
    ({                         \
        pid_t child_ = fork(); \
        if (child_ == 0) {     \
            __VA_ARGS__;       \
            _exit(0);          \
        }                      \
        child_;                \
    })
static inline int reap(pid_t child) {
    int status = -1;
    waitpid(child, &status, 0);
    return status;
}
