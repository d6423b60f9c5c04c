// SPDX-License-Identifier: Apache-2.0
// The tree of made-up files as data: constant tables of nodes, and the inodes that stand for them.
//
// A node says how one name behaves for whatever process its path leads through; the inode adds which process (and
// thread) that was. Inodes are made for each lookup and are small.
#pragma once

#include "libos/fs/inode.hpp"
#include "libos/proc/text.hpp"

namespace postern::libos {

/// Who a file speaks of. `process` is null for files of the system as a whole. While text is written the table of
/// processes is locked, unless the process is the caller's own.
struct Subject {
    Thread& caller;
    Process* process;
    Thread* thread;                   ///< the one named by the path, else the process's first
    const struct Observed* observed;  ///< of another process, where the node asks for it; may be null
    bool own() const;  ///< the process that runs in the calling picoprocess: its address space can be looked at
};

using TextWriter = Res<void> (*)(const Subject& subject, ProcText& text);
using TextStore = Res<void> (*)(const Subject& subject, std::string_view text);
/// Target of a symbolic link. Returns its length.
using LinkWriter = Res<usize> (*)(const Subject& subject, char* buffer, usize capacity);

enum class NodeKind : u8 {
    file,
    directory,
    link,
    root,         ///< /proc: its children, and a directory for each process
    tasks,        ///< /proc/PID/task
    descriptors,  ///< /proc/PID/fd
    descriptor_infos,
    memory,  ///< /proc/PID/mem
};

/// What a text needs of another process: see observe.hpp.
enum class NodeAsks : u8 { nothing, measures, maps, detailed_maps };

struct Node {
    const char* name;
    NodeKind kind;
    u32 mode;  ///< permission bits
    TextWriter text = nullptr;
    TextStore store = nullptr;
    LinkWriter link = nullptr;
    const char* target = nullptr;  ///< of a link that is always the same
    const Node* children = nullptr;
    u32 child_count = 0;
    NodeAsks asks = NodeAsks::nothing;
};

extern const Node kProcRoot;
extern const Node kProcessDirectory;  ///< /proc/PID
extern const Node kTaskDirectory;     ///< /proc/PID/task/TID
extern const Node kSysRoot;           ///< /sys

Res<InodeRef> make_node_inode(const Node& node, u32 pid, u32 tid, u64 device);

inline constexpr u64 kProcDevice = 0x15, kSysDevice = 0x16, kDevDevice = 0x5;

/// What is made up when it is looked at is as old as that.
void stamp(Stat& stat);

/// "1234", or -1 when it is no plain number.
i64 parse_number(std::string_view text);
bool same(std::string_view left, const char* right);

}  // namespace postern::libos
