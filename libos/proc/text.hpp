// SPDX-License-Identifier: Apache-2.0
// Text that grows in shared memory: the contents of files that are made up when they are read.
#pragma once

#include <string_view>

#include "base/format.hpp"
#include "libos/errno.hpp"

namespace postern::libos {

class ProcText {
public:
    ProcText() = default;
    ProcText(const ProcText&) = delete;
    ProcText& operator=(const ProcText&) = delete;
    ~ProcText();

    /// One line or part of one: at most 1 KiB of formatted text. Memory shortage is remembered, see failed().
    template <class... Parts>
    ProcText& add(const Parts&... parts) {
        TextBuffer<1024> line;
        line.add(parts...);
        append(line.view());
        return *this;
    }
    void append(std::string_view text);
    void clear() { size_ = 0, failed_ = false; }
    std::string_view view() const { return {data_, size_}; }
    bool failed() const { return failed_; }

private:
    char* data_ = nullptr;
    usize size_ = 0, capacity_ = 0;
    bool failed_ = false;
};

}  // namespace postern::libos
