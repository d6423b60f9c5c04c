// SPDX-License-Identifier: Apache-2.0
// One request to the monitor: a slot of the shared file, filled in, rung, read, released.
#pragma once

#include <string_view>

#include "gate/types.hpp"
#include "host/linux/protocol.hpp"

namespace postern::host {

class Request {
public:
    /// Takes a free slot; waits for one while all are in use (256 requests of the family at once).
    explicit Request(Ask ask);
    ~Request();
    Request(const Request&) = delete;
    Request& operator=(const Request&) = delete;

    Slot& slot() { return *slot_; }
    /// False: longer than kMaxPath - 1 bytes.
    bool name(std::string_view text);
    /// Goes behind the name.
    bool second(std::string_view text);
    /// Rings and waits for the answer, unless it is there already.
    gate::Err ring();
    /// What the monitor gave; -1: nothing.
    i32 descriptor() const { return static_cast<i32>(result_); }

private:
    bool answered_ahead();

    Slot* slot_;
    u32 index_;
    long result_ = 0;
};

}  // namespace postern::host
