// SPDX-License-Identifier: Apache-2.0
// The event loop: what happens from the start of a family to its end.
#include "host/linux/monitor/monitor.hpp"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>

#include "gate/abi.hpp"
#include "host/linux/monitor/census.hpp"
#include "host/linux/monitor/message.hpp"

// Linux 6.6; older headers lack them.
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

namespace postern::host {

namespace {

constexpr u64 kMillisecond = 1'000'000;
constexpr u64 kEndDeadline = 10'000 * kMillisecond;
constexpr usize kMaxExitCodes = 4096;
constexpr usize kMaxNames = 64;

u32 code_of(int status) {
    return WIFEXITED(status) ? static_cast<u32>(WEXITSTATUS(status)) : 128u + static_cast<u32>(WTERMSIG(status));
}

u64 nanoseconds(const timeval& time) {
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_usec) * 1000;
}

}  // namespace

Monitor::Monitor(const LaunchOptions& options, const sigset_t& forwarded) : options_{options}, forwarded_{forwarded} {}

Monitor::~Monitor() {
    keeper_.kill_all();
    keeper_.reap();
    if (request_memory_ != nullptr) munmap(request_memory_, kRequestFileSize);
    if (notice_ != nullptr) munmap(notice_, kNoticeFileSize);
}

Result<LaunchResult, LaunchError> Monitor::run() {
    started_ = now_ns();
    if (options_.timeout_seconds > 0) deadline_ = started_ + static_cast<u64>(options_.timeout_seconds * 1e9);
    TRY(start());
    // From here on the first picoprocess is on its way; what follows happens beside it.
    sigset_t taken = forwarded_;
    sigaddset(&taken, SIGCHLD);
    signals_.reset(signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK));
    if (!signals_.valid()) {
        stop(125);
        failed_ = true;
        error_ = launch_error(125, "cannot receive signals: %s", strerror(errno));
    } else {
        memory_poll_ = started_ + 20 * kMillisecond;
        loop();
    }
    finish();
    // Who loses the keeper is to be gone at once.
    if (!failed_ && !keeper_lost_) result_.stats.answers_ahead = foresight_->keep(foreseen());
    while (texts_->has_work() && !keeper_lost_) texts_->build();
    if (failed_) return Failure{error_};
    return std::move(result_);
}

void Monitor::loop() {
    std::vector<pollfd> events;
    while (!stopping_) {
        events.clear();
        events.push_back({signals_.get(), POLLIN, 0});
        // Who is held back is not served either: what the monitor does for it takes processor time, too.
        short wanted = throttle_.holding() ? 0 : POLLIN;
        for (const Fd& listener : listeners_) events.push_back({listener.get(), wanted, 0});
        usize first_boot = events.size();
        for (const Boot& boot : boots_) events.push_back({boot.socket.get(), POLLIN, 0});
        usize first_pending = events.size();
        for (const Pending& pending : pending_) events.push_back({pending.socket.get(), POLLIN, 0});
        usize terminal = events.size();
        events.push_back(terminal_.event());

        u64 now = now_ns();
        u64 until = std::min(memory_poll_, throttle_.next());
        if (deadline_ != 0) until = std::min(until, deadline_);
        if (!pending_.empty()) until = std::min(until, now + 200 * kMillisecond);
        if (same_processor_.held()) until = std::min(until, now + 2 * kMillisecond);
        timespec wait = {};
        if (until > now) {
            wait.tv_sec = static_cast<time_t>((until - now) / 1'000'000'000);
            wait.tv_nsec = static_cast<long>((until - now) % 1'000'000'000);
        }
        // While nobody asks for anything there is time for what makes later starts faster.
        if (texts_->has_work()) wait = {};
        int ready = ppoll(events.data(), events.size(), &wait, nullptr);
        if (ready < 0 && errno != EINTR) break;
        if (ready == 0) same_processor_.release();
        if (ready == 0 && texts_->has_work()) texts_->build();
        if (ready > 0) {
            // Listeners first: they are what the program waits for. Backwards, because served entries leave the lists.
            for (usize i = first_boot; i-- > 1;) {
                if (events[i].revents & POLLIN)
                    notified(events[i].fd);
                else if (events[i].revents & (POLLHUP | POLLERR)) {
                    // The last process under this filter is gone.
                    for (usize k = pending_.size(); k-- > 0;) {
                        if (pending_[k].listener != events[i].fd) continue;
                        kill(pending_[k].worker, SIGKILL);
                        pending_.erase(pending_.begin() + static_cast<long>(k));
                    }
                    std::erase_if(listeners_, [&](const Fd& fd) { return fd.get() == events[i].fd; });
                }
            }
            if (terminal_.transfer(events[terminal].revents)) interrupt_for_terminal();
            for (usize i = terminal; i-- > first_pending;) {
                if (events[i].revents == 0) continue;
                for (usize k = 0; k < pending_.size(); ++k) {
                    if (pending_[k].socket.get() == events[i].fd) {
                        take_worker(k);
                        break;
                    }
                }
            }
            for (usize i = first_pending; i-- > first_boot;) {
                if (events[i].revents == 0) continue;
                for (usize k = 0; k < boots_.size(); ++k) {
                    if (boots_[k].socket.get() != events[i].fd) continue;
                    take_boot(boots_[k]);
                    boots_.erase(boots_.begin() + static_cast<long>(k));
                    break;
                }
            }
            if (events[0].revents != 0) take_signals();
        }
        if (keeper_lost_) {
            result_.notes.push_back("the keeper process was ended by someone; the program was ended with it");
            stop(first_ended_ ? result_.status : 137);
        }
        if (first_ended_ && (!options_.wait_all || (listeners_.empty() && boots_.empty()))) stop(result_.status);
        if (ready == 0 || !pending_.empty()) {
            now = now_ns();
            if (!pending_.empty()) expire_workers(now);
            if (deadline_ != 0 && now >= deadline_ && !stopping_) {
                result_.timed_out = true;
                stop(124);
            }
        }
        if (now_ns() >= memory_poll_ && !stopping_) poll_memory();
        if (!stopping_) look_at_processors();
    }
}

void Monitor::take_boot(Boot& boot) {
    BootMessage message = {};
    iovec part{&message, sizeof message};
    int descriptor[1] = {-1};
    usize count;
    ssize_t size = receive_message(boot.socket.get(), {&part, 1}, descriptor, count, MSG_DONTWAIT);
    Fd listener{descriptor[0]};
    bool whole = size == sizeof message && message.version == kProtocolVersion;
    if (whole && message.error == 0 && listener.valid()) {
        if (boot.first) {
            first_ = static_cast<int>(message.process_id);
            first_ready_ = true;
            throttle_.started(first_);
        }
        // Only so that the two need not wake each other across processors; a kernel before 6.6 does without.
        ioctl(listener.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
        listeners_.push_back(std::move(listener));
        if (boot.first) {
            for (int signal : held_signals_) forward(signal);
            held_signals_.clear();
        }
        return;
    }
    if (!boot.first || first_ended_) return;
    // Closed without a word: how it ended says why; see ended().
    if (size == 0) return;
    failed_ = true;
    int error = whole ? static_cast<int>(message.error) : EPROTO;
    if (error == EBUSY) {
        error_ = launch_error(125,
                              "this process already runs under a seccomp filter with a listener (another Postern, or a "
                              "container engine that supervises system calls), and Linux allows one; start postern "
                              "outside of it");
    } else {
        error_ = launch_error(125, "the picoprocess could not start: %s: %s (step %u)", step_name(message.step),
                              strerror(error), message.step);
    }
    stop(125);
}

void Monitor::take_signals() {
    signalfd_siginfo infos[16];
    ssize_t size = read(signals_.get(), infos, sizeof infos);
    for (usize i = 0; size > 0 && i < static_cast<usize>(size) / sizeof infos[0]; ++i) {
        int signal = static_cast<int>(infos[i].ssi_signo);
        if (signal != SIGCHLD) forward(signal);
    }
    reap();
}

/// There is something in the terminal's pipe: some member has to look, whatever it does.
void Monitor::interrupt_for_terminal() {
    if (first_ready_ && !first_ended_)
        kill(first_, SIGWINCH);
    else if (first_ended_)
        signal_members(SIGWINCH);
    else if (held_signals_.empty())
        held_signals_.push_back(SIGWINCH);
}

void Monitor::forward(int signal) {
    if (terminal_.present() && signal == SIGCONT) terminal_.raw();
    if (terminal_.present() && (signal == SIGCONT || signal == SIGWINCH)) terminal_.send_window();
    bool fatal = signal == SIGINT || signal == SIGTERM || signal == SIGHUP || signal == SIGQUIT;
    if (!first_ready_ && !first_ended_) {
        // The program does not exist yet. What asks for its end ends it; the rest waits.
        if (fatal) return stop(128 + signal);
        if (held_signals_.size() < 16) held_signals_.push_back(signal);
        return;
    }
    int number = signal == SIGCONT ? kSignalContinue : signal;
    if (!first_ended_) {
        kill(first_, number);  // not reaped, so the number is still its own
        return;
    }
    signal_members(number);
}

void Monitor::signal_members(int signal) {
    for (int process : members()) {
        bool starting =
            std::any_of(boots_.begin(), boots_.end(), [&](const Boot& boot) { return boot.process == process; });
        if (!starting) kill(process, signal);
    }
}

void Monitor::reap() {
    for (;;) {
        // Looked at before it is taken: the keeper's number must stay taken until its group is ended.
        siginfo_t info = {};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
        if (info.si_pid == keeper_.id()) {
            keeper_lost_ = true;
            keeper_.kill_all();
            return;
        }
        same_processor_.release();  // while its number is its own
        int status;
        rusage usage;
        if (wait4(info.si_pid, &status, WNOHANG, &usage) <= 0) return;
        ended(info.si_pid, status, usage);
    }
}

void Monitor::ended(int process, int status, const rusage& usage) {
    if (streams_.owns(process)) return streams_.ended(process);
    bool worker = std::any_of(pending_.begin(), pending_.end(), [&](const Pending& p) { return p.worker == process; });
    if (worker || throttle_.group().owns(process)) return;  // a worker's socket says the rest
    throttle_.ended(nanoseconds(usage.ru_utime) + nanoseconds(usage.ru_stime));
    result_.stats.user_ns += nanoseconds(usage.ru_utime);
    result_.stats.system_ns += nanoseconds(usage.ru_stime);
    result_.stats.peak_memory = std::max(result_.stats.peak_memory, static_cast<u64>(usage.ru_maxrss) * 1024);
    if (used_ > 0) --used_;
    u32 code = code_of(status);
    Exit& exit = exits_[process] = {code, {}};
    exit.usage.most_memory = static_cast<u64>(usage.ru_maxrss) * 1024;
    exit.usage.minor_faults = static_cast<u64>(usage.ru_minflt);
    exit.usage.major_faults = static_cast<u64>(usage.ru_majflt);
    exit.usage.waits = static_cast<u64>(usage.ru_nvcsw);
    exit.usage.preemptions = static_cast<u64>(usage.ru_nivcsw);
    exit.usage.system_ns = nanoseconds(usage.ru_stime);
    exit_order_.push_back(process);
    if (exit_order_.size() > kMaxExitCodes) {
        exits_.erase(exit_order_.front());
        exit_order_.erase(exit_order_.begin());
    }
    if (requests_) requests_->ended(process);
    bool first = process == first_ || (first_ < 0 && !first_ready_ && !first_ended_);
    if (first && !first_ended_) {
        first_ = process;
        first_ended_ = true;
        // A picoprocess may die between its message and our reading it.
        for (usize i = 0; i < boots_.size() && !first_ready_; ++i) {
            if (boots_[i].first) {
                Boot boot = std::move(boots_[i]);
                boots_.erase(boots_.begin() + static_cast<long>(i));
                first_ended_ = false;
                take_boot(boot);
                first_ended_ = true;
                break;
            }
        }
        if (result_.status == 125 || !stopping_) result_.status = static_cast<int>(code);
        if (!first_ready_ && !failed_ && !stopping_) {
            failed_ = true;
            if (WIFSIGNALED(status)) {
                error_ = launch_error(125, "the picoprocess was killed by signal %d (%s) before it was ready",
                                      WTERMSIG(status), strsignal(WTERMSIG(status)));
            } else {
                error_ = launch_error(125, "the picoprocess ended with status %u before it was ready", code);
            }
        }
        if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) {
            result_.notes.push_back("the program made a host call that the wall forbids, and was ended");
        }
    }
    if (notice_ != nullptr && !stopping_) {
        u32 count = notice_->deaths[0];
        notice_->deaths[1 + count % gate::kDeathsCapacity] = static_cast<u32>(process);
        __atomic_store_n(&notice_->deaths[0], count + 1, __ATOMIC_RELEASE);
        syscall(SYS_futex, &notice_->deaths[0], FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
        // Who ends by itself has told the others in the library OS. Who was killed has not.
        if (WIFSIGNALED(status) && !(first && !options_.wait_all)) {
            signal_members(kSignalDeaths);
        }
    }
}

Result<u32, gate::Err> Monitor::exit_code(int process) {
    reap();
    auto known = exits_.find(process);
    if (known != exits_.end()) return known->second.code;
    if (is_member(process)) return Failure{gate::Err::would_block};
    return Failure{gate::Err::not_found};
}

gate::Err Monitor::add_usage(int process, gate::MembersUsage& usage) {
    reap();
    if (is_member(process)) return add_living_usage(process, usage) ? gate::Err::ok : gate::Err::would_block;
    auto known = exits_.find(process);
    if (known == exits_.end()) return gate::Err::ok;
    const gate::MembersUsage& more = known->second.usage;
    usage.most_memory = std::max(usage.most_memory, more.most_memory);
    usage.minor_faults += more.minor_faults;
    usage.major_faults += more.major_faults;
    usage.waits += more.waits;
    usage.preemptions += more.preemptions;
    usage.system_ns += more.system_ns;
    return gate::Err::ok;
}

void Monitor::log(LogKind kind, std::string_view text) {
    // Text of the program's side: shown to a person, so nothing of it may steer a terminal.
    std::string clean;
    for (char character : text.substr(0, 400)) {
        auto byte = static_cast<u8>(character);
        clean += byte < 0x20 || byte == 0x7f ? '?' : character;
    }
    if (kind == LogKind::absent_call) {
        if (absent_.size() < kMaxNames && absent_.insert(clean).second) result_.absent_calls.push_back(clean);
    } else if (kind == LogKind::failure || options_.verbose) {
        if (failures_.size() < kMaxNames && failures_.insert(clean).second) result_.notes.push_back(clean);
    }
}

void Monitor::stop(int status) {
    if (stopping_) return;
    stopping_ = true;
    result_.status = status;
    if (notice_ != nullptr) notice_->stopping = 1;
    keeper_.kill_all();
    for (const Pending& pending : pending_) kill(pending.worker, SIGKILL);
    streams_.end_input();
    streams_.close_sources();  // output relays end when nobody is left who could write
}

void Monitor::finish() {
    same_processor_.release();
    stop(result_.status);
    throttle_.end_watch();
    int status_before = result_.status;
    u64 deadline = now_ns() + kEndDeadline;
    bool keeper_done = false;
    for (;;) {
        siginfo_t info = {};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0) break;  // no child is left
        if (info.si_pid != 0) {
            if (info.si_pid == keeper_.id()) {
                keeper_.reap();
                keeper_done = true;
                continue;
            }
            int status;
            rusage usage;
            if (wait4(info.si_pid, &status, WNOHANG, &usage) > 0) ended(info.si_pid, status, usage);
            continue;
        }
        // Alive: relays that still write (as long as it takes, unless the user asks for an end), or processes that the
        // kernel has not finished with.
        u64 now = now_ns();
        if (now >= deadline && streams_.idle()) {
            result_.notes.push_back(
                "a process of the program cannot be ended: the kernel waits for a device or server");
            break;
        }
        pollfd event{signals_.get(), POLLIN, 0};
        poll(&event, 1, 1000);
        signalfd_siginfo signal;
        while (read(signals_.get(), &signal, sizeof signal) > 0) {
            int number = static_cast<int>(signal.ssi_signo);
            if (number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT) streams_.abandon();
        }
    }
    if (keeper_done) keeper_.reap();
    result_.status = status_before;
    if (request_memory_ != nullptr) {
        const auto* header = reinterpret_cast<const RequestHeader*>(request_memory_);
        result_.stats.system_calls = header->system_calls;
        result_.stats.gate_calls = header->gate_calls;
        result_.stats.host_calls = header->host_calls;
        result_.stats.traps = header->traps;
        result_.stats.patches = header->patches;
        report_fault(header->fault);
    }
    result_.stats.peak_memory = std::max(result_.stats.peak_memory, file_memory(arena_.get()));
    report_limits();
    if (!options_.quiet && names_) report_refusals();
    result_.stats.wall_ns = now_ns() - started_;
}

}  // namespace postern::host
