// SPDX-License-Identifier: Apache-2.0
// pidfd_open(2), pidfd_send_signal(2), pidfd_getfd(2).
#include "libos/process/pidfd.hpp"

#include <linux/fcntl.h>

#include "base/memory.hpp"
#include "libos/fs/path.hpp"
#include "libos/ipc/anonymous.hpp"
#include "libos/proc/node.hpp"
#include "libos/process/calls.hpp"
#include "libos/process/table.hpp"
#include "libos/signal/queue.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

void drop(PidHandle* handle) {
    if (__atomic_sub_fetch(&handle->references, 1, __ATOMIC_SEQ_CST) == 0) arena::destroy(handle);
}

class PidFile final : public File {
public:
    PidFile(PidHandle* handle, u32 flags) : handle_{handle} { status_flags = flags; }
    ~PidFile() override { drop(handle_); }
    FileKind kind() const override { return FileKind::pid; }
    Res<i64> read(Thread&, u64, u64, u64) override { return Failure{Errno::inval}; }
    Res<i64> write(Thread&, u64, u64, u64) override { return Failure{Errno::inval}; }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, 0600, 1);
        return {};
    }
    u32 poll(Thread&) override { return handle_->ended != 0 ? kPollIn | kPollRdNorm : 0; }
    WaitQueue* wait_queue() override { return &handle_->queue; }
    Res<i64> ioctl(Thread& thread, u32 request, u64 argument) override;
    PidHandle* handle() const { return handle_; }

private:
    PidHandle* handle_;
};

constexpr i32 kFromTkill = -6;

struct PidInfo {  // struct pidfd_info, first version
    u64 mask, control_group;
    u32 pid, group_leader, parent;
    u32 user, group, effective_user, effective_group, saved_user, saved_group, file_user, file_group;
    i32 exit_status;
    u32 dump_mask, spare;
};
static_assert(sizeof(PidInfo) == 72);
enum PidInfoBits : u64 { kInfoPid = 1, kInfoCredentials = 2, kInfoControlGroup = 4, kInfoExit = 8 };

Res<i64> PidFile::ioctl(Thread&, u32 request, u64 argument) {
    // PIDFD_GET_INFO: the number tells how much of the structure the program knows.
    constexpr u32 kFirstVersion = 64;
    const u32 size = request >> 16 & 0x3fff;
    if ((request & 0xffff) != 0xff0b || request >> 30 != 3 || size < kFirstVersion) return Failure{Errno::notty};
    if (argument == 0) return Failure{Errno::inval};
    const u64 wanted = TRY(read_user<u64>(argument));
    PidInfo info{};
    {
        Guard guard{process_table_lock()};
        const Process* process = handle_->process;
        if (process == nullptr) {
            if ((wanted & kInfoExit) == 0) return Failure{Errno::srch};
            info.mask = kInfoExit;
            info.exit_status = static_cast<i32>(handle_->exit_status);
        } else {
            const Credentials& c = process->credentials;
            info.mask = kInfoPid | kInfoCredentials | (wanted & kInfoControlGroup);
            info.control_group = (wanted & kInfoControlGroup) != 0 ? 1 : 0;
            info.pid = info.group_leader = process->pid;
            info.parent = process->parent != nullptr ? process->parent->pid : 1;
            info.user = c.uid, info.effective_user = c.euid, info.saved_user = c.suid, info.file_user = c.fsuid;
            info.group = c.gid, info.effective_group = c.egid, info.saved_group = c.sgid, info.file_group = c.fsgid;
        }
    }
    TRY(copy_out(argument, &info, size < sizeof info ? size : sizeof info));
    return 0;
}

/// The process whose directory in /proc is open as `file`, 0: it is none.
u32 number_of_directory(const File& file) {
    constexpr std::string_view kProc = "/proc/";
    if (file.inode == nullptr || file.inode->device != kProcDevice || file.path == nullptr) return 0;
    std::string_view path{file.path, strlen(file.path)};
    if (!path.starts_with(kProc)) return 0;
    path.remove_prefix(kProc.size());
    i64 number = parse_number(path);
    return number > 0 ? static_cast<u32>(number) : 0;
}

}  // namespace

Res<FileRef> make_pid_file(Process& process, u32 open_flags) {
    if (process.pid_handle == nullptr) {
        process.pid_handle = TRY(arena::create<PidHandle>());
        process.pid_handle->pid = process.pid;
        process.pid_handle->process = &process;
        process.pid_handle->ended = process.state == ProcessState::zombie;
    }
    PidFile* file = TRY(make_file<PidFile>(process.pid_handle, open_flags));
    __atomic_add_fetch(&process.pid_handle->references, 1, __ATOMIC_SEQ_CST);
    set_path(*file, "anon_inode:[pidfd]");
    return FileRef{file};
}

Res<PidHandle*> pid_handle_of(File& file) {
    if (file.kind() != FileKind::pid) return Failure{Errno::badf};
    return static_cast<PidFile&>(file).handle();
}

void pid_handle_ended(Process& process) {
    process.pid_handle->ended = 1;
    process.pid_handle->queue.wake(kPollIn | kPollRdNorm);
}

void pid_handle_reaped(Process& process) {
    PidHandle* handle = process.pid_handle;
    process.pid_handle = nullptr;
    handle->process = nullptr;
    handle->exit_status = process.exit_status;
    handle->ended = 1;
    drop(handle);
}

Res<i64> sys_pidfd_open(Thread& thread, Arguments arguments) {
    const i32 pid = static_cast<i32>(arguments[0]);
    const u32 flags = static_cast<u32>(arguments[1]);
    if ((flags & ~u32{O_NONBLOCK}) != 0 || pid <= 0) return Failure{Errno::inval};
    FileRef file;
    {
        Guard guard{process_table_lock()};
        Process* process = find_process_locked(static_cast<u32>(pid));
        if (process == nullptr)
            return Failure{find_thread_locked(static_cast<u32>(pid)) != nullptr ? Errno::inval : Errno::srch};
        file = TRY(make_pid_file(*process, O_RDWR | flags));
    }
    u32 fd = TRY(thread.process->files->install(std::move(file), true));
    return static_cast<i64>(fd);
}

Res<i64> sys_pidfd_send_signal(Thread& thread, Arguments arguments) {
    const u32 signal = static_cast<u32>(arguments[1]);
    if (static_cast<u32>(arguments[3]) != 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    PidHandle* handle = nullptr;
    const u32 number = number_of_directory(*file.get());
    if (number == 0) handle = TRY(pid_handle_of(*file.get()));
    Process& sender = *thread.process;
    SignalInfo info;
    if (arguments[2] != 0) {
        info = TRY(read_user<SignalInfo>(arguments[2]));
        if (info.signal != static_cast<i32>(signal)) return Failure{Errno::inval};
        const bool own = handle != nullptr ? handle->process == &sender : number == sender.pid;
        if ((info.code >= 0 || info.code == kFromTkill) && !own) return Failure{Errno::perm};
    } else {
        info.signal = static_cast<i32>(signal);
        info.rt.pid = sender.pid;
        info.rt.uid = sender.credentials.uid;
    }
    Guard guard{process_table_lock()};
    Process* target = handle != nullptr ? handle->process : find_process_locked(number);
    if (target == nullptr) return Failure{Errno::srch};
    if (signal > kSignalCount) return Failure{Errno::inval};
    if (target->pid == kOutside && signal != 0) return Failure{Errno::perm};
    TRY(send_checked(sender, *target, signal, info));
    return 0;
}

Res<i64> sys_pidfd_getfd(Thread& thread, Arguments arguments) {
    if (static_cast<u32>(arguments[2]) != 0) return Failure{Errno::inval};
    HeldFile file;
    TRY(file.hold(thread, static_cast<u32>(arguments[0])));
    PidHandle* handle = TRY(pid_handle_of(*file.get()));
    FileRef wanted;
    bool own;
    {
        Guard guard{process_table_lock()};
        Process* process = handle->process;
        if (process == nullptr || process->files == nullptr || process->state == ProcessState::zombie)
            return Failure{Errno::srch};
        if (!may_look_into(*thread.process, *process)) return Failure{Errno::perm};
        wanted = TRY(process->files->get(static_cast<u32>(arguments[1])));
        own = process->carrier_id == thread.process->carrier_id;
    }
    // A host stream's handle is the other picoprocess's: the file is opened anew, with an offset of its own.
    if (wanted->has_local != 0 && !own) wanted = TRY(wanted->reopen(thread, wanted->status_flags));
    u32 fd = TRY(thread.process->files->install(std::move(wanted), true));
    return static_cast<i64>(fd);
}

}  // namespace postern::libos
