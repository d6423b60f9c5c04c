// SPDX-License-Identifier: Apache-2.0
// The caller's terminal while a program has one of its own (-t). The program's terminal lives in the library OS; here
// the caller's is put in raw mode, its keys and sizes go into a pipe as packets (gate/console.hpp), and it is restored
// at the end. Nothing of the terminal itself reaches a picoprocess.
#pragma once

#include <poll.h>
#include <termios.h>

#include "host/linux/monitor/sys.hpp"

namespace postern::host {

class Terminal {
public:
    Terminal() = default;
    Terminal(const Terminal&) = delete;
    ~Terminal() { restore(); }

    /// Standard input must be a terminal. Remembers its settings.
    Result<void, LaunchError> open();
    bool present() const { return present_; }
    const struct ::termios& settings() const { return saved_; }
    /// Makes the pipe for packets; the descriptor of its end for the program, which stays this object's.
    Result<int, LaunchError> connect();
    /// From now on keys are the program's. Does nothing in the background.
    void raw();
    /// As it was found, unless somebody else has the terminal by now.
    void restore();

    /// What to wait for.
    pollfd event() const;
    /// After it happened, or to try: true when there is something new for the program.
    bool transfer(short events);
    bool send_window();
    void disconnect() { theirs_.reset(); }

private:
    bool send(const u8* packet, usize size);
    bool foreground() const;

    struct ::termios saved_ = {};
    bool present_ = false, raw_ = false, ended_ = false;
    Fd mine_, theirs_;
    u8 held_[1024];
    usize held_size_ = 0;  ///< a packet that the pipe has no room for
};

}  // namespace postern::host
