// SPDX-License-Identifier: Apache-2.0
// Seccomp notifications: the doorbell, and the host calls that are admitted one by one.
//
// A notification's registers are the kernel's own copy. What `proceed` (SECCOMP_USER_NOTIF_FLAG_CONTINUE) lets through
// was therefore judged by registers alone, never by memory that the asking side can change.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>

#include "host/linux/filter/rules.hpp"
#include "host/linux/monitor/census.hpp"
#include "host/linux/monitor/message.hpp"
#include "host/linux/monitor/monitor.hpp"

#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

namespace postern::host {

using gate::Err;

namespace {

constexpr usize kMaxWorkers = 16;
constexpr u64 kWorkerDeadline = 30'000'000'000;
constexpr u64 kSettle = 1'000'000;   ///< after an admission the kernel has made the thread by then
constexpr u64 kFullFor = 5'000'000;  ///< how long a count that met the limit is believed

/// What a worker sends back, before the texts. The worker is Postern's own code, in a process of its own.
struct WorkerReply {
    Err error;
    u32 host_error, flags, cache;
    u64 value;
    gate::Attributes attributes;
    u32 text_length, second_length;
    u32 has_first, has_second;
};

}  // namespace

void Monitor::answer(int listener, u64 id, i64 value, i32 error, bool proceed) {
    seccomp_notif_resp response = {};
    response.id = id;
    response.val = value;
    response.error = -error;
    if (proceed) response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    // ENOENT: the asking thread is gone, and with it the question.
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void Monitor::notified(int listener) {
    seccomp_notif notification = {};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) return;
    switch (notification.data.nr) {
        case static_cast<int>(kDoorbellCall): doorbell(listener, notification); break;
        case SYS_clone: admit(listener, notification); break;
        case SYS_tgkill: signal_thread(listener, notification); break;
        default: answer(listener, notification.id, 0, ENOSYS); break;
    }
}

int Monitor::inject(int listener, u64 id, int descriptor, bool send) {
    seccomp_notif_addfd add = {};
    add.id = id;
    add.srcfd = static_cast<u32>(descriptor);
    if (send && !two_steps_) add.flags = SECCOMP_ADDFD_FLAG_SEND;
    int number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    if (number < 0 && errno == EINVAL && add.flags != 0) {  // before Linux 5.14
        two_steps_ = true;
        add.flags = 0;
        number = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
    }
    if (number < 0) return -errno;
    if (send && two_steps_) answer(listener, id, number, 0);
    return number;
}

void Monitor::deliver(int listener, u64 id, u32 slot, u32 sequence, Reply&& reply) {
    Slot& place = *reinterpret_cast<Slot*>(request_memory_ + kSlotOffset + u64{slot} * kSlotSize);
    int second = -1;
    if (reply.second_fd.valid()) {
        second = inject(listener, id, reply.second_fd.get(), false);
        if (second < 0 && second != -ENOENT) {
            reply = Reply::failure(second == -EMFILE || second == -ENFILE ? Err::no_quota : Err::io, -second);
        }
    }
    write_reply(place, reply);
    place.second_descriptor = second;
    int result = 0;
    if (reply.first_fd.valid()) {
        result = inject(listener, id, reply.first_fd.get(), true);
        if (result < 0 && result != -ENOENT) {
            reply = Reply::failure(result == -EMFILE || result == -ENFILE ? Err::no_quota : Err::io, -result);
            write_reply(place, reply);
            answer(listener, id, 0, 0);
        }
    } else {
        seccomp_notif_resp response = {};
        response.id = id;
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) != 0) result = -errno;
    }
    // On kernels that let any signal interrupt the asking thread it may ring again for a deed that is done.
    if (result == -ENOENT && sequence != 0 && undelivered_.size() < 64) {
        undelivered_.insert_or_assign(slot, Undelivered{sequence, std::move(reply)});
    }
}

void Monitor::doorbell(int listener, const seccomp_notif& notification) {
    u64 slot = notification.data.args[0];
    if (slot >= kSlotCount) return answer(listener, notification.id, 0, EINVAL);
    ++result_.stats.monitor_requests;
    static Request request;
    u32 index = static_cast<u32>(slot);
    Slot& place = *reinterpret_cast<Slot*>(request_memory_ + kSlotOffset + slot * kSlotSize);
    bool good = copy_request(place, request);
    if (!undelivered_.empty()) {
        auto known = undelivered_.find(index);
        if (known != undelivered_.end()) {
            Undelivered last = std::move(known->second);
            undelivered_.erase(known);
            if (good && last.sequence == request.sequence) {
                return deliver(listener, notification.id, index, last.sequence, std::move(last.reply));
            }
        }
    }
    if (!good) return deliver(listener, notification.id, index, 0, Reply::failure(Err::bad_argument));
    Reply reply = requests_->serve(request);
    if (used_ == 1 && reply.first_fd.valid() && pending_.empty())
        same_processor_.hold(static_cast<int>(notification.pid));
    if (reply.later) return start_worker(listener, notification.id, index, request);
    foresight_->note(request, reply);
    deliver(listener, notification.id, index, request.sequence, std::move(reply));
}

// Workers ----------------------------------------------------------------------------------------------------------

void Monitor::start_worker(int listener, u64 id, u32 slot, const Request& request) {
    int ends[2];
    if (pending_.size() >= kMaxWorkers || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
        return deliver(listener, id, slot, request.sequence, Reply::failure(Err::no_quota));
    }
    same_processor_.release();
    int monitor = getpid();
    int worker = fork();
    if (worker == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (getppid() != monitor) _exit(1);
        prctl(PR_SET_NAME, "postern-worker", 0, 0, 0);
        for (Fd& other : listeners_) other.reset();  // a dead monitor's listener must not live on here
        names_->set_in_worker();
        Reply reply = requests_->serve(request);
        WorkerReply head = {};
        head.error = reply.error;
        head.host_error = reply.host_error;
        head.flags = reply.flags;
        head.cache = reply.cache;
        head.value = reply.value;
        head.attributes = reply.attributes;
        head.text_length = static_cast<u32>(reply.text.size());
        head.second_length = static_cast<u32>(reply.second.size());
        head.has_first = reply.first_fd.valid();
        head.has_second = reply.second_fd.valid();
        iovec parts[3] = {
            {&head, sizeof head}, {reply.text.data(), reply.text.size()}, {reply.second.data(), reply.second.size()}};
        int descriptors[2];
        usize count = 0;
        if (reply.first_fd.valid()) descriptors[count++] = reply.first_fd.get();
        if (reply.second_fd.valid()) descriptors[count++] = reply.second_fd.get();
        send_message(ends[1], parts, {descriptors, count});
        _exit(0);
    }
    close(ends[1]);
    Fd socket{ends[0]};
    if (worker < 0) return deliver(listener, id, slot, request.sequence, Reply::failure(Err::no_quota));
    pending_.push_back({id, listener, slot, request.sequence, worker, std::move(socket), now_ns() + kWorkerDeadline});
}

void Monitor::take_worker(usize index) {
    Pending pending = std::move(pending_[index]);
    pending_.erase(pending_.begin() + static_cast<long>(index));
    WorkerReply head = {};
    static char text[2 * kMaxPath + 2];
    iovec parts[2] = {{&head, sizeof head}, {text, sizeof text}};
    int descriptors[2] = {-1, -1};
    usize count;
    ssize_t size = receive_message(pending.socket.get(), parts, descriptors, count, MSG_DONTWAIT);
    Fd first{descriptors[0]}, second{descriptors[1]};
    Reply reply;
    if (size < static_cast<ssize_t>(sizeof head) ||
        u64{head.text_length} + head.second_length > static_cast<u64>(size) - sizeof head) {
        reply = Reply::failure(Err::io);
    } else {
        reply.error = head.error;
        reply.host_error = head.host_error;
        reply.flags = head.flags;
        reply.cache = head.cache;
        reply.value = head.value;
        reply.attributes = head.attributes;
        reply.text.assign(text, head.text_length);
        reply.second.assign(text + head.text_length, head.second_length);
        reply.first_fd = std::move(first);
        reply.second_fd = std::move(second);
    }
    deliver(pending.listener, pending.notification, pending.slot, pending.sequence, std::move(reply));
}

void Monitor::expire_workers(u64 now) {
    for (usize i = 0; i < pending_.size();) {
        Pending& pending = pending_[i];
        u64 id = pending.notification;
        bool gone = ioctl(pending.listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) != 0;
        if (!gone && now < pending.deadline) {
            ++i;
            continue;
        }
        kill(pending.worker, SIGKILL);
        if (!gone) deliver(pending.listener, id, pending.slot, pending.sequence, Reply::failure(Err::timed_out));
        pending_.erase(pending_.begin() + static_cast<long>(i));
    }
}

// Admission --------------------------------------------------------------------------------------------------------

std::vector<int> Monitor::members() {
    std::vector<int> all = children_of_self();
    std::erase_if(all, [&](int process) { return !is_member(process); });
    return all;
}

bool Monitor::is_member(int process) {
    if (process <= 0 || process == keeper_.id() || streams_.owns(process) || throttle_.group().owns(process))
        return false;
    for (const Pending& pending : pending_) {
        if (pending.worker == process) return false;
    }
    // A child that was not reaped: its number cannot have gone to a stranger.
    siginfo_t info = {};
    return waitid(P_PID, static_cast<id_t>(process), &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

/// Is there room for one more process or thread? Threads end without a word to the monitor, so the running count only
/// grows; when it meets the limit the kernel is asked for the true one.
bool Monitor::within_limit() {
    if (used_ < options_.process_limit) return true;
    u64 now = now_ns();
    if (now < full_until_) return false;
    if (now - last_admission_ < kSettle) usleep(kSettle / 1000);
    reap();
    u32 count = static_cast<u32>(boots_.size());
    for (int process : members()) count += std::max(thread_count(process), 1u);
    used_ = count;
    if (used_ < options_.process_limit) return true;
    full_until_ = now_ns() + kFullFor;
    refused_process_ = true;
    return false;
}

void Monitor::admit(int listener, const seccomp_notif& notification) {
    u64 flags = notification.data.args[0];
    if (flags != kForkFlags && flags != kThreadFlags) return answer(listener, notification.id, 0, EPERM);
    if (stopping_ || keeper_lost_ || !within_limit()) return answer(listener, notification.id, 0, EAGAIN);
    same_processor_.release();  // what is born inherits it
    ++used_;
    last_admission_ = now_ns();
    answer(listener, notification.id, 0, 0, true);
}

/// tgkill where the kernel has no signal scope: done here on the caller's behalf, while the target's number cannot
/// change hands.
void Monitor::signal_thread(int listener, const seccomp_notif& notification) {
    int process = static_cast<int>(notification.data.args[0]), thread = static_cast<int>(notification.data.args[1]);
    int signal = static_cast<int>(notification.data.args[2]);
    if (signal != kKickSignal || !is_member(process)) return answer(listener, notification.id, 0, EPERM);
    long result = syscall(SYS_tgkill, process, thread, signal);
    answer(listener, notification.id, 0, result == 0 ? 0 : errno);
}

}  // namespace postern::host
