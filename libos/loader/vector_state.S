// SPDX-License-Identifier: Apache-2.0
// The processor's vector and x87 state as a fresh program finds it.

    .text
// void libos_reset_vector_state(u64 features): `features` is XCR0, 0 where the processor has no XSAVE.
    .globl libos_reset_vector_state
    .type libos_reset_vector_state, @function
libos_reset_vector_state:
    mov %rdi, %rax
    mov %rdi, %rdx
    shr $32, %rdx
    and $~0x200, %eax          // protection keys are no part of a program's vector state
    test %rdi, %rdi
    jz 1f
    xrstor64 initial_state(%rip)
    ret
1:  fxrstor64 initial_state(%rip)
    ret
    .size libos_reset_vector_state, . - libos_reset_vector_state

    .section .rodata
    .balign 64
// Legacy area with FCW 0x37f and MXCSR 0x1f80; the header that follows says that every component is initial.
initial_state:
    .short 0x37f
    .zero 22
    .long 0x1f80, 0xffff
    .zero 512 - 32
    .zero 64

    .section .note.GNU-stack, "", @progbits
