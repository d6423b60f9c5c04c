// SPDX-License-Identifier: Apache-2.0
// Pages generated from the table of system calls, as `postern syscalls` prints them.
    .section .rodata
    .globl postern_syscalls_json, postern_syscalls_json_end, postern_syscalls_page, postern_syscalls_page_end
postern_syscalls_json:
    .incbin POSTERN_SYSCALLS_JSON
postern_syscalls_json_end:
postern_syscalls_page:
    .incbin POSTERN_SYSCALLS_PAGE
postern_syscalls_page_end:
    .section .note.GNU-stack, "", @progbits
