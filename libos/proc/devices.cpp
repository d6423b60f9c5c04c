// SPDX-License-Identifier: Apache-2.0
// /dev: the memory devices, the doors to terminals, links to descriptors, and the places for /dev/pts and /dev/shm.
#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/proc/node.hpp"
#include "libos/process/process.hpp"
#include "libos/tty/devices.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

enum class Device : u32 { null, zero, full, random, terminal, multiplexer };

class DeviceFile final : public File {
public:
    DeviceFile(Device device, u32 flags) : device_{device} { status_flags = flags; }

    Res<i64> read(Thread&, u64 user, u64 size, u64) override {
        if (size > kMost) size = kMost;
        switch (device_) {
            case Device::null: return 0;
            case Device::zero:
            case Device::full: TRY(zero_out(user, size)); return static_cast<i64>(size);
            default: break;
        }
        u8 bytes[256];
        u64 done = 0;
        while (done < size) {
            u64 part = size - done < sizeof bytes ? size - done : sizeof bytes;
            TRY(check(g_gate->DkRandomBitsRead(bytes, part)));
            u64 copied = copy_out_some(user + done, bytes, part);
            done += copied;
            if (copied < part) break;
        }
        if (done == 0 && size != 0) return Failure{Errno::fault};
        return static_cast<i64>(done);
    }
    Res<i64> read_kernel(Thread&, void* buffer, u64 size, u64) override {
        if (device_ == Device::null) return 0;
        if (device_ == Device::random) {
            TRY(check(g_gate->DkRandomBitsRead(buffer, size)));
        } else {
            memset(buffer, 0, size);
        }
        return static_cast<i64>(size);
    }
    Res<i64> write(Thread&, u64, u64 size, u64) override {
        if (device_ == Device::full) return Failure{Errno::nospc};
        return static_cast<i64>(size);
    }
    Res<i64> write_kernel(Thread&, const void*, u64 size, u64) override {
        if (device_ == Device::full) return Failure{Errno::nospc};
        return static_cast<i64>(size);
    }
    Res<i64> seek(Thread&, i64, u32) override { return 0; }
    bool takes_positions() const override { return true; }
    Res<void> truncate(Thread&, u64) override { return Failure{Errno::inval}; }
    Res<i64> ioctl(Thread&, u32 request, u64 argument) override {
        constexpr u32 kEntropy = 0x8004'5200;  // RNDGETENTCNT
        if (device_ != Device::random || request != kEntropy) return Failure{Errno::notty};
        TRY(write_user(argument, i32{256}));
        return 0;
    }
    Res<void> map(u64 address, u64 size, u64, u32 prot, bool shared) override {
        if (device_ != Device::zero) return Failure{Errno::nodev};
        u32 flags = gate::kAllocCommit | gate::kAllocReplace | (shared ? u32{gate::kAllocShared} : 0);
        return check(g_gate->DkVirtualMemoryAlloc(address, size, flags, prot));
    }

private:
    static constexpr u64 kMost = 0x7fff'f000;
    Device device_;
};

constexpr struct {
    const char* name;
    Device device;
    u32 number;
    const char* target;
} kEntries[] = {
    {"full", Device::full, 0x107, nullptr},
    {"null", Device::null, 0x103, nullptr},
    {"ptmx", Device::multiplexer, kMultiplexerDevice, nullptr},
    {"pts", Device::null, 0, ""},
    {"random", Device::random, 0x108, nullptr},
    {"tty", Device::terminal, 0x500, nullptr},
    {"urandom", Device::random, 0x109, nullptr},
    {"zero", Device::zero, 0x105, nullptr},
    {"shm", Device::null, 0, ""},
    {"fd", Device::null, 0, "/proc/self/fd"},
    {"stdin", Device::null, 0, "/proc/self/fd/0"},
    {"stdout", Device::null, 0, "/proc/self/fd/1"},
    {"stderr", Device::null, 0, "/proc/self/fd/2"},
};
constexpr u32 kEntryCount = sizeof kEntries / sizeof *kEntries;

class DeviceInode final : public Inode {
public:
    explicit DeviceInode(u32 index) : index_{index} {
        const auto& entry = kEntries[index];
        if (entry.target == nullptr)
            mode = kTypeCharacter | 0666;
        else
            mode = entry.target[0] == 0 ? kTypeDirectory | 01777 : kTypeLink | 0777;
        device = kDevDevice;
        number = index + 2;
    }
    Res<FileRef> open(Thread& thread, u32 open_flags) override {
        const auto& entry = kEntries[index_];
        if (is_directory()) return Inode::open(thread, open_flags);
        if (entry.device == Device::terminal) return open_controlling_terminal(thread, open_flags);
        if (entry.device == Device::multiplexer) return open_multiplexer(thread, open_flags);
        auto* file = TRY(make_file<DeviceFile>(entry.device, open_flags));
        return FileRef{file};
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        TRY(Inode::stat(thread, stat));
        stamp(stat);
        if (kEntries[index_].target == nullptr) stat.st_rdev = kEntries[index_].number;
        return {};
    }
    Res<usize> read_link(Thread&, char* buffer, usize capacity) override {
        const char* target = kEntries[index_].target;
        if (target == nullptr || target[0] == 0) return Failure{Errno::inval};
        usize length = strlen(target) < capacity ? strlen(target) : capacity;
        memcpy(buffer, target, length);
        return length;
    }
    Res<void> truncate(Thread&, u64) override { return {}; }  // open(2) with O_TRUNC: `> /dev/null`

private:
    u32 index_;
};

class DeviceDirectory final : public Inode {
public:
    Res<InodeRef> lookup(Thread&, std::string_view name) override {
        for (u32 index = 0; index < kEntryCount; ++index)
            if (same(name, kEntries[index].name)) {
                auto* inode = TRY(make_inode<DeviceInode>(index));
                return InodeRef{inode};
            }
        return Failure{Errno::noent};
    }
    Res<void> visit(Thread&, u64 position, DirectoryVisitor& visitor) override {
        constexpr u64 kFirst = 3;
        if (position < kFirst) position = kFirst;
        for (; position - kFirst < kEntryCount; ++position) {
            const auto& entry = kEntries[position - kFirst];
            u8 type = entry.target == nullptr ? 2 : entry.target[0] == 0 ? 4 : 10;
            if (!visitor.entry({entry.name, strlen(entry.name)}, position - kFirst + 2, type, position + 1)) break;
        }
        return {};
    }
    Res<InodeRef> create(Thread&, std::string_view, u32) override { return Failure{Errno::acces}; }
};

}  // namespace

Res<FileRef> open_device(Thread& thread, u64 device, u32 open_flags) {
    for (const auto& entry : kEntries) {
        if (entry.target != nullptr || entry.number != device) continue;
        if (entry.device == Device::terminal) return open_controlling_terminal(thread, open_flags);
        if (entry.device == Device::multiplexer) return open_multiplexer(thread, open_flags);
        auto* file = TRY(make_file<DeviceFile>(entry.device, open_flags));
        return FileRef{file};
    }
    return Failure{Errno::nxio};
}

Res<InodeRef> create_dev_tree() {
    auto* inode = TRY(make_inode<DeviceDirectory>());
    inode->mode = kTypeDirectory | 0755;
    inode->device = kDevDevice;
    return InodeRef{inode};
}

}  // namespace postern::libos
