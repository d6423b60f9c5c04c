// SPDX-License-Identifier: Apache-2.0
// The keeper and the start of picoprocesses; see spawn.hpp.
//
// Who is whose child: the monitor forks the keeper; the keeper clones picoprocesses with CLONE_PARENT, so that the
// monitor reaps them, while session and process group are the keeper's. No picoprocess can leave the group (setsid and
// setpgid are not host calls), so one kill of the group reaches all, atomically with respect to fork.
#include "host/linux/monitor/spawn.hpp"

#include <fcntl.h>
#include <link.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "host/linux/protocol.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace postern::host {

void forget_code_pages() {
    // The first entry is this program. Segments that are never written to come back from the file as they are.
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                const ElfW(Phdr)& segment = info->dlpi_phdr[i];
                if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W)) continue;
                u64 low = page_ceil(info->dlpi_addr + segment.p_vaddr);
                u64 high = page_floor(info->dlpi_addr + segment.p_vaddr + segment.p_filesz);
                if (low < high) madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
            }
            return 1;
        },
        nullptr);
}

Fd make_memory_file(const char* name, u64 size, bool executable_seal) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    Fd file{memfd_create(name, executable_seal ? flags | MFD_NOEXEC_SEAL : flags)};
    if (!file.valid() && errno == EINVAL) file.reset(memfd_create(name, flags));  // before Linux 6.3
    if (!file.valid()) return file;
    if (ftruncate(file.get(), static_cast<off_t>(size)) != 0 ||
        fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int error = errno;
        file.reset();
        errno = error;
    }
    return file;
}

Result<NoticeFile, LaunchError> make_notice_file() {
    NoticeFile notice;
    Fd file{memfd_create("postern-notice", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)};
    if (!file.valid() && errno == EINVAL) file.reset(memfd_create("postern-notice", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file.valid() || ftruncate(file.get(), kNoticeFileSize) != 0) {
        return Failure{launch_error(125, "cannot make a memory file: %s", strerror(errno))};
    }
    notice.memory = mmap(nullptr, kNoticeFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (notice.memory == MAP_FAILED) {
        return Failure{launch_error(125, "cannot map a memory file: %s", strerror(errno))};
    }
    // From here on nobody can get a writable mapping of it, with whatever descriptor. Kernels before 5.1 lack this
    // seal; the read-only descriptor holds there, too.
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(file.get(), F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE) != 0) fcntl(file.get(), F_ADD_SEALS, seals);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
    notice.read_only.reset(open(path, O_RDONLY | O_CLOEXEC));
    if (!notice.read_only.valid()) {
        return Failure{launch_error(125, "cannot open %s: %s; Postern needs /proc mounted", path, strerror(errno))};
    }
    return notice;
}

const char* step_name(u32 step) {
    switch (static_cast<StartStep>(step)) {
        case StartStep::descriptors: return "setting up descriptors";
        case StartStep::limits: return "setting limits";
        case StartStep::privileges: return "giving up privileges";
        case StartStep::execute: return "executing the entry image";
        case StartStep::parent: return "binding to the monitor";
        default: return "starting the picoprocess";
    }
}

namespace {

/// Everything from here to execve runs in a child that shares the keeper's memory (vfork): it writes to its own stack
/// only.
struct Child {
    const Start* start;
    int monitor_id;
};

[[noreturn]] void give_up(int boot, StartStep step, int error) {
    BootMessage message{kProtocolVersion, static_cast<u32>(getpid()), static_cast<u32>(error), static_cast<u32>(step)};
    [[maybe_unused]] ssize_t sent = send(boot, &message, sizeof message, MSG_NOSIGNAL);
    _exit(125);
}

/// No way back to any capability: bounding and ambient sets empty, root without meaning, all of it locked.
int drop_capabilities() {
    for (int capability = 0; capability <= 63; ++capability) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
            if (errno == EINVAL) break;
            return errno;
        }
    }
    unsigned long bits = SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED |
                         SECBIT_KEEP_CAPS_LOCKED | SECBIT_NO_CAP_AMBIENT_RAISE | SECBIT_NO_CAP_AMBIENT_RAISE_LOCKED;
    if (prctl(PR_SET_SECUREBITS, bits, 0, 0, 0) != 0) return errno;
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    // Raw: glibc's would signal the threads of the process whose memory this child borrows.
    syscall(SYS_setgroups, 0, nullptr);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (syscall(SYS_capset, &header, data) != 0) return errno;
    return 0;
}

int set_limit(__rlimit_resource resource, u64 soft, u64 hard) {
    rlimit64 limit{soft, hard};
    return prlimit64(0, resource, &limit, nullptr) != 0 ? errno : 0;
}

int run_child(void* argument) {
    const Child& child = *static_cast<const Child*>(argument);
    const Start& start = *child.start;
    int boot = start.descriptors[kFdBoot];
    // With CLONE_PARENT the signal comes when the monitor dies. It may have died before: then the parent is another.
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != child.monitor_id) _exit(125);

    // The signals that the monitor takes for itself have their default again; those ignored by whoever started it, too.
    struct sigaction standard = {};
    standard.sa_handler = SIG_DFL;
    for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGPIPE, SIGALRM, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGTSTP, SIGTTIN,
                       SIGTTOU, SIGWINCH, SIGSYS}) {
        sigaction(signal, &standard, nullptr);
    }
    sigset_t none;
    sigemptyset(&none);

    int failed = set_limit(RLIMIT_CORE, 0, 0);
    rlimit64 now;
    if (failed == 0 && start.data_limit != 0) {
        if (prlimit64(0, RLIMIT_DATA, nullptr, &now) == 0) {
            u64 data = start.data_limit < now.rlim_max ? start.data_limit : now.rlim_max;
            failed = set_limit(RLIMIT_DATA, data, data);
        }
    }
    if (failed == 0 && prlimit64(0, RLIMIT_NOFILE, nullptr, &now) == 0) {
        u64 files = now.rlim_max < 65536 ? now.rlim_max : 65536;
        failed = set_limit(RLIMIT_NOFILE, files, files);
    }
    // Address-space layout depends on it, and programs have stacks of the library OS's making.
    if (failed == 0 && prlimit64(0, RLIMIT_STACK, nullptr, &now) == 0) {
        u64 stack = now.rlim_max < (8u << 20) ? now.rlim_max : (8u << 20);
        failed = set_limit(RLIMIT_STACK, stack, stack);
    }
    if (failed != 0) give_up(boot, StartStep::limits, failed);

    if (start.second_wall) {
        // Best effort: the wall does not rest on these.
        if (chdir("/proc/self/fdinfo") == 0 && chroot(".") == 0) syscall(SYS_unshare, CLONE_NEWUTS);
    }
    // Sources lie above all targets (see Keeper::start), so none is overwritten before it is copied.
    for (int i = 0; i <= kFdBoot; ++i) {
        if (dup2(start.descriptors[i], i) < 0) give_up(boot, StartStep::descriptors, errno);
    }
    int entry = kFdBoot + 1;
    if (dup3(start.entry, entry, O_CLOEXEC) < 0) give_up(kFdBoot, StartStep::descriptors, errno);
    if (syscall(SYS_close_range, entry + 1, ~0u, 0) != 0) {
        for (int fd = entry + 1; fd < 65536; ++fd) close(fd);
    }
    if (start.drop_privileges) {
        failed = drop_capabilities();
        if (failed != 0) give_up(kFdBoot, StartStep::privileges, failed);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(022);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    syscall(SYS_execveat, entry, "", start.arguments, start.environment, AT_EMPTY_PATH);
    give_up(kFdBoot, StartStep::execute, errno);
}

/// Clones a picoprocess as a sibling of the caller (the keeper). -errno on failure.
int clone_picoprocess(const Start& start, int monitor_id) {
    alignas(16) static char stack[32 << 10];
    Child child{&start, monitor_id};
    int id = clone(run_child, stack + sizeof stack, CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, &child);
    return id < 0 ? -errno : id;
}

struct SpawnRequest {
    u32 argument_count;
    u32 environment_count;
    u32 streams;  ///< bit i: a descriptor i comes after the boot socket
};
constexpr usize kSpawnDescriptors = 4;
constexpr usize kSpawnText = 120 << 10;

}  // namespace

void Keeper::run(const Start& first, int monitor, int control, int monitor_id) {
    if (setsid() < 0) _exit(125);
    int id = clone_picoprocess(first, monitor_id);
    if (id < 0) give_up(first.descriptors[kFdBoot], StartStep::none, -id);
    prctl(PR_SET_NAME, "postern-keeper", 0, 0, 0);
    // All that is not needed to start further picoprocesses goes: above all this copy of the boot socket, whose end
    // the monitor must see when the picoprocess dies.
    close(first.descriptors[kFdBoot]);
    pollfd events[2] = {{monitor, POLLIN, 0}, {control, POLLIN, 0}};
    forget_code_pages();
    for (;;) {
        if (poll(events, 2, -1) < 0 && errno != EINTR) break;
        if (events[0].revents != 0) break;
        if (events[1].revents == 0) continue;
        static char text[kSpawnText];
        static const char* pointers[4096];
        SpawnRequest request;
        iovec parts[2] = {{&request, sizeof request}, {text, sizeof text}};
        alignas(cmsghdr) char ancillary[CMSG_SPACE(kSpawnDescriptors * sizeof(int))];
        msghdr message = {};
        message.msg_iov = parts;
        message.msg_iovlen = 2;
        message.msg_control = ancillary;
        message.msg_controllen = sizeof ancillary;
        ssize_t size = recvmsg(control, &message, MSG_CMSG_CLOEXEC);
        if (size < static_cast<ssize_t>(sizeof request)) break;  // the monitor is gone
        int result = -EINVAL;
        int given[kSpawnDescriptors] = {-1, -1, -1, -1};
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
            memcpy(given, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
        }
        if (given[0] >= 0 && request.argument_count + request.environment_count + 2 < 4096) {
            Start start = first;
            const char* place = text;
            u32 count = 0;
            for (u32 i = 0; i < request.argument_count; ++i) pointers[count++] = place, place += strlen(place) + 1;
            pointers[count++] = nullptr;
            start.environment = pointers + count;
            for (u32 i = 0; i < request.environment_count; ++i) pointers[count++] = place, place += strlen(place) + 1;
            pointers[count] = nullptr;
            start.arguments = pointers;
            int next = 1;
            for (int i = 0; i < 3; ++i) {
                if (request.streams & (1u << i)) start.descriptors[i] = fcntl(given[next++], F_DUPFD_CLOEXEC, 32);
            }
            start.descriptors[kFdBoot] = fcntl(given[0], F_DUPFD_CLOEXEC, 32);
            result = clone_picoprocess(start, monitor_id);
            for (int i = 0; i <= kFdBoot; ++i) {
                if (start.descriptors[i] != first.descriptors[i]) close(start.descriptors[i]);
            }
        }
        for (int fd : given) {
            if (fd >= 0) close(fd);
        }
        if (send(control, &result, sizeof result, MSG_NOSIGNAL) < 0) break;
    }
    kill(0, SIGKILL);  // the group, this process included
    _exit(125);
}

Result<void, LaunchError> Keeper::start(const Start& first) {
    Fd monitor{static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0))};
    int control[2];
    if (!monitor.valid() || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) != 0) {
        return Failure{launch_error(125, "cannot watch over picoprocesses: %s; Linux 5.15 or later is needed", strerror(errno))};
    }
    int self = getpid();
    control_.reset(control[0]);
    int id = fork();
    if (id == 0) {
        control_.release();
        run(first, monitor.get(), control[1], self);
    }
    close(control[1]);
    if (id < 0) {
        return Failure{launch_error(125, "cannot start a process: %s; raise the limit of processes (ulimit -u)", strerror(errno))};
    }
    id_ = id;
    return {};
}

Result<int, gate::Err> Keeper::spawn(const std::vector<std::string>& arguments,
                                     const std::vector<std::string>& environment, int boot, const Fd (&streams)[3]) {
    if (!running()) return Failure{gate::Err::no_quota};
    std::string text;
    for (const auto* list : {&arguments, &environment}) {
        for (const std::string& item : *list) text.append(item.c_str(), item.size() + 1);
    }
    if (text.size() > kSpawnText || arguments.size() + environment.size() > 4000) return Failure{gate::Err::too_big};
    SpawnRequest request{static_cast<u32>(arguments.size()), static_cast<u32>(environment.size()), 0};
    int given[kSpawnDescriptors] = {boot};
    usize count = 1;
    for (u32 i = 0; i < 3; ++i) {
        if (!streams[i].valid()) continue;
        request.streams |= 1u << i;
        given[count++] = streams[i].get();
    }
    iovec parts[2] = {{&request, sizeof request}, {text.data(), text.size()}};
    alignas(cmsghdr) char ancillary[CMSG_SPACE(kSpawnDescriptors * sizeof(int))] = {};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    message.msg_control = ancillary;
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), given, count * sizeof(int));
    if (sendmsg(control_.get(), &message, MSG_NOSIGNAL) < 0) {
        return Failure{errno == EMSGSIZE ? gate::Err::too_big : gate::Err::io};
    }
    // The keeper is Postern's own code and answers within a fork; a deadline all the same, so that nothing can hang.
    pollfd event{control_.get(), POLLIN, 0};
    int result = 0;
    if (poll(&event, 1, 2000) <= 0 || recv(control_.get(), &result, sizeof result, 0) != sizeof result) {
        return Failure{gate::Err::io};
    }
    if (result < 0) return Failure{result == -EAGAIN ? gate::Err::no_quota : gate::Err::no_memory};
    return result;
}

void Keeper::kill_all() {
    if (id_ <= 0 || killed_) return;
    killed_ = true;
    // Three times, because the keeper may be about to make the group or to start a picoprocess in it: after the second
    // it can do neither any more.
    kill(-id_, SIGKILL);
    kill(id_, SIGKILL);
    kill(-id_, SIGKILL);
}

void Keeper::reap() {
    if (id_ > 0) waitpid(id_, nullptr, 0);
    id_ = -1;
}

}  // namespace postern::host
