// SPDX-License-Identifier: Apache-2.0
// Standard streams. Regular files and pipes go to the program as they are. Sockets and terminals do not: through a
// descriptor of them a program could read the keyboard, push input, or reach whoever is at the other end. Small
// processes copy between those and pipes. With -t the program has a terminal of its own, and the caller's is its
// screen.
#pragma once

#include <string>
#include <vector>

#include "host/linux/monitor/sys.hpp"

namespace postern::host {

class Streams {
public:
    ~Streams();
    /// Decides what the program gets and starts the relays that this needs.
    /// `keyboard`: with -t, what takes the place of standard input; -1: none.
    Result<void, LaunchError> prepare(const LaunchOptions& options, int keyboard);
    /// What becomes descriptor 0, 1 or 2 of the program; 3: where its trace goes.
    int source(int stream) const { return sources_[stream]; }
    /// One letter per descriptor 0 to 2: f file, p pipe, t terminal (relayed), s socket (relayed), n null, c other.
    const std::string& kinds() const { return kinds_; }
    /// Forgets the program's ends of relayed streams; output relays end when the program's copies are gone, too.
    void close_sources();
    /// The program is gone: input relays end at once, output relays when they have written all.
    void end_input();
    /// Ends output relays that cannot write.
    void abandon();
    bool owns(int process) const;
    /// A relay has ended and was reaped.
    void ended(int process);
    bool idle() const { return relays_.empty(); }

private:
    struct Relay {
        int process;
        bool input;
    };
    Result<void, LaunchError> prepare_terminal(const LaunchOptions& options, int keyboard);
    Result<void, LaunchError> prepare_trace(const LaunchOptions& options);
    /// `cooked`: lines end as a terminal in raw mode needs it.
    Result<int, LaunchError> relay(int descriptor, bool input, bool cooked = false);
    Result<int, LaunchError> null_device(int flags);

    int sources_[4] = {-1, -1, -1, -1};
    std::vector<Fd> owned_;
    std::vector<Relay> relays_;
    std::string kinds_;
};

}  // namespace postern::host
