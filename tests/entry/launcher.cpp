// SPDX-License-Identifier: Apache-2.0
// A launcher that is just enough for tests of the entry image alone: no policy, no limits. It starts one picoprocess
// with the given library OS image, admits every clone, serves the few requests that the test guests make, and ends
// with the guest's status. usage: entry_launcher ENTRY IMAGE CONFIG [ARGUMENT...]
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "host/linux/filter/rules.hpp"
#include "host/linux/layout.hpp"
#include "host/linux/protocol.hpp"

namespace {

using namespace postern;
using namespace postern::host;

int check(int result, const char* what) {
    if (result < 0) {
        perror(what);
        exit(125);
    }
    return result;
}

int memory_file(const char* name, u64 size) {
    int fd = check(memfd_create(name, 0), "memfd_create");
    check(ftruncate(fd, static_cast<off_t>(size)), "ftruncate");
    return fd;
}

struct Monitor {
    int listener = -1;
    int boot = -1;
    u8* requests = nullptr;
    Notice* notice = nullptr;
    pid_t first = 0;
    int live = 1;
    int first_status = 0;
    std::map<pid_t, int> ended;

    bool receive_listener() {
        BootMessage message{};
        iovec vector{&message, sizeof message};
        alignas(8) char control[64];
        msghdr header{};
        header.msg_iov = &vector;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        if (recvmsg(boot, &header, MSG_CMSG_CLOEXEC) != sizeof message) return false;
        if (message.error != 0) {
            fprintf(stderr, "entry failed in step %u: %s\n", message.step, strerror(static_cast<int>(message.error)));
            return false;
        }
        if (cmsghdr* c = CMSG_FIRSTHDR(&header)) memcpy(&listener, CMSG_DATA(c), sizeof listener);
        return true;
    }

    void reap() {
        int status;
        pid_t pid;
        while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
            u32 count = notice->deaths[0];
            notice->deaths[1 + count % 1000] = static_cast<u32>(pid);
            std::atomic_ref<u32>(notice->deaths[0]).store(count + 1);
            syscall(SYS_futex, &notice->deaths[0], FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
            ended[pid] = status;
            if (pid == first) first_status = status;
            --live;
        }
    }

    i64 answer_doorbell(const seccomp_notif& request, i32& error) {
        auto& slot = *reinterpret_cast<Slot*>(requests + kSlotOffset + request.data.args[0] * kSlotSize);
        slot.reply_flags = 0;
        slot.error = gate::Err::ok;
        int give = -1;
        switch (slot.ask) {
            case Ask::memory: give = memory_file("guest", slot.size); break;
            case Ask::pipe: {
                int ends[2];
                check(pipe(ends), "pipe");
                slot.second_descriptor = inject(request.id, ends[1], false);
                close(ends[1]);
                give = ends[0];
                break;
            }
            case Ask::open: {
                int flags = (slot.access & 3) == 3 ? O_RDWR : (slot.access & 2) ? O_WRONLY : O_RDONLY;
                if (slot.create) flags |= O_CREAT;
                if (slot.create == gate::kCreateAlways) flags |= O_EXCL;
                if (slot.options & gate::kOpenTruncate) flags |= O_TRUNC;
                give = open(slot.names + 5, flags, slot.mode);
                if (give < 0) slot.error = errno == EEXIST ? gate::Err::exists : gate::Err::not_found;
                slot.attributes = {};
                struct stat status;
                if (give >= 0 && fstat(give, &status) == 0)
                    slot.attributes.type =
                        S_ISDIR(status.st_mode) ? gate::StreamType::directory : gate::StreamType::file;
                slot.attributes.rights = 127;
                break;
            }
            case Ask::process_wait: {
                reap();
                auto found = ended.find(static_cast<pid_t>(slot.value));
                if (found == ended.end())
                    slot.error = gate::Err::would_block;
                else
                    slot.value = WIFSIGNALED(found->second) ? 128 + static_cast<u32>(WTERMSIG(found->second))
                                                            : static_cast<u32>(WEXITSTATUS(found->second));
                break;
            }
            default: slot.error = gate::Err::unsupported;
        }
        error = 0;
        if (give < 0) return 0;
        slot.reply_flags |= kReplyDescriptor;
        i64 number = inject(request.id, give, false);
        close(give);
        return number;
    }

    int inject(u64 id, int fd, bool send) {
        seccomp_notif_addfd add{};
        add.id = id;
        add.flags = send ? SECCOMP_ADDFD_FLAG_SEND : 0;
        add.srcfd = static_cast<u32>(fd);
        return ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    }

    void serve() {
        seccomp_notif request{};
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) return;
        seccomp_notif_resp response{};
        response.id = request.id;
        if (request.data.nr == SYS_clone) {
            response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
            if (request.data.args[0] == kForkFlags) ++live;
        } else if (request.data.nr == SYS_tgkill) {
            long result = syscall(SYS_tgkill, request.data.args[0], request.data.args[1], request.data.args[2]);
            response.error = result < 0 ? -errno : 0;
        } else {
            response.val = answer_doorbell(request, response.error);
        }
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }

    int run() {
        while (live > 0) {
            pollfd item{listener, POLLIN, 0};
            if (poll(&item, 1, 5) > 0 && (item.revents & POLLIN)) serve();
            reap();
        }
        return WIFSIGNALED(first_status) ? 128 + WTERMSIG(first_status) : WEXITSTATUS(first_status);
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: %s ENTRY IMAGE CONFIG [ARGUMENT...]\n", argv[0]);
        return 125;
    }
    constexpr u64 kArenaSize = 16 << 20;
    int arena = memory_file("arena", kArenaSize), request = memory_file("request", kRequestFileSize),
        notice = memory_file("notice", kNoticeFileSize);
    int pair[2];
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), "socketpair");
    Monitor monitor;
    monitor.boot = pair[0];
    monitor.requests =
        static_cast<u8*>(mmap(nullptr, kRequestFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, request, 0));
    monitor.notice =
        static_cast<Notice*>(mmap(nullptr, kNoticeFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, notice, 0));
    std::string config = "v=1;arena=" + std::to_string(kArenaSize) + ";uid=0;gid=0;" + argv[3];
    pid_t child = check(fork(), "fork");
    if (child == 0) {
        int image = check(open(argv[2], O_RDONLY), argv[2]);
        int sources[] = {image, arena, request, notice, 2, pair[1]};
        int safe[6];
        for (int i = 0; i < 6; ++i) safe[i] = check(fcntl(sources[i], F_DUPFD, 20), "fcntl");
        for (int i = 0; i < 6; ++i) check(dup2(safe[i], 3 + i), "dup2");
        check(static_cast<int>(syscall(SYS_close_range, 9, ~0u, 0)), "close_range");
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        std::vector<char*> arguments{argv[1], config.data()};
        for (int i = 4; i < argc; ++i) arguments.push_back(argv[i]);
        arguments.push_back(nullptr);
        execv(argv[1], arguments.data());
        perror(argv[1]);
        _exit(125);
    }
    close(pair[1]);
    monitor.first = child;
    if (!monitor.receive_listener()) {
        int status;
        waitpid(child, &status, 0);
        return 125;
    }
    return monitor.run();
}
