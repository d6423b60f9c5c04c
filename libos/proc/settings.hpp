// SPDX-License-Identifier: Apache-2.0
// What a privileged program may set for the whole family: its names (sethostname(2)) and the limits of /proc/sys that
// are obeyed. In the arena.
#pragma once

#include <string_view>

#include "libos/errno.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

struct Settings {
    static constexpr u32 kNameSize = 65;  ///< with its NUL, as in struct utsname
    SharedLock lock;                      ///< a leaf: of the names
    char node[kNameSize] = {}, domain[kNameSize] = {};
    // Single words: read and written without the lock.
    u64 number_limit = 32768;   ///< kernel.pid_max
    u64 mapping_limit = 65530;  ///< vm.max_map_count
    u32 crash_lines = 0;        ///< short reports of crashes so far
    u64 pipe_limit = 1 << 20;   ///< fs.pipe-max-size: of a program without CAP_SYS_RESOURCE
    // System V IPC (proc(5)): shmmax, shmall, shmmni, msgmax, msgmnb, msgmni, and sem: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    u64 segment_size_limit = 18446744073692774399ull, segment_pages_limit = 18446744073692774399ull;
    u64 segment_limit = 4096;
    u64 message_limit = 8192, queue_bytes_limit = 16384, queue_limit = 32000;
    u64 semaphore_limits[4] = {32000, 1024000000, 500, 32000};
    u64 lease_break_time = 45;  ///< fs.lease-break-time, seconds
    // POSIX message queues: /proc/sys/fs/mqueue.
    u64 mq_queue_limit = 256, mq_message_limit = 10, mq_message_default = 10;
    u64 mq_size_limit = 8192, mq_size_default = 8192;
    u64 notify_queue_limit = 16384, notify_instance_limit = 128, notify_watch_limit = 65536;  ///< fs.inotify
    i64 next_segment = -1, next_queue = -1,
        next_semaphore = -1;  ///< shm_next_id and its like: of the next object, once
};

/// Once, by the first process.
Res<void> create_settings();
Settings& settings();
/// The number asked for with *_next_id, which holds for one object. -1: none.
inline i64 take_next_id(i64& wanted) { return __atomic_exchange_n(&wanted, -1, __ATOMIC_SEQ_CST); }

/// Copies a name out. `name` is settings().node or settings().domain.
void read_name(const char (&name)[Settings::kNameSize], char (&copy)[Settings::kNameSize]);
/// Errno::inval when it is too long.
Res<void> set_name(char (&name)[Settings::kNameSize], std::string_view fresh);

}  // namespace postern::libos
