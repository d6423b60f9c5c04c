// SPDX-License-Identifier: Apache-2.0
// FIFOs among the host's files: see host_fifo.hpp.
#include "libos/fs/host_fifo.hpp"

#include "base/memory.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/open.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/shared/roots.hpp"

namespace postern::libos {

namespace {

class HostFifo;
struct OpenFifos;

/// An inode while somebody has the FIFO open.
class HostFifo final : public Inode {
public:
    ~HostFifo() override;

    static Res<InodeRef> find(OpenFifos& fifos, const gate::Attributes& attributes, std::string_view path);
    Res<void> stat(Thread& thread, Stat& stat) override;
    Res<FileRef> open(Thread& thread, u32 open_flags) override { return pipe_open_fifo(thread, *pipe_, open_flags); }
    Res<void> set_attributes(Thread& thread, u32 changes, const InodeAttributes& attributes) override;

    bool is(const gate::Attributes& other) const { return other.volume == device && other.identity == number; }

    ListLink link;
    u64 replaced = 0;  ///< another FIFO has the number by now

private:
    /// What the host says of the name, if it is still this FIFO's.
    bool ask(gate::Attributes& answer) const {
        return g_gate->DkStreamAttributesQuery(uri_, gate::kOpenNoFollow, &answer) == gate::Err::ok && is(answer);
    }

    Pipe* pipe_ = nullptr;
    gate::Attributes attributes_;  ///< as first opened
    char* uri_ = nullptr;
    usize uri_size_ = 0;
};

struct OpenFifos {
    SharedLock lock;  ///< below no other lock
    List<HostFifo, &HostFifo::link> list;
};

HostFifo::~HostFifo() {
    if (link.linked()) {
        OpenFifos* fifos = arena::root_if_made<OpenFifos>(kRootHostFifos);
        Guard guard{fifos->lock};
        undoable_unlink(fifos->lock, link);
    }
    if (pipe_ != nullptr) pipe_release(*pipe_);
    if (uri_ != nullptr) arena::release(uri_, uri_size_);
}

Res<InodeRef> HostFifo::find(OpenFifos& fifos, const gate::Attributes& attributes, std::string_view path) {
    auto known = [&]() -> HostFifo* {
        for (HostFifo* at = fifos.list.front(); at != nullptr; at = fifos.list.next(*at))
            if (at->is(attributes) && at->replaced == 0 && at->try_reference()) return at;
        return nullptr;
    };
    {
        Guard guard{fifos.lock};
        if (HostFifo* fifo = known()) return InodeRef{fifo};
    }
    HostFifo* fifo = TRY(make_inode<HostFifo>());
    InodeRef made{fifo};
    fifo->pipe_ = TRY(pipe_create());
    fifo->uri_size_ = kScheme + path.size() + 1;
    fifo->uri_ = static_cast<char*>(TRY(arena::allocate(fifo->uri_size_)));
    memcpy(fifo->uri_, "file:", kScheme);
    copy_string(fifo->uri_ + kScheme, path.size() + 1, path);
    fifo->attributes_ = attributes;
    fifo->attributes_.name = nullptr;
    fifo->mode = kTypeFifo | (attributes.mode & 07777);
    fifo->uid = attributes.owner;
    fifo->gid = attributes.group;
    fifo->device = attributes.volume;
    fifo->number = attributes.identity;
    Guard guard{fifos.lock};
    // Of two that came at once the first is taken.
    if (HostFifo* first = known()) return InodeRef{first};
    undoable_push_back(fifos.lock, fifos.list, *fifo);
    return made;
}

Res<void> HostFifo::stat(Thread&, Stat& stat) {
    gate::Attributes now;
    const bool named = ask(now);
    fill_stat(named ? now : attributes_, stat);
    if (!named) stat.st_nlink = 0;
    return {};
}

Res<void> HostFifo::set_attributes(Thread&, u32 changes, const InodeAttributes& attributes) {
    gate::Attributes wanted;
    if (!ask(wanted)) return {};  // without a name it is nobody's to see
    u32 mask = 0;
    if (changes & kChangeMode) mask |= gate::kSetMode, wanted.mode = mode = kTypeFifo | (attributes.mode & 0777);
    wanted.mode &= 07777;
    if (changes & kChangeOwner) mask |= gate::kSetOwner, wanted.owner = attributes.uid;
    if (changes & kChangeGroup) mask |= gate::kSetGroup, wanted.group = attributes.gid;
    if (changes & kChangeAccessed) {
        mask |= gate::kSetAccessed;
        wanted.accessed = {attributes.accessed, static_cast<u32>(attributes.accessed_ns), 0};
    }
    if (changes & kChangeModified) {
        mask |= gate::kSetModified;
        wanted.modified = {attributes.modified, static_cast<u32>(attributes.modified_ns), 0};
    }
    return check(g_gate->DkStreamAttributesSet(uri_, gate::kOpenNoFollow, mask, &wanted));
}

}  // namespace

Res<FileRef> open_host_fifo(Thread& thread, const gate::Attributes& attributes, std::string_view path, u32 open_flags) {
    const u32 access = open_flags & kAccessMask;
    const u32 wanted = access == kReadOnlyFlag ? 4 : access == kWriteOnlyFlag ? 2 : 6;
    TRY(check_permission(thread, kTypeFifo | attributes.mode, attributes.owner, attributes.group, wanted));
    OpenFifos* fifos = TRY(arena::root<OpenFifos>(kRootHostFifos));
    InodeRef inode = TRY(HostFifo::find(*fifos, attributes, path));
    FileRef file = TRY(inode->open(thread, open_flags));
    file->inode = inode.leak();
    return file;
}

void host_fifo_made(const gate::Attributes& attributes) {
    OpenFifos* fifos = arena::root_if_made<OpenFifos>(kRootHostFifos);
    if (fifos == nullptr) return;
    Guard guard{fifos->lock};
    for (HostFifo* at = fifos->list.front(); at != nullptr; at = fifos->list.next(*at))
        if (at->is(attributes)) at->replaced = 1;
}

}  // namespace postern::libos
