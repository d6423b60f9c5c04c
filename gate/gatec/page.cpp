// SPDX-License-Identifier: Apache-2.0
// Emits the reference page, the JSON form and the lock file.
#include <cstdio>

#include "gate/gatec/emit.hpp"

namespace postern::gatec {

using namespace gate::schema;

namespace {

constexpr std::string_view kUnitNames[] = {"",
                                           "bytes",
                                           "bytes, page multiple",
                                           "address, page multiple",
                                           "address",
                                           "byte offset",
                                           "count",
                                           "ns",
                                           "absolute ns",
                                           "URI",
                                           "text",
                                           "pixels",
                                           "bits"};
constexpr std::string_view kDirectionNames[] = {"in", "out", "in, out"};

std::string hex(u64 value) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value));
    return digits;
}

std::string prototype(const Call& call) {
    std::string text = call.returns == Returns::error ? "Err " : call.returns == Returns::address ? "u64 " : "void ";
    text += std::string{call.name} + "(";
    bool first = true;
    for (const Param& param : call) {
        text += cat(first ? "" : ", ", cpp_type(param.type), " ", param.name);
        first = false;
    }
    return text + ")";
}

std::string details(const Param& param) {
    std::string text;
    auto add = [&](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
    if (param.unit != Unit::none) add(std::string{kUnitNames[static_cast<usize>(param.unit)]});
    if (param.kinds != 0) add(kind_list(param.kinds));
    if (param.right != gate::Right::none) add("right " + right_list(param.right));
    if (param.domain != Domain::any) add(cat("`", info(param.domain).name, "`"));
    if (!param.sized_by.empty()) add(cat("sized by `", param.sized_by, "`"));
    if (param.optional) add("optional");
    return text;
}

std::string call_section(const Call& call) {
    std::string text = cat("### ", call.name, "\n\n```cpp\n", prototype(call), "\n```\n\n", call.doc, "\n\n");
    text += cat("Number ", call.number, ", since version ", call.since, ". ",
                call.group == Group::upcall ? "Upcall."
                : call.blocks               ? "May block; interruptible."
                                            : "Does not block.");
    if (call.returns == Returns::never) text += " Never returns.";
    if (call.linux_status == Status::unsupported) text += " **On the Linux host: unsupported.**";
    text += "\n\n";
    if (call.param_count != 0) {
        text += "| argument | direction | | meaning |\n|---|---|---|---|\n";
        for (const Param& param : call)
            text += cat("| `", param.name, "` | ", kDirectionNames[static_cast<usize>(param.direction)], " | ",
                        details(param), " | ", param.doc, " |\n");
        text += "\n";
    }
    if (call.error_count != 0) {
        text += "| error | when |\n|---|---|\n";
        for (usize i = 0; i < call.error_count; ++i)
            text += cat("| `", kErrNames[static_cast<usize>(call.errors[i].code)], "` | ", call.errors[i].why, " |\n");
        text += "\n";
    }
    if (!call.why.empty()) text += cat("*Why it exists:* ", call.why, "\n\n");
    return text;
}

std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (char c : text) {
        if (c == '"' || c == '\\') result += '\\';
        result += c;
    }
    return result + "\"";
}

std::string json_call(const Call& call) {
    std::string text = cat(
        "    {\"number\": ", call.number, ", \"name\": ", quoted(call.name),
        ", \"group\": ", quoted(kGroupNames[static_cast<usize>(call.group)]),
        ", \"upcall\": ", call.group == Group::upcall ? "true" : "false",
        ",\n     \"origin\": ", call.origin == Origin::drawbridge ? "\"drawbridge\"" : "\"addition\"",
        ", \"blocks\": ", call.blocks ? "true" : "false", ", \"since\": ", call.since,
        ", \"linux\": ", call.linux_status == Status::working ? "\"working\"" : "\"unsupported\"", ", \"returns\": ",
        call.returns == Returns::error   ? "\"Err\""
        : call.returns == Returns::never ? "\"never\""
                                         : "\"address\"",
        ",\n     \"doc\": ", quoted(call.doc));
    if (!call.why.empty()) text += cat(",\n     \"why\": ", quoted(call.why));
    text += ",\n     \"arguments\": [";
    bool first = true;
    for (const Param& param : call) {
        text += cat(first ? "\n" : ",\n", "       {\"name\": ", quoted(param.name),
                    ", \"type\": ", quoted(cpp_type(param.type)), ", \"direction\": ",
                    quoted(param.direction == Direction::in    ? "in"
                           : param.direction == Direction::out ? "out"
                                                               : "in_out"));
        if (param.unit != Unit::none) text += cat(", \"unit\": ", quoted(kUnitNames[static_cast<usize>(param.unit)]));
        if (param.kinds != 0) text += cat(", \"kinds\": ", quoted(kind_list(param.kinds)));
        if (param.right != gate::Right::none) text += cat(", \"rights\": ", quoted(right_list(param.right)));
        if (param.domain != Domain::any) text += cat(", \"domain\": ", quoted(info(param.domain).name));
        if (!param.sized_by.empty()) text += cat(", \"sized_by\": ", quoted(param.sized_by));
        if (param.optional) text += ", \"optional\": true";
        text += cat(", \"doc\": ", quoted(param.doc), "}");
        first = false;
    }
    text += "],\n     \"errors\": [";
    for (usize i = 0; i < call.error_count; ++i)
        text += cat(i == 0 ? "\n" : ",\n",
                    "       {\"error\": ", quoted(kErrNames[static_cast<usize>(call.errors[i].code)]),
                    ", \"when\": ", quoted(call.errors[i].why), "}");
    return text + "]}";
}

}  // namespace

std::string emit_page() {
    std::string text = cat(
        "# The gate\n\n"
        "<!-- Generated by gatec from gate/table.hpp; do not edit. -->\n\n"
        "The gate is all that a picoprocess can ask of the world outside: ",
        kCallCount, " calls, of which ", count_of(Origin::drawbridge), " are Drawbridge's, and ", kUpcallCount,
        " upcalls by which the host enters the library OS. A call's number is its place in `gate::Calls` and is never "
        "reused. `postern gate --json` prints this page for programs.\n\n"
        "Rules of every call:\n\n"
        "- The guest chooses every virtual address and every name, the host only physical things.\n"
        "- All values are checked first, then pointers for null, then each handle, in argument order: not open is "
        "`bad_handle`, before another "
        "kind is `wrong_kind`, before a missing right is `denied`. Then the call commits.\n"
        "- The errors of a call are those listed with it and no others. Output arguments are meaningful after success "
        "only, unless the call says otherwise.\n"
        "- Null where a pointer is needed, and buffers and texts that are not accessible, answer `bad_address`. Any "
        "other pointer that is not accessible is a mistake of the library OS itself: a host that shares its address "
        "space may deliver it to LibOsExceptionDispatch as the access violation that it is.\n"
        "- Only calls that say so block, and each of those returns `interrupted` after DkThreadInterrupt.\n"
        "- Offsets are explicit: no stream has a cursor. There is no ioctl.\n\n"
        "## URIs\n\n"
        "| scheme | names | operations |\n|---|---|---|\n"
        "| `file:PATH` | a file or directory in the picoprocess's routes | all |\n"
        "| `pipe:` | a fresh anonymous pipe: one stream that reads what it was written | read, write, wait |\n"
        "| `pipe.server:NAME`, `pipe.client:NAME` | a named pipe of the family: the server's stream reads as handles "
        "of "
        "new connections, the client is a stream both ways | read, write, wait |\n"
        "| `null:` | reads as empty, swallows what is written | read, write, wait |\n"
        "| `stdin:`, `stdout:`, `stderr:` | the standard streams that the picoprocess was started with | read or "
        "write, "
        "wait |\n"
        "| `memory:?size=N` | fresh zeroed memory of N bytes, shared with picoprocesses that fork later | read, write, "
        "map, set length |\n"
        "| `memory:arena` | the family's shared segment | read, write, map |\n\n"
        "`pipe.srv:` is accepted for `pipe.server:`. What a `file:` name leads to, and with which rights, is decided "
        "by "
        "the routes (`postern routes`), never by the host's own names.\n\n");

    text += "## Unsupported on the Linux host\n\nThese calls exist, and answer `unsupported`:\n\n";
    for (const Call& call : kTable)
        if (call.linux_status == Status::unsupported) text += cat("- ", call.name, "\n");
    text += "\n## Values\n\n| set | kind | members |\n|---|---|---|\n";
    std::string_view previous;
    for (const DomainInfo& domain : kDomains) {
        if (domain.members.empty() || domain.name == previous) continue;
        previous = domain.name;
        text += cat("| `", domain.name, "` | ", domain.scale == Scale::flags ? "bits" : "one of", " | ");
        bool first = true;
        for (const Member& member : domain.members) {
            text += cat(first ? "" : ", ", member.name, " ", member.value);
            first = false;
        }
        text += " |\n";
    }
    text += "\n";
    for (usize group = 0; group <= static_cast<usize>(Group::upcall); ++group) {
        std::string title{kGroupNames[group]};
        title[0] = static_cast<char>(title[0] - 'a' + 'A');
        text += cat("## ", title, "\n\n");
        for (const Call& call : kTable)
            if (static_cast<usize>(call.group) == group) text += call_section(call);
    }
    text.pop_back();
    return text;
}

std::string emit_json() {
    std::string text = cat("{\n  \"version\": ", gate::kAbiVersion, ",\n  \"calls\": ", kCallCount,
                           ",\n  \"upcalls\": ", kUpcallCount, ",\n  \"table\": [\n");
    for (usize i = 0; i < kTable.size(); ++i) text += json_call(kTable[i]) + (i + 1 < kTable.size() ? ",\n" : "\n");
    text += "  ],\n  \"sets\": {\n";
    bool first = true;
    std::string_view previous;
    for (const DomainInfo& domain : kDomains) {
        if (domain.members.empty() || domain.name == previous) continue;
        previous = domain.name;
        text += cat(first ? "" : ",\n", "    ", quoted(domain.name), ": {");
        bool first_member = true;
        for (const Member& member : domain.members) {
            text += cat(first_member ? "" : ", ", quoted(member.name), ": ", member.value);
            first_member = false;
        }
        text += "}";
        first = false;
    }
    text += "\n  },\n  \"errors\": [";
    for (usize i = 0; i < std::size(kErrNames); ++i) text += (i == 0 ? "" : ", ") + quoted(kErrNames[i]);
    return text + "]\n}\n";
}

std::string emit_lock() {
    std::string text =
        "# number name signature since: rows here are released and never change. gatec --check compares.\n";
    for (const Call& call : kTable)
        text += cat(call.number, " ", call.name, " ", hex(fingerprint(signature(call))), " ", call.since, "\n");
    return text;
}

}  // namespace postern::gatec
