// SPDX-License-Identifier: Apache-2.0
// A family without members, for requests that need none.
#pragma once

#include "host/linux/monitor/requests.hpp"

namespace postern::host {

class NoFamily : public Family {
public:
    Result<int, gate::Err> create_process(const std::string&, const std::vector<std::string>&,
                                          const Fd (&)[3]) override {
        return Failure{gate::Err::unsupported};
    }
    Fd standard_stream(int) override { return Fd{}; }
    Result<u32, gate::Err> exit_code(int) override { return Failure{gate::Err::not_found}; }
    gate::Err add_usage(int, gate::MembersUsage&) override { return gate::Err::ok; }
    void log(LogKind, std::string_view) override {}
};

}  // namespace postern::host
