// SPDX-License-Identifier: Apache-2.0
// Linux's own asynchronous I/O. An operation is done within io_submit, as Linux itself does it for most files that are
// not opened with O_DIRECT; its event waits in the context until io_getevents fetches it.
#include "libos/aio/calls.hpp"

#include <linux/aio_abi.h>

#include "base/list.hpp"
#include "base/memory.hpp"
#include "libos/fs/fd_table.hpp"
#include "libos/fs/open.hpp"
#include "libos/ipc/anonymous_file.hpp"
#include "libos/ipc/waiting.hpp"
#include "libos/memory/space.hpp"
#include "libos/process/process.hpp"
#include "libos/shared/roots.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

// Served by libos/fs.
Res<i64> sys_read(Thread&, Arguments);
Res<i64> sys_write(Thread&, Arguments);
Res<i64> sys_readv(Thread&, Arguments);
Res<i64> sys_writev(Thread&, Arguments);
Res<i64> sys_pread64(Thread&, Arguments);
Res<i64> sys_pwrite64(Thread&, Arguments);
Res<i64> sys_preadv(Thread&, Arguments);
Res<i64> sys_pwritev(Thread&, Arguments);
Res<i64> sys_fsync(Thread&, Arguments);
Res<i64> sys_fdatasync(Thread&, Arguments);

namespace {

constexpr u64 kMostEvents = 65536;  // fs.aio-max-nr
constexpr i64 kVectorMost = 1024;

/// In the arena, because threads of other processes must be able to take a dead sleeper off its queue.
struct Context {
    ListLink link;
    Process* owner = nullptr;
    u64 id = 0;      ///< address of a page of the program's, as in Linux
    u64 wanted = 0;  ///< of io_setup: what counts against the limit
    u64 capacity = 0;
    u64 first = 0, count = 0;  ///< events in the ring
    u32 users = 0;             ///< calls that use it; who takes the last away after `gone` frees it
    u32 gone = 0;
    WaitQueue arrivals;
    io_event* events = nullptr;
};

struct Contexts {
    SharedLock lock;  ///< the list and all events. Above the queues' locks
    List<Context, &Context::link> all;
    u64 total = 0;
};

Contexts* contexts_if_made() { return arena::root_if_made<Contexts>(kRootAioContexts); }
Res<Contexts*> contexts() { return arena::root<Contexts>(kRootAioContexts); }

void destroy(Context& context) {
    arena::release(context.events, context.capacity * sizeof(io_event));
    arena::destroy(&context);
}

/// Lock held: off the list. Its sleepers wake up and find it gone.
void retire(Contexts& contexts, Context& context) {
    undoable_unlink(contexts.lock, context.link);
    set_undoable(contexts.lock, contexts.total, contexts.total - context.wanted);
    undo_commit(contexts.lock);
    context.gone = 1;
    if (context.users == 0)
        destroy(context);
    else
        context.arrivals.wake(kPollIn);
}

/// A context of the calling process for the length of a call. Errno::inval.
class Held {
public:
    Held() = default;
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() {
        if (context_ == nullptr) return;
        Guard guard{contexts_->lock};
        if (--context_->users == 0 && context_->gone != 0) destroy(*context_);
    }
    Res<void> hold(Thread& thread, u64 id) {
        contexts_ = contexts_if_made();
        if (contexts_ == nullptr) return Failure{Errno::inval};
        Guard guard{contexts_->lock};
        for (Context* context = contexts_->all.front(); context != nullptr; context = contexts_->all.next(*context)) {
            if (context->owner != thread.process || context->id != id) continue;
            ++context->users;
            context_ = context;
            return {};
        }
        return Failure{Errno::inval};
    }
    Context& operator*() const { return *context_; }
    SharedLock& lock() const { return contexts_->lock; }

private:
    Contexts* contexts_ = nullptr;
    Context* context_ = nullptr;
};

bool take_room(Held& held) {
    Guard guard{held.lock()};
    return (*held).count < (*held).capacity;
}

void complete(Held& held, u64 user_iocb, const iocb& request, i64 result) {
    Context& context = *held;
    {
        Guard guard{held.lock()};
        if (context.count == context.capacity) return;  // another thread filled it meanwhile, beyond what it may
        io_event& event = context.events[(context.first + context.count) % context.capacity];
        event.data = request.aio_data;
        event.obj = user_iocb;
        event.res = result;
        event.res2 = 0;
        __atomic_store_n(&context.count, context.count + 1, __ATOMIC_SEQ_CST);
    }
    context.arrivals.wake(kPollIn);
}

Res<i64> transfer(Thread& thread, const iocb& request, bool seekable) {
    const u64 fd = request.aio_fildes, buffer = request.aio_buf, size = request.aio_nbytes;
    const u64 arguments[6] = {fd, buffer, size, static_cast<u64>(request.aio_offset), 0, 0};
    switch (request.aio_lio_opcode) {
        case IOCB_CMD_PREAD: return seekable ? sys_pread64(thread, arguments) : sys_read(thread, arguments);
        case IOCB_CMD_PWRITE: return seekable ? sys_pwrite64(thread, arguments) : sys_write(thread, arguments);
        case IOCB_CMD_PREADV: return seekable ? sys_preadv(thread, arguments) : sys_readv(thread, arguments);
        case IOCB_CMD_PWRITEV: return seekable ? sys_pwritev(thread, arguments) : sys_writev(thread, arguments);
        case IOCB_CMD_FSYNC: return sys_fsync(thread, arguments);
        default: return sys_fdatasync(thread, arguments);
    }
}

Res<void> submit_one(Thread& thread, Held& held, u64 user_iocb) {
    const iocb request = TRY(read_user<iocb>(user_iocb));
    if (request.aio_reserved2 != 0) return Failure{Errno::inval};
    if (static_cast<i64>(request.aio_nbytes) < 0) return Failure{Errno::inval};
    if (!take_room(held)) return Failure{Errno::again};
    HeldFile file, event_file;
    TRY(file.hold(thread, request.aio_fildes));
    if ((file->status_flags & kPathFlag) != 0) return Failure{Errno::badf};
    if ((request.aio_flags & IOCB_FLAG_RESFD) != 0) {
        TRY(event_file.hold(thread, request.aio_resfd));
        if (event_file->kind() != FileKind::event) return Failure{Errno::inval};
    }
    TRY(write_user(user_iocb + offsetof(iocb, aio_key), u32{0}));
    bool reads = false, writes = false, moves = true;
    switch (request.aio_lio_opcode) {
        case IOCB_CMD_PREAD:
        case IOCB_CMD_PREADV: reads = true; break;
        case IOCB_CMD_PWRITE:
        case IOCB_CMD_PWRITEV: writes = true; break;
        case IOCB_CMD_FSYNC:
        case IOCB_CMD_FDSYNC: moves = false; break;
        default: return Failure{Errno::inval};
    }
    if ((reads && !readable(*file.get())) || (writes && !writable(*file.get()))) return Failure{Errno::badf};
    if (moves) {
        if (request.aio_rw_flags & ~0x1f) return Failure{Errno::opnotsupp};
        if (file->is_directory()) return Failure{Errno::inval};
        if (request.aio_offset < 0 && file->seekable()) return Failure{Errno::inval};
        bool vector = request.aio_lio_opcode == IOCB_CMD_PREADV || request.aio_lio_opcode == IOCB_CMD_PWRITEV;
        if (vector && static_cast<i64>(request.aio_nbytes) > kVectorMost) return Failure{Errno::inval};
    } else if (request.aio_buf != 0 || request.aio_offset != 0 || request.aio_nbytes != 0 ||
               request.aio_rw_flags != 0) {
        return Failure{Errno::inval};
    }
    constexpr i32 kNoWait = 8;  // RWF_NOWAIT
    const bool waits = moves && (request.aio_rw_flags & kNoWait) != 0 && !file->seekable() &&
                       (file->poll(thread) & (reads ? kPollIn | kPollHup | kPollErr : kPollOut | kPollErr)) == 0;
    auto done = waits ? Res<i64>{Failure{Errno::again}} : transfer(thread, request, file->seekable());
    i64 result = done.ok() ? done.value() : -static_cast<i64>(done.error());
    if (result <= -512) result = -static_cast<i64>(Errno::intr);  // nothing is restarted here
    complete(held, user_iocb, request, result);
    if (event_file.get() != nullptr) (void)event_signal(*event_file.get());
    return {};
}

}  // namespace

u64 aio_total() {
    Contexts* all = contexts_if_made();
    return all != nullptr ? __atomic_load_n(&all->total, __ATOMIC_RELAXED) : 0;
}

Res<i64> sys_io_setup(Thread& thread, Arguments arguments) {
    const u64 wanted = static_cast<u32>(arguments[0]);
    const u64 old = TRY(read_user<u64>(arguments[1]));
    if (old != 0 || wanted == 0) return Failure{Errno::inval};
    if (wanted > 0x1000'0000 / sizeof(io_event)) return Failure{Errno::inval};
    Contexts& all = *TRY(contexts());
    if (wanted > kMostEvents || aio_total() + wanted > kMostEvents) return Failure{Errno::again};
    const u64 least = u64{g_parameters->processor_count} * 4;
    Context* context = TRY(arena::create<Context>());
    context->owner = thread.process;
    context->wanted = wanted;
    context->capacity = (wanted > least ? wanted : least) * 2;
    auto events = arena::allocate(context->capacity * sizeof(io_event));
    if (!events.ok()) {
        arena::destroy(context);
        return Failure{Errno::nomem};
    }
    context->events = static_cast<io_event*>(events.value());
    // The number is an address, as Linux's, where libraries look for a ring that they know. They find zeros, not its
    // magic, and so call.
    Space& space = *thread.process->space;
    auto page = space.map(0, kPageSize, gate::kProtRead | gate::kProtWrite, kMapFlagPrivate | kMapFlagAnonymous,
                          nullptr, 0, MappingKind::anonymous);
    Res<void> told = page.ok() ? write_user(arguments[1], page.value()) : Res<void>{Failure{page.error()}};
    if (!told.ok()) {
        if (page.ok()) (void)space.unmap(page.value(), kPageSize);
        destroy(*context);
        return Failure{told.error()};
    }
    context->id = page.value();
    thread.process->uses |= kUsesAio;
    Guard guard{all.lock};
    undoable_push_back(all.lock, all.all, *context);
    set_undoable(all.lock, all.total, all.total + wanted);
    return 0;
}

Res<i64> sys_io_destroy(Thread& thread, Arguments arguments) {
    {
        Held held;
        TRY(held.hold(thread, arguments[0]));
        Guard guard{held.lock()};
        if ((*held).gone != 0) return Failure{Errno::inval};
        retire(*contexts_if_made(), *held);
    }
    (void)thread.process->space->unmap(arguments[0], kPageSize);
    return 0;
}

Res<i64> sys_io_submit(Thread& thread, Arguments arguments) {
    const i64 count = static_cast<i64>(arguments[1]);
    if (count < 0) return Failure{Errno::inval};
    Held held;
    TRY(held.hold(thread, arguments[0]));
    i64 done = 0;
    for (; done < count; ++done) {
        auto request = read_user<u64>(arguments[2] + static_cast<u64>(done) * sizeof(u64));
        Res<void> submitted =
            request.ok() ? submit_one(thread, held, request.value()) : Res<void>{Failure{request.error()}};
        if (submitted.ok()) continue;
        if (done != 0) break;
        return Failure{submitted.error()};
    }
    return done;
}

Res<i64> sys_io_cancel(Thread& thread, Arguments arguments) {
    const u32 key = TRY(read_user<u32>(arguments[1] + offsetof(iocb, aio_key)));
    if (key != 0) return Failure{Errno::inval};
    Held held;
    TRY(held.hold(thread, arguments[0]));
    return Failure{Errno::inval};  // what was submitted is done
}

namespace {

Res<i64> get_events(Thread& thread, Arguments arguments) {
    const i64 least = static_cast<i64>(arguments[1]), most = static_cast<i64>(arguments[2]);
    const gate::Deadline deadline = TRY(read_timeout(arguments[4]));
    Held held;
    TRY(held.hold(thread, arguments[0]));
    if (least < 0 || most < 0 || least > most) return Failure{Errno::inval};
    Context& context = *held;
    i64 done = 0;
    for (;;) {
        while (done < most) {
            io_event event;
            {
                Guard guard{held.lock()};
                if (context.count == 0) break;
                event = context.events[context.first];
                context.first = (context.first + 1) % context.capacity;
                __atomic_store_n(&context.count, context.count - 1, __ATOMIC_SEQ_CST);
            }
            auto copied = write_user(arguments[3] + static_cast<u64>(done) * sizeof event, event);
            if (!copied.ok()) {
                if (done != 0) return done;
                return Failure{copied.error()};
            }
            ++done;
        }
        if (done >= least || context.gone != 0) return done;
        auto waited = wait_until(thread, context.arrivals, kPollIn, deadline, [&] {
            return __atomic_load_n(&context.count, __ATOMIC_SEQ_CST) != 0 || context.gone != 0;
        });
        if (waited.ok()) continue;
        if (done != 0 || waited.error() == Errno::timedout) return done;
        return Failure{waited.error() == Errno::restart_sys ? Errno::intr : waited.error()};
    }
}

}  // namespace

Res<i64> sys_io_getevents(Thread& thread, Arguments arguments) { return get_events(thread, arguments); }

Res<i64> sys_io_pgetevents(Thread& thread, Arguments arguments) {
    struct {
        u64 mask, size;
    } wanted = {};
    if (arguments[5] != 0) TRY(copy_in(&wanted, arguments[5], sizeof wanted));
    TemporaryMask mask{thread};
    TRY(mask.begin(wanted.mask, wanted.size));
    auto result = get_events(thread, arguments);
    if (!result.ok() && result.error() == Errno::intr) mask.interrupted();
    return result;
}

void aio_process_ended(Process& process) {
    Contexts* all = contexts_if_made();
    if (all == nullptr) return;
    Guard guard{all->lock};
    for (Context* context = all->all.front(); context != nullptr;) {
        Context* next = all->all.next(*context);
        if (context->owner == &process) {
            context->users = 0;  // a killed process's calls do not come back
            retire(*all, *context);
        }
        context = next;
    }
}

}  // namespace postern::libos
