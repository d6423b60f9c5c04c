// SPDX-License-Identifier: Apache-2.0
// signalfd(2): takes pending signals of whoever reads, as the kernel does.
#include <linux/fcntl.h>
#include <linux/signalfd.h>

#include "libos/ipc/anonymous.hpp"
#include "libos/ipc/anonymous_file.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kNever = signal_bit(kSigKill) | signal_bit(kSigStop);

void translate(const SignalInfo& info, signalfd_siginfo& out) {
    out = {};
    out.ssi_signo = static_cast<u32>(info.signal);
    out.ssi_errno = info.error;
    out.ssi_code = info.code;
    if (info.code == -2) {  // SI_TIMER
        out.ssi_tid = static_cast<u32>(info.timer.timer);
        out.ssi_overrun = static_cast<u32>(info.timer.overrun);
        out.ssi_ptr = info.timer.value;
        out.ssi_int = static_cast<i32>(info.timer.value);
        return;
    }
    if (info.signal == kSigChld && info.code > 0) {
        out.ssi_pid = info.child.pid;
        out.ssi_uid = info.child.uid;
        out.ssi_status = info.child.status;
        out.ssi_utime = static_cast<u64>(info.child.utime);
        out.ssi_stime = static_cast<u64>(info.child.stime);
        return;
    }
    const bool fault = info.code > 0 && info.code < 0x80 &&
                       (info.signal == kSigSegv || info.signal == kSigBus || info.signal == kSigIll ||
                        info.signal == kSigFpe || info.signal == kSigTrap);
    if (fault) {
        out.ssi_addr = info.fault.address;
        return;
    }
    out.ssi_pid = info.rt.pid;
    out.ssi_uid = info.rt.uid;
    out.ssi_ptr = info.rt.value;
    out.ssi_int = static_cast<i32>(info.rt.value);
}

class SignalFile final : public File {
public:
    SignalFile(u64 mask, u32 flags) : mask_{mask & ~kNever} { status_flags = flags; }

    FileKind kind() const override { return FileKind::signal; }

    Res<i64> read(Thread& thread, u64 user, u64 size, u64) override {
        if (size < sizeof(signalfd_siginfo)) return Failure{Errno::inval};
        __atomic_add_fetch(&reads_, 1, __ATOMIC_RELAXED);
        u64 done = 0;
        while (size - done >= sizeof(signalfd_siginfo)) {
            SignalInfo info;
            if (!dequeue_signal(thread, mask(), info)) {
                if (done != 0) break;
                if ((status_flags & O_NONBLOCK) != 0) return Failure{Errno::again};
                TRY(wait_until(thread, thread.process->signal_events, kPollIn, gate::kForever,
                               [&] { return (pending_signals(thread) & mask()) != 0; }));
                continue;
            }
            signalfd_siginfo out;
            translate(info, out);
            auto copied = write_user(user + done, out);
            if (!copied.ok()) {
                if (done == 0) return Failure{copied.error()};
                break;
            }
            done += sizeof out;
        }
        return static_cast<i64>(done);
    }
    Res<void> stat(Thread& thread, Stat& stat) override {
        fill_anonymous_stat(thread, stat, 0600, 1);
        return {};
    }
    u32 poll(Thread& thread) override { return (pending_signals(thread) & mask()) != 0 ? kPollIn | kPollRdNorm : 0; }
    u64 edge_count() override { return reads_; }
    /// The caller's own: an epoll set asks for it anew with every wait.
    WaitQueue* wait_queue() override { return &current_process().signal_events; }

    void set_mask(u64 mask) {
        __atomic_store_n(&mask_, mask & ~kNever, __ATOMIC_SEQ_CST);
        current_process().signal_events.wake(kPollIn);
    }

private:
    u64 mask() const { return __atomic_load_n(&mask_, __ATOMIC_SEQ_CST); }
    u64 mask_;
    u64 reads_ = 0;
};

}  // namespace

Res<FileRef> make_signal_file(u64 mask, u32 open_flags) {
    auto* file = TRY(make_file<SignalFile>(mask, open_flags));
    set_path(*file, "anon_inode:[signalfd]");
    return FileRef{file};
}

Res<void> signal_file_set_mask(File& file, u64 mask) {
    if (file.kind() != FileKind::signal) return Failure{Errno::inval};
    static_cast<SignalFile&>(file).set_mask(mask);
    return {};
}

}  // namespace postern::libos
