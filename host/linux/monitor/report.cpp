// SPDX-License-Identifier: Apache-2.0
// What the user is told afterwards of names that were refused.
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "host/linux/monitor/monitor.hpp"

namespace postern::host {

namespace {
constexpr u64 kMillisecond = 1'000'000;
}

/// Keeps of the refused names those that exist. Looking must not hang: what lies on another file system than its
/// parents is looked at in a process that is ended after a while.
void Monitor::report_refusals() {
    const auto& refusals = names_->refusals();
    if (refusals.empty()) return;
    std::vector<char> exists(refusals.size(), 0);
    std::vector<usize> later;
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (usize i = 0; i < refusals.size(); ++i) {
        const std::string& name = refusals[i].name;
        if (name.empty() || name[0] != '/' || name == "/") {
            exists[i] = !name.empty() && name[0] != '/';  // not a file: whatever was asked for
            continue;
        }
        open_how how = {};
        how.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
        how.resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_BENEATH;
        long found = syscall(SYS_openat2, root, name.c_str() + 1, &how, sizeof how);
        if (found >= 0) {
            close(static_cast<int>(found));
            exists[i] = 1;
        } else if (errno == EXDEV || errno == ENOSYS || errno == EPERM) {
            later.push_back(i);
        }
    }
    close(root);
    if (!later.empty()) {
        int ends[2];
        int worker = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
        if (worker == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
            for (usize i : later) {
                u32 number = static_cast<u32>(i);
                if (faccessat(AT_FDCWD, refusals[i].name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
                    [[maybe_unused]] ssize_t written = write(ends[1], &number, sizeof number);
                }
            }
            _exit(0);
        }
        if (worker > 0) {
            close(ends[1]);
            u64 until = now_ns() + 300 * kMillisecond;
            for (;;) {
                u64 now = now_ns();
                pollfd event{ends[0], POLLIN, 0};
                if (now >= until || poll(&event, 1, static_cast<int>((until - now) / kMillisecond) + 1) <= 0) break;
                u32 number;
                if (read(ends[0], &number, sizeof number) != sizeof number) break;
                if (number < exists.size()) exists[number] = 1;
            }
            close(ends[0]);
            kill(worker, SIGKILL);
            waitpid(worker, nullptr, 0);
        }
    }
    for (usize i = 0; i < refusals.size(); ++i) {
        if (!exists[i]) continue;
        RefusedName refused;
        refused.name = refusals[i].name;
        const core::Route* rule = refusals[i].rule;
        refused.rule = rule == nullptr ? "no rule" : std::string{rule->origin};
        bool read_only = rule != nullptr && rule->target.kind == core::TargetKind::directory;
        if (rule != nullptr && !rule->suggestion.empty())
            refused.suggestion = rule->suggestion;
        else if (refused.name[0] == '/')
            refused.suggestion = "-v " + refused.name + (read_only ? ":rw" : "");
        result_.refused.push_back(std::move(refused));
    }
}

}  // namespace postern::host
