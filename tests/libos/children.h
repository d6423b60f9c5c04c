// SPDX-License-Identifier: Apache-2.0
// Children that guests make and wait for.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

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
