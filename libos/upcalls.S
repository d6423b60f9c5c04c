// SPDX-License-Identifier: Apache-2.0
// The upcalls' addresses where a host finds them without reading the symbol table: an ELF note, owner "Postern", type 1.
    .section .note.postern, "a", @note
    .balign 4
    .long 8, 24, 1
    .asciz "Postern"
    .quad LibOsInitialize, LibOsThreadStart, LibOsExceptionDispatch

    .section .note.GNU-stack, "", @progbits
