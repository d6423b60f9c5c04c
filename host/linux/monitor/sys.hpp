// SPDX-License-Identifier: Apache-2.0
// Small wrappers that the monitor's parts share: owned descriptors, clocks, error texts.
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "host/linux/monitor/launch.hpp"

namespace postern::host {

/// A descriptor that closes itself.
class Fd {
public:
    Fd() = default;
    explicit Fd(int number) : number_{number} {}
    Fd(Fd&& other) noexcept : number_{std::exchange(other.number_, -1)} {}
    Fd& operator=(Fd&& other) noexcept {
        if (this != &other) {
            reset();
            number_ = std::exchange(other.number_, -1);
        }
        return *this;
    }
    ~Fd() { reset(); }
    int get() const { return number_; }
    bool valid() const { return number_ >= 0; }
    int release() { return std::exchange(number_, -1); }
    void reset(int number = -1) {
        if (number_ >= 0) close(number_);
        number_ = number;
    }

private:
    int number_ = -1;
};

inline u64 now_ns() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

/// Unmaps the pages of this program's code: what runs next is mapped again from the page cache, and what was needed
/// only to start is not. For processes that mostly sleep.
void forget_code_pages();

/// A launch error of printf's kind.
__attribute__((format(printf, 2, 3))) inline LaunchError launch_error(int status, const char* format, ...) {
    LaunchError error;
    error.status = status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error.message, sizeof error.message, format, arguments);
    va_end(arguments);
    return error;
}

}  // namespace postern::host
