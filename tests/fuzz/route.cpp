// SPDX-License-Identifier: Apache-2.0
// Rules and names: patterns against a second, slow way to match, and the first matching rule against all of them.
#include <stdlib.h>
#include <string.h>

#include <string>
#include <vector>

#include "core/route.hpp"

using namespace postern;
using namespace postern::core;

namespace {

bool covers(std::string_view pattern, std::string_view text) {
    std::vector<bool> row(text.size() + 1);  // row[i]: the pattern so far covers the first i characters
    row[0] = true;
    for (char letter : pattern) {
        std::vector<bool> next(text.size() + 1);
        for (usize i = 0; i <= text.size(); ++i) {
            if (letter == '*')
                next[i] = row[i] || (i > 0 && next[i - 1]);
            else
                next[i] = i > 0 && row[i - 1] && text[i - 1] == letter;
        }
        row = next;
    }
    return row[text.size()];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    std::string_view all{reinterpret_cast<const char*>(data), size};
    std::vector<std::string_view> lines;
    while (!all.empty() && lines.size() < 20) {
        lines.push_back(all.substr(0, all.find('\n')));
        all.remove_prefix(lines.back().size() < all.size() ? lines.back().size() + 1 : all.size());
    }
    Route storage[16];
    char text[2048];
    RouteTable table{storage, text};
    std::vector<const Route*> added;
    for (std::string_view line : lines) {
        if (line.size() < 2) continue;
        Route route;
        route.scheme = "file";
        route.match = static_cast<Match>(static_cast<u8>(line[0]) % 3);
        route.target.kind = static_cast<TargetKind>(static_cast<u8>(line[0]) / 3 % 4);
        route.target.name = line;
        route.path = line.substr(1);
        route.origin = "fuzz";
        (void)table.add(route);
    }
    for (std::string_view line : lines) {
        std::string_view scheme, path;
        if (split_uri(line, scheme, path) && scheme.size() + 1 + path.size() != line.size()) abort();
        for (std::string_view other : lines)
            if (line.size() < 100 && other.size() < 100 && glob_covers(line, other) != covers(line, other)) abort();
        if (line.empty() || line[0] != '/') continue;
        Decision decision = table.find("file", line);
        if (decision.route != nullptr) {
            if (decision.route < storage || decision.route >= storage + 16) abort();
            if (!decision.rest.empty() && (decision.rest.data() < line.data() ||
                                           decision.rest.data() + decision.rest.size() > line.data() + line.size()))
                abort();
            if (decision.route->match == Match::exact && decision.route->path != line) abort();
        }
        (void)table.is_parent("file", line);
        table.children("file", line, [](std::string_view name, const Route*) {
            if (name.empty() || name.find('/') != std::string_view::npos) abort();
        });
    }
    static char page[1 << 16];
    Text out{page, sizeof page};
    table.print(out);
    table.print_json(out);
    return 0;
}
