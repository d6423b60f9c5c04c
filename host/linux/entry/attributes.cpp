// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/attributes.hpp"

#include <asm/stat.h>

#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {

using gate::StreamType;

StreamType stream_type_of_mode(u32 mode) {
    switch (mode >> 12) {
        case 001: return StreamType::pipe;
        case 002: return StreamType::character;
        case 004: return StreamType::directory;
        case 010: return StreamType::file;
        case 012: return StreamType::symlink;
        case 014: return StreamType::socket;
        default: return StreamType::unknown;
    }
}

StreamType stream_type_of_directory_entry(u8 type) { return stream_type_of_mode(u32{type} << 12); }

gate::Err read_attributes(i32 descriptor, gate::Attributes& attributes) {
    struct stat status;
    if (long result = call(__NR_fstat, descriptor, &status); result < 0) return to_gate_error(-result);
    attributes.type = stream_type_of_mode(status.st_mode);
    attributes.mode = status.st_mode & 07777;
    attributes.size = static_cast<u64>(status.st_size);
    attributes.allocated = static_cast<u64>(status.st_blocks) * 512;
    attributes.identity = status.st_ino;
    attributes.volume = status.st_dev;
    attributes.links = static_cast<u32>(status.st_nlink);
    // The program sees the numbers that it was started with in place of the host's own.
    attributes.owner = status.st_uid == g_config.host_user_id ? g_config.user_id : status.st_uid;
    attributes.group = status.st_gid == g_config.host_group_id ? g_config.group_id : status.st_gid;
    attributes.block_size = static_cast<u32>(status.st_blksize);
    attributes.accessed = {static_cast<i64>(status.st_atime), static_cast<u32>(status.st_atime_nsec), 0};
    attributes.modified = {static_cast<i64>(status.st_mtime), static_cast<u32>(status.st_mtime_nsec), 0};
    attributes.changed = {static_cast<i64>(status.st_ctime), static_cast<u32>(status.st_ctime_nsec), 0};
    return gate::Err::ok;
}

}  // namespace postern::host
