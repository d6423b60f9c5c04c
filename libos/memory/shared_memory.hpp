// SPDX-License-Identifier: Apache-2.0
// The memory behind MAP_SHARED | MAP_ANONYMOUS: arena pages, so that forked processes see the same bytes.
#pragma once

#include "libos/fs/file.hpp"

namespace postern::libos {

/// Never behind a descriptor: mappings hold the only references. Pages are kept until the last mapping goes; when a
/// process that maps it is killed by the host its reference stays, and with it the memory, until the family ends.
class SharedMemory final : public File {
public:
    static Res<SharedMemory*> create(u64 size);
    SharedMemory(void* pages, u64 count) : pages_{pages}, count_{count} { status_flags = 2; }
    ~SharedMemory() override;
    Res<void> map(u64 address, u64 size, u64 offset, u32 prot, bool shared) override;
    void* pages() const { return pages_; }

private:
    void* pages_;
    u64 count_;
};

}  // namespace postern::libos
