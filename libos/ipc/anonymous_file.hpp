// SPDX-License-Identifier: Apache-2.0
// eventfd(2), timerfd_create(2) and signalfd(2) as files.
#pragma once

#include "libos/fs/fd_table.hpp"
#include "libos/time/timers.hpp"

namespace postern::libos {

/// One more event, as the kernel signals them: never blocks. False: the file is no eventfd.
bool event_signal(File& file);
Res<FileRef> make_event_file(u64 initial, bool semaphore, u32 open_flags);

struct TimerSpec {  // struct itimerspec
    TimeSpec interval, value;
};
/// `clock` is Linux's number. Errno::inval for clocks that timerfd does not know, Errno::perm for alarm clocks.
Res<FileRef> make_timer_file(i32 clock, u32 open_flags);
/// Errno::inval when the file is none. `flags`: TFD_TIMER_ABSTIME and TFD_TIMER_CANCEL_ON_SET.
Res<void> timer_file_set(File& file, u32 flags, const TimerSpec& wanted, TimerSpec& old);
Res<void> timer_file_get(File& file, TimerSpec& current);

Res<FileRef> make_signal_file(u64 mask, u32 open_flags);
/// signalfd(2) on an existing one. Errno::inval when the file is none.
Res<void> signal_file_set_mask(File& file, u64 mask);

}  // namespace postern::libos
