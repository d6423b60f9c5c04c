// SPDX-License-Identifier: Apache-2.0
// Root, working directory and umask of processes.
#include "base/memory.hpp"
#include "libos/fs/inode.hpp"
#include "libos/fs/path.hpp"
#include "libos/fs/walk.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

Res<FsContext*> FsContext::create(const char* cwd) {
    TRY(initialize_file_systems());
    FsContext* context = TRY(arena::create<FsContext>());
    context->references = 1;
    context->umask = 022;
    context->cwd_inode = nullptr;
    copy_string(context->root, kPathMax, "/");
    copy_string(context->cwd, kPathMax, cwd != nullptr && cwd[0] == '/' ? cwd : "/");
    InodeRef inode = inside_directory({context->cwd, strlen(context->cwd)});
    if (inode.get() != nullptr) context->cwd_inode = inode.leak();
    return context;
}

Res<FsContext*> FsContext::clone() {
    FsContext* copy = TRY(arena::create<FsContext>());
    Guard guard{lock};
    copy->references = 1;
    copy->umask = umask;
    copy_string(copy->root, kPathMax, root);
    copy_string(copy->cwd, kPathMax, cwd);
    copy->cwd_inode = cwd_inode;
    if (cwd_inode != nullptr) cwd_inode->reference();
    return copy;
}

void FsContext::reference() { __atomic_add_fetch(&references, 1, __ATOMIC_SEQ_CST); }

void FsContext::release() {
    if (__atomic_sub_fetch(&references, 1, __ATOMIC_SEQ_CST) != 0) return;
    if (cwd_inode != nullptr) cwd_inode->release();
    arena::destroy(this);
}

}  // namespace postern::libos
