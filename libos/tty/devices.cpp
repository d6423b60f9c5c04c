// SPDX-License-Identifier: Apache-2.0
// Names of terminals: the directory /dev/pts, /dev/ptmx and /dev/tty.
#include "libos/tty/devices.hpp"

#include "base/format.hpp"
#include "libos/proc/node.hpp"
#include "libos/tty/terminal.hpp"

namespace postern::libos {

namespace {

constexpr u64 kPtsDevice = 0x19;       // others: proc/node.hpp, fs/tmpfs.hpp
constexpr u32 kMultiplexerNumber = 2;  // st_ino, as devpts has it; /dev/pts/N has N + 3
constexpr u32 kFirstTerminal = 3;

/// What is left of its mode and owner once a terminal is gone does not matter: only names that exist are looked up.
class TerminalInode final : public Inode {
public:
    explicit TerminalInode(Terminal& terminal) : terminal_{terminal} {
        terminal_reference(terminal_);
        mode = kTypeCharacter | terminal_.mode;
        uid = terminal_.user;
        gid = terminal_.group;
        device = kPtsDevice;
        number = terminal_.number + kFirstTerminal;
    }
    ~TerminalInode() override { terminal_release(terminal_); }

    Res<FileRef> open(Thread& thread, u32 open_flags) override {
        FileRef file = TRY(open_terminal(thread, terminal_, open_flags));
        if ((open_flags & kNoTerminal) == 0) acquire_terminal_by_open(thread, terminal_, (open_flags & 3) != 1);
        return file;
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        mode = kTypeCharacter | terminal_.mode;
        uid = terminal_.user;
        gid = terminal_.group;
        TRY(Inode::stat(thread, stat));
        stamp(stat);
        stat.st_rdev = terminal_device(terminal_.number);
        stat.st_blksize = 1024;
        return {};
    }
    Res<void> set_attributes(Thread&, u32 changes, const InodeAttributes& attributes) override {
        if ((changes & kChangeMode) != 0) terminal_.mode = attributes.mode & 07777;
        if ((changes & kChangeOwner) != 0) terminal_.user = attributes.uid;
        if ((changes & kChangeGroup) != 0) terminal_.group = attributes.gid;
        mode = kTypeCharacter | terminal_.mode;
        uid = terminal_.user;
        gid = terminal_.group;
        return {};
    }
    Res<void> truncate(Thread&, u64) override { return {}; }

private:
    static constexpr u32 kNoTerminal = 0400;  // O_NOCTTY
    Terminal& terminal_;
};

class MultiplexerInode final : public Inode {
public:
    MultiplexerInode() {
        mode = kTypeCharacter | 0666;
        device = kPtsDevice;
        number = kMultiplexerNumber;
    }
    Res<FileRef> open(Thread& thread, u32 open_flags) override { return open_master(thread, open_flags); }
    Res<void> stat(Thread& thread, Stat& stat) override {
        TRY(Inode::stat(thread, stat));
        stamp(stat);
        stat.st_rdev = kMultiplexerDevice;
        return {};
    }
    Res<void> truncate(Thread&, u64) override { return {}; }
};

class TerminalDirectory final : public Inode {
public:
    Res<InodeRef> lookup(Thread&, std::string_view name) override {
        if (same(name, "ptmx")) {
            auto* inode = TRY(make_inode<MultiplexerInode>());
            return InodeRef{inode};
        }
        i64 wanted = parse_number(name);
        if (wanted < 0) return Failure{Errno::noent};
        Terminal* terminal = TRY(terminal_find(static_cast<u32>(wanted)));
        auto inode = make_terminal_inode(*terminal);
        terminal_release(*terminal);
        return inode;
    }
    Res<void> visit(Thread&, u64 position, DirectoryVisitor& visitor) override {
        constexpr u64 kMultiplexer = 3, kFirst = 4;
        constexpr u8 kCharacterType = 2;
        if (position <= kMultiplexer) {
            if (!visitor.entry("ptmx", kMultiplexerNumber, kCharacterType, kFirst)) return {};
            position = kFirst;
        }
        for (;;) {
            i64 at = terminal_next(static_cast<u32>(position - kFirst));
            if (at < 0) return {};
            TextBuffer<16> name;
            name.add(at);
            position = static_cast<u64>(at) + kFirst + 1;
            if (!visitor.entry(name.view(), static_cast<u64>(at) + kFirstTerminal, kCharacterType, position)) return {};
        }
    }
    Res<InodeRef> create(Thread&, std::string_view, u32) override { return Failure{Errno::acces}; }
    Res<void> stat(Thread& thread, Stat& stat) override {
        TRY(Inode::stat(thread, stat));
        stamp(stat);
        return {};
    }
};

}  // namespace

Res<InodeRef> make_terminal_inode(Terminal& terminal) {
    auto* inode = TRY(make_inode<TerminalInode>(terminal));
    return InodeRef{inode};
}

Res<InodeRef> create_pts_tree() {
    auto* inode = TRY(make_inode<TerminalDirectory>());
    inode->mode = kTypeDirectory | 0755;
    inode->device = kPtsDevice;
    inode->number = 1;
    return InodeRef{inode};
}

Res<FileRef> open_controlling_terminal(Thread& thread, u32 open_flags) {
    Terminal* terminal = TRY(controlling_terminal(thread));
    auto file = open_terminal(thread, *terminal, open_flags);
    terminal_release(*terminal);
    return file;
}

Res<FileRef> open_multiplexer(Thread& thread, u32 open_flags) { return open_master(thread, open_flags); }

}  // namespace postern::libos
