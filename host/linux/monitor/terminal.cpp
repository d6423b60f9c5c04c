// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/terminal.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "gate/console.hpp"

namespace postern::host {

using gate::ConsolePacket;

Result<void, LaunchError> Terminal::open() {
    if (tcgetattr(STDIN_FILENO, &saved_) != 0)
        return Failure{
            launch_error(125, "the input device is not a TTY; leave out -t, or start postern in a terminal")};
    present_ = true;
    return {};
}

Result<int, LaunchError> Terminal::connect() {
    int ends[2];
    // Packets arrive whole or not at all, whoever of the family reads and dies.
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK | O_DIRECT) != 0)
        return Failure{launch_error(125, "cannot make a pipe: %s", strerror(errno))};
    theirs_.reset(ends[0]);
    mine_.reset(ends[1]);
    send_window();
    return ends[0];
}

bool Terminal::foreground() const {
    pid_t group = tcgetpgrp(STDIN_FILENO);
    return group < 0 || group == getpgrp();
}

void Terminal::raw() {
    if (!present_ || !foreground()) return;
    struct ::termios settings = saved_;
    cfmakeraw(&settings);
    raw_ = tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) == 0;
}

void Terminal::restore() {
    if (!raw_) return;
    raw_ = false;
    if (foreground()) tcsetattr(STDIN_FILENO, TCSADRAIN, &saved_);
}

bool Terminal::send(const u8* packet, usize size) {
    ssize_t written;
    do {
        written = write(mine_.get(), packet, size);
    } while (written < 0 && errno == EINTR);
    if (written < 0 && errno == EAGAIN) return false;
    if (written < 0) ended_ = true;
    return true;
}

bool Terminal::send_window() {
    winsize window = {};
    if (!mine_.valid() || ioctl(STDIN_FILENO, TIOCGWINSZ, &window) != 0) return false;
    u8 packet[1 + sizeof window];
    packet[0] = static_cast<u8>(ConsolePacket::window);
    memcpy(packet + 1, &window, sizeof window);
    return send(packet, sizeof packet);
}

pollfd Terminal::event() const {
    if (!mine_.valid() || ended_) return {-1, 0, 0};
    if (held_size_ != 0) return {mine_.get(), POLLOUT, 0};
    return {STDIN_FILENO, POLLIN, 0};
}

bool Terminal::transfer(short events) {
    if (events == 0 || ended_) return false;
    if (held_size_ == 0) {
        held_[0] = static_cast<u8>(ConsolePacket::keys);
        ssize_t size = read(STDIN_FILENO, held_ + 1, sizeof held_ - 1);
        if (size < 0 && (errno == EINTR || errno == EAGAIN)) return false;
        if (size <= 0) {
            held_[0] = static_cast<u8>(ConsolePacket::hangup);
            size = 0;
        }
        held_size_ = static_cast<usize>(size) + 1;
    }
    if (!send(held_, held_size_)) return true;  // the program may not know yet that there is much to read
    if (held_[0] == static_cast<u8>(ConsolePacket::hangup)) ended_ = true;
    held_size_ = 0;
    return true;
}

}  // namespace postern::host
