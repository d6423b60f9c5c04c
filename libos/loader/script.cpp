// SPDX-License-Identifier: Apache-2.0
// The kernel's rules for "#!" lines: one interpreter, at most one argument, 256 bytes in all.
#include "libos/loader/elf.hpp"

namespace postern::libos {

namespace {
bool blank(char character) { return character == ' ' || character == '\t'; }
}  // namespace

Res<ScriptLine> parse_script(const char* head, usize size) {
    if (!is_script(head, size)) return Failure{Errno::noexec};
    if (size > kScriptHead) size = kScriptHead;
    usize at = 2, end = 2;
    bool terminated = false;
    for (; end < size; ++end) {
        if (head[end] == '\n' || head[end] == 0) {
            terminated = true;
            break;
        }
    }
    // A short file without a newline ends like a line; a long line may cut its argument, but not the interpreter.
    if (size < kScriptHead) terminated = true;
    while (at < end && blank(head[at])) ++at;
    usize name = at;
    while (at < end && !blank(head[at])) ++at;
    if (at == name) return Failure{Errno::noexec};
    if (at == end && !terminated) return Failure{Errno::noexec};
    ScriptLine line;
    line.interpreter = {head + name, at - name};
    while (at < end && blank(head[at])) ++at;
    usize last = end;
    while (last > at && blank(head[last - 1])) --last;
    line.argument = {head + at, last - at};
    return line;
}

}  // namespace postern::libos
