// SPDX-License-Identifier: Apache-2.0
// What a program asks at its start, remembered from its earlier ones and answered before it asks.
//
// A question costs two switches of processes, and programs begin with dozens of them that are the same each time: the
// loader, libraries, places where something might be. Answering needs a system call or two. So the monitor keeps, in
// the user's cache directory, the questions that each program asked; the next start finds the answers in the shared
// file and the files among its descriptors.
//
// Only questions are kept, never answers: those are worked out anew, by the rules of this run, each time. Whatever the
// kept file says, a program can get by it nothing that it could not ask for. Only answers that hold for the family's
// whole life are given ahead, and none that a rule refused: refusals are reported, when a program really asks.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "host/linux/layout.hpp"
#include "host/linux/monitor/cache_directory.hpp"
#include "host/linux/monitor/requests.hpp"

namespace postern::host {

/// Which starts are alike.
struct StartKey {
    u64 same;   ///< the same command in a view that is made the same way
    u64 alike;  ///< but for the command's operands (arguments that are no options)
};
StartKey start_key(const LaunchOptions& options);

class Foresight {
public:
    /// Reads what is known of starts with the same command, or else of those that are alike. "": knows and keeps
    /// nothing.
    Foresight(std::string directory, const StartKey& start);

    /// Answers what is expected. `table`: kForeseenSize bytes of zeros, shared. What is to become the descriptors from
    /// kFdForeseen on is added to `descriptors`.
    void answer(Requests& requests, Names& names, ForeseenTable& table, std::vector<Fd>& descriptors);
    /// This was asked and answered.
    void note(const Request& request, const Reply& reply);
    /// Keeps what was asked. `table`: as above; who wrote to it meanwhile can make this remember the wrong questions.
    /// How many answers were used.
    u32 keep(const ForeseenTable& table);

private:
    struct Question {
        ForeseenQuestion what;
        std::string name;
        u32 score = 1;       ///< of the last starts
        u32 offset = 0;      ///< of its answer in the table; 0: none was given
        bool asked = false;  ///< in this run
    };
    bool read(const std::string& member);
    std::string records() const;
    void write(const std::string& member, const std::string& records);
    void make_room();
    Question* find(const ForeseenQuestion& what, std::string_view name);
    bool add(Question&& question);

    CacheDirectory directory_;
    std::string same_, alike_;  ///< members
    bool seen_before_ = false;  ///< the same command
    std::vector<Question> questions_;
    std::unordered_multimap<u32, u32> by_hash_;  ///< hash_of_question() to the place in questions_
    u32 listings_ = 0;
};

}  // namespace postern::host
