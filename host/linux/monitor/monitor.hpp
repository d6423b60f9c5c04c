// SPDX-License-Identifier: Apache-2.0
// The monitor of one family: everything outside the picoprocesses that lives as long as they do.
#pragma once

#include <linux/seccomp.h>
#include <signal.h>
#include <sys/resource.h>

#include <map>
#include <memory>
#include <set>

#include "host/linux/monitor/foresight.hpp"
#include "host/linux/monitor/relay.hpp"
#include "host/linux/monitor/requests.hpp"
#include "host/linux/monitor/same_processor.hpp"
#include "host/linux/monitor/spawn.hpp"
#include "host/linux/monitor/terminal.hpp"
#include "host/linux/monitor/throttle.hpp"

namespace postern::host {

class Monitor final : public Family {
public:
    Monitor(const LaunchOptions& options, const sigset_t& forwarded);
    ~Monitor() override;
    Monitor(const Monitor&) = delete;
    Monitor& operator=(const Monitor&) = delete;

    Result<LaunchResult, LaunchError> run();

private:
    /// A picoprocess that has been started and has not yet handed over its listener.
    struct Boot {
        Fd socket;
        bool first;
        int process;  ///< -1: not known yet (the first one)
    };
    /// A request that a worker process serves.
    struct Pending {
        u64 notification;
        int listener;
        u32 slot;
        u32 sequence;
        int worker;
        Fd socket;
        u64 deadline;  ///< monotonic ns
    };
    /// A reply that found nobody: the asking thread was interrupted and will ring again.
    struct Undelivered {
        u32 sequence;
        Reply reply;
    };

    // Start (start.cpp).
    Result<void, LaunchError> start();
    std::string config_text(const std::string& program, bool ahead) const;
    std::string library_options(const std::string& program) const;
    void make_requests();
    ForeseenTable& foreseen() { return *reinterpret_cast<ForeseenTable*>(request_memory_ + kForeseenOffset); }
    Result<Fd, LaunchError> open_image(const std::string& given, const char* name) const;
    bool fallback(std::string_view name) const;

    // Family.
    Result<int, gate::Err> create_process(const std::string& program, const std::vector<std::string>& arguments,
                                          const Fd (&streams)[3]) override;
    Fd standard_stream(int number) override;
    Result<u32, gate::Err> exit_code(int process) override;
    gate::Err add_usage(int process, gate::MembersUsage& usage) override;
    void log(LogKind kind, std::string_view text) override;

    // Loop (monitor.cpp).
    void loop();
    void take_signals();
    void forward(int signal);
    void interrupt_for_terminal();
    void reap();
    void ended(int process, int status, const rusage& usage);
    void take_boot(Boot& boot);
    void stop(int status);
    void finish();
    void report_fault(const FaultRecord& shared);
    void report_refusals();

    // Limits (limits.cpp).
    Result<void, LaunchError> check_limits();
    u64 largest_stream() const;
    void poll_memory();
    void look_at_processors();
    void report_limits();

    // Notifications (notify.cpp).
    void notified(int listener);
    void answer(int listener, u64 id, i64 value, i32 error, bool proceed = false);
    void doorbell(int listener, const seccomp_notif& notification);
    void admit(int listener, const seccomp_notif& notification);
    void signal_thread(int listener, const seccomp_notif& notification);
    void deliver(int listener, u64 id, u32 slot, u32 sequence, Reply&& reply);
    int inject(int listener, u64 id, int descriptor, bool send);
    void start_worker(int listener, u64 id, u32 slot, const Request& request);
    void take_worker(usize index);
    void expire_workers(u64 now);
    bool within_limit();
    bool is_member(int process);
    std::vector<int> members();
    /// Sends a host signal to every member that has its handlers: one that is still being started would die of it.
    void signal_members(int signal);

    LaunchOptions options_;
    View view_;
    std::unique_ptr<Names> names_;
    std::unique_ptr<TextStore> texts_;
    std::unique_ptr<Requests> requests_;
    std::unique_ptr<Foresight> foresight_;
    Throttle throttle_;
    SameProcessor same_processor_;
    Terminal terminal_;
    Streams streams_;  ///< after it: relays end before the terminal is restored
    Keeper keeper_;
    Fd signals_, arena_;
    sigset_t forwarded_;
    u8* request_memory_ = nullptr;
    struct Notice* notice_ = nullptr;
    std::vector<Fd> listeners_;
    std::vector<Boot> boots_;
    std::vector<Pending> pending_;
    std::map<u32, Undelivered> undelivered_;
    struct Exit {
        u32 code;
        gate::MembersUsage usage;
    };
    std::map<int, Exit> exits_;
    std::vector<int> exit_order_;
    std::set<std::string> absent_, failures_;
    std::vector<int> held_signals_;

    u64 memory_limit_ = 0, disk_limit_ = 0, arena_size_ = 0;
    bool refused_process_ = false;
    u64 deadline_ = 0, memory_poll_ = 0, started_ = 0;
    u32 used_ = 0;
    bool two_steps_ = false;  ///< a descriptor is injected and the call answered one after the other
    u64 last_admission_ = 0, full_until_ = 0;
    int first_ = -1;
    u64 requests_seen_ = 0;  ///< when memory was last looked at
    bool first_ready_ = false, first_ended_ = false, stopping_ = false, failed_ = false, keeper_lost_ = false;
    LaunchError error_;
    LaunchResult result_;
};

}  // namespace postern::host
