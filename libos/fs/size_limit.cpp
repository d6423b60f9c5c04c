// SPDX-License-Identifier: Apache-2.0
#include "libos/fs/size_limit.hpp"

#include "libos/fs/open.hpp"
#include "libos/gate.hpp"
#include "libos/process/process.hpp"

namespace postern::libos {

namespace {

constexpr u32 kLimitFileSize = 1;
u64 g_host_limit = ~0ull;

Errno refuse(Thread& thread, u64 limit) {
    // The tighter one decides, and only the family's is its user's business.
    if (limit < thread.process->limits[kLimitFileSize][0]) report_limit(gate::Limit::file_size);
    send_signal_to_thread(thread, user_signal(kSigXfsz));
    return Errno::fbig;
}

u64 largest(const Thread& thread, bool on_host) {
    u64 limit = thread.process->limits[kLimitFileSize][0];
    return on_host && g_host_limit < limit ? g_host_limit : limit;
}

}  // namespace

void set_host_file_limit(u64 bytes) { g_host_limit = bytes; }

Res<u64> limit_size(Thread& thread, File& file, u64 position, u64 size) {
    if (g_host_limit == ~0ull && thread.process->limits[kLimitFileSize][0] == ~0ull) [[likely]]
        return size;
    u64 limit = largest(thread, file.on_host());
    if (limit == ~0ull || !file.seekable() || size == 0) return size;
    if ((file.status_flags & kAppendFlag) != 0) {
        Stat stat;
        TRY(file.stat(thread, stat));
        position = static_cast<u64>(stat.st_size);
    }
    if (position >= limit) return Failure{refuse(thread, limit)};
    return size < limit - position ? size : limit - position;
}

bool beyond_limit(const Thread& thread, bool on_host, u64 length) { return length > largest(thread, on_host); }

Res<void> limit_length(Thread& thread, bool on_host, u64 size, u64 length) {
    u64 limit = largest(thread, on_host);
    if (length <= limit || length <= size) return {};
    return Failure{refuse(thread, limit)};
}

}  // namespace postern::libos
