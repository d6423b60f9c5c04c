// SPDX-License-Identifier: Apache-2.0
// pipe, eventfd, timerfd, signalfd and epoll.
#include <linux/eventpoll.h>
#include <linux/fcntl.h>

#include "libos/ipc/anonymous_file.hpp"
#include "libos/ipc/calls.hpp"
#include "libos/ipc/epoll.hpp"
#include "libos/ipc/pipe.hpp"
#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u32 kSemaphore = 1;  // EFD_SEMAPHORE

Res<i64> install(Thread& thread, FileRef file, u32 flags) {
    u32 fd = TRY(thread.process->files->install(std::move(file), (flags & O_CLOEXEC) != 0));
    return fd;
}

Res<i64> pipe_call(Thread& thread, u64 user, u32 flags) {
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0) return Failure{Errno::inval};
    FileRef reader, writer;
    TRY(pipe_create_pair(flags, reader, writer));
    FdTable& table = *thread.process->files;
    const bool close_on_exec = (flags & O_CLOEXEC) != 0;
    u32 fds[2];
    fds[0] = TRY(table.install(std::move(reader), close_on_exec));
    auto second = table.install(std::move(writer), close_on_exec);
    if (!second.ok()) {
        (void)table.close(fds[0]);
        return Failure{second.error()};
    }
    fds[1] = second.value();
    auto copied = copy_out(user, fds, sizeof fds);
    if (!copied.ok()) {
        (void)table.close(fds[0]);
        (void)table.close(fds[1]);
        return Failure{copied.error()};
    }
    return 0;
}

}  // namespace

Res<i64> sys_pipe(Thread& thread, Arguments arguments) { return pipe_call(thread, arguments[0], 0); }
Res<i64> sys_pipe2(Thread& thread, Arguments arguments) {
    return pipe_call(thread, arguments[0], static_cast<u32>(arguments[1]));
}

namespace {

Res<i64> eventfd_call(Thread& thread, u32 initial, u32 flags) {
    if ((flags & ~(kSemaphore | O_CLOEXEC | O_NONBLOCK)) != 0) return Failure{Errno::inval};
    FileRef file = TRY(make_event_file(initial, (flags & kSemaphore) != 0, O_RDWR | (flags & O_NONBLOCK)));
    return install(thread, std::move(file), flags);
}

}  // namespace

Res<i64> sys_eventfd(Thread& thread, Arguments arguments) {
    return eventfd_call(thread, static_cast<u32>(arguments[0]), 0);
}
Res<i64> sys_eventfd2(Thread& thread, Arguments arguments) {
    return eventfd_call(thread, static_cast<u32>(arguments[0]), static_cast<u32>(arguments[1]));
}

Res<i64> sys_timerfd_create(Thread& thread, Arguments arguments) {
    u32 flags = static_cast<u32>(arguments[1]);
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0) return Failure{Errno::inval};
    FileRef file = TRY(make_timer_file(static_cast<i32>(arguments[0]), O_RDWR | (flags & O_NONBLOCK)));
    return install(thread, std::move(file), flags);
}

Res<i64> sys_timerfd_settime(Thread& thread, Arguments arguments) {
    TimerSpec wanted = TRY(read_user<TimerSpec>(arguments[2]));
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    TimerSpec old;
    TRY(timer_file_set(*file.get(), static_cast<u32>(arguments[1]), wanted, old));
    if (arguments[3] != 0) TRY(write_user(arguments[3], old));
    return 0;
}

Res<i64> sys_timerfd_gettime(Thread& thread, Arguments arguments) {
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    TimerSpec current;
    TRY(timer_file_get(*file.get(), current));
    TRY(write_user(arguments[1], current));
    return 0;
}

namespace {

Res<i64> signalfd_call(Thread& thread, Arguments arguments, u32 flags) {
    if (arguments[2] != sizeof(u64)) return Failure{Errno::inval};
    if ((flags & ~(O_CLOEXEC | O_NONBLOCK)) != 0) return Failure{Errno::inval};
    u64 mask = TRY(read_user<u64>(arguments[1]));
    if (static_cast<i32>(arguments[0]) == -1) {
        FileRef file = TRY(make_signal_file(mask, O_RDWR | (flags & O_NONBLOCK)));
        return install(thread, std::move(file), flags);
    }
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    TRY(signal_file_set_mask(*file.get(), mask));
    return static_cast<i32>(arguments[0]);
}

}  // namespace

Res<i64> sys_signalfd(Thread& thread, Arguments arguments) { return signalfd_call(thread, arguments, 0); }
Res<i64> sys_signalfd4(Thread& thread, Arguments arguments) {
    return signalfd_call(thread, arguments, static_cast<u32>(arguments[3]));
}

Res<i64> sys_epoll_create(Thread& thread, Arguments arguments) {
    if (static_cast<i32>(arguments[0]) <= 0) return Failure{Errno::inval};
    FileRef file = TRY(make_epoll_file(O_RDWR));
    return install(thread, std::move(file), 0);
}

Res<i64> sys_epoll_create1(Thread& thread, Arguments arguments) {
    u32 flags = static_cast<u32>(arguments[0]);
    if ((flags & ~O_CLOEXEC) != 0) return Failure{Errno::inval};
    FileRef file = TRY(make_epoll_file(O_RDWR));
    return install(thread, std::move(file), flags);
}

Res<i64> sys_epoll_ctl(Thread& thread, Arguments arguments) {
    EpollEvent event{};
    u32 operation = static_cast<u32>(arguments[1]);
    if (operation != EPOLL_CTL_DEL) TRY(copy_in(&event, arguments[3], sizeof event));
    HeldFile set, file;
    TRY(set.hold(thread, static_cast<u32>(arguments[0])));
    TRY(file.hold(thread, static_cast<u32>(arguments[2])));
    constexpr u32 kPathOnly = 010000000;  // O_PATH
    if (((set->status_flags | file->status_flags) & kPathOnly) != 0) return Failure{Errno::badf};
    TRY(epoll_control(thread, *set.get(), operation, *file.get(), static_cast<u32>(arguments[2]), event));
    return 0;
}

namespace {

constexpr u32 kEventsOnStack = 64;

Res<i64> epoll_wait_call(Thread& thread, Arguments arguments, gate::Deadline deadline, u64 mask_address,
                         u64 mask_size) {
    i32 capacity = static_cast<i32>(arguments[2]);
    if (capacity <= 0 || capacity > static_cast<i32>(0x7fff'ffff / sizeof(EpollEvent))) return Failure{Errno::inval};
    HeldFile set;
    TRY(set.hold(thread, static_cast<u32>(arguments[0])));
    TemporaryMask mask{thread};
    TRY(mask.begin(mask_address, mask_size));
    EpollEvent few[kEventsOnStack];
    EpollEvent* events = few;
    u32 members = epoll_members(*set.get());
    u32 most = static_cast<u32>(capacity) < members ? static_cast<u32>(capacity) : members;
    if (most > kEventsOnStack) {
        events = static_cast<EpollEvent*>(TRY(heap::allocate(most * sizeof(EpollEvent))));
    } else {
        most = static_cast<u32>(capacity) < kEventsOnStack ? static_cast<u32>(capacity) : kEventsOnStack;
    }
    struct Release {
        EpollEvent *few, *events;
        u32 most;
        ~Release() {
            if (events != few) heap::release(events, most * sizeof(EpollEvent));
        }
    } release{few, events, most};
    auto count = epoll_wait(thread, *set.get(), events, most, deadline);
    if (!count.ok()) {
        if (count.error() != Errno::restart_sys) return Failure{count.error()};
        // signal(7): never restarted, whatever SA_RESTART says.
        mask.interrupted();
        return Failure{Errno::intr};
    }
    TRY(copy_out(arguments[1], events, count.value() * sizeof(EpollEvent)));
    return count.value();
}

gate::Deadline after_milliseconds(i32 milliseconds) {
    return milliseconds < 0 ? gate::kForever : deadline_after(static_cast<u64>(milliseconds) * 1'000'000);
}

}  // namespace

Res<i64> sys_epoll_wait(Thread& thread, Arguments arguments) {
    return epoll_wait_call(thread, arguments, after_milliseconds(static_cast<i32>(arguments[3])), 0, 0);
}
Res<i64> sys_epoll_pwait(Thread& thread, Arguments arguments) {
    return epoll_wait_call(thread, arguments, after_milliseconds(static_cast<i32>(arguments[3])), arguments[4],
                           arguments[5]);
}
Res<i64> sys_epoll_pwait2(Thread& thread, Arguments arguments) {
    gate::Deadline deadline = TRY(read_timeout(arguments[3]));
    return epoll_wait_call(thread, arguments, deadline, arguments[4], arguments[5]);
}

}  // namespace postern::libos
