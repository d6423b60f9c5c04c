// SPDX-License-Identifier: Apache-2.0
// Where control passes between program and library OS, and the start of the image.
//
// Vector registers are live all the way: nothing between here and the library OS touches them. The order of the pushes
// is the order of gate::Frame's fields, last first.
#include "host/linux/entry/offsets.h"

        .cfi_sections .debug_frame              // for debuggers: nothing of it is loaded
        .text

// In the terms of DWARF's unwind tables: from here the caller is the program, with the registers of the gate::Frame at
// %rsp. The numbers: DW_CFA_def_cfa_expression {breg7 + 136, deref} and, for each register saved at %rsp + n,
// DW_CFA_expression register {breg7 + n} with n as SLEB128.
        .macro  UNWINDS_TO_PROGRAM
        .cfi_signal_frame
        .cfi_escape 0x0f, 4, 0x77, 0x88, 0x01, 0x06
        .cfi_escape 0x10, 16, 3, 0x77, 0x80, 0x01       // rip 128
        .cfi_escape 0x10, 0, 2, 0x77, 0                 // rax
        .cfi_escape 0x10, 9, 2, 0x77, 8                 // r9
        .cfi_escape 0x10, 8, 2, 0x77, 16                // r8
        .cfi_escape 0x10, 10, 2, 0x77, 24               // r10
        .cfi_escape 0x10, 1, 2, 0x77, 32                // rdx
        .cfi_escape 0x10, 4, 2, 0x77, 40                // rsi
        .cfi_escape 0x10, 5, 2, 0x77, 48                // rdi
        .cfi_escape 0x10, 11, 2, 0x77, 56               // r11
        .cfi_escape 0x10, 15, 3, 0x77, 0xc0, 0          // r15 64
        .cfi_escape 0x10, 14, 3, 0x77, 0xc8, 0          // r14 72
        .cfi_escape 0x10, 13, 3, 0x77, 0xd0, 0          // r13 80
        .cfi_escape 0x10, 12, 3, 0x77, 0xd8, 0          // r12 88
        .cfi_escape 0x10, 6, 3, 0x77, 0xe0, 0           // rbp 96
        .cfi_escape 0x10, 3, 3, 0x77, 0xe8, 0           // rbx 104
        .cfi_escape 0x10, 2, 3, 0x77, 0xf8, 0           // rcx 120
        .endm

// Patched sites jump here and the SIGSYS handler sends trapped calls here: rax number, rcx return address, everything
// else as the program left it. An interrupt anywhere in the next lines only sets `pending`, which is tested on the
// way out.
        .balign 64
        .globl syscall_entry
syscall_entry:
        mov     %rsp, %gs:CONTROL_GUEST_RSP
        mov     %gs:CONTROL_STACK_TOP, %rsp
        push    $0                              // reserved
        push    %rax                            // original_rax
        push    %gs:CONTROL_GUEST_RSP           // rsp
        push    %rcx                            // rip
        push    %rcx                            // rcx, as after a `syscall` instruction
        pushfq
        cld
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    48(%rsp)                        // r11 holds the flags after a `syscall` instruction
        push    %rdi
        push    %rsi
        push    %rdx
        push    %r10
        push    %r8
        push    %r9
        push    %rax
        mov     %rsp, %gs:CONTROL_FRAME
        incq    %gs:CONTROL_SYSTEM_CALLS
        mov     %rsp, %rdi
        .cfi_startproc
        UNWINDS_TO_PROGRAM
        call    *personality_system_call(%rip)

// The way back. A handler that interrupts inside [resume_check, resume_end) starts over at resume_check: until the last
// jump the frame is intact and nothing else has been changed, so an interrupt is never lost.
        .globl resume_check
resume_check:
        mov     %gs:CONTROL_FRAME, %rsp
        cmpl    $0, %gs:CONTROL_PENDING
        jne     resume_interrupted
        .cfi_endproc
        pop     %rax
        pop     %r9
        pop     %r8
        pop     %r10
        pop     %rdx
        pop     %rsi
        pop     %rdi
        pop     %r11
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        popfq
        pop     %rcx
        popq    %gs:CONTROL_RESUME_RIP
        mov     (%rsp), %rsp
        jmp     *%gs:CONTROL_RESUME_RIP
        .globl resume_end
resume_end:

resume_interrupted:
        .cfi_startproc
        UNWINDS_TO_PROGRAM
        mov     %rsp, %rdi
        call    deliver_interrupt
        jmp     resume_check
        .cfi_endproc

// [[noreturn]] resume_frame(Frame*): the frame may lie anywhere, also on the stack in use. It is moved to its place at
// the top of the stack first, because interrupts are delivered below it.
        .globl resume_frame
resume_frame:
        mov     %rdi, %rsi
        mov     %gs:CONTROL_STACK_TOP, %rdi
        sub     $FRAME_SIZE, %rdi
        mov     %rdi, %rax
        mov     $(FRAME_SIZE / 8), %ecx
        cmp     %rsi, %rdi
        je      2f
        jb      1f
        add     $(FRAME_SIZE - 8), %rsi         // upwards: last word first, the two may overlap
        add     $(FRAME_SIZE - 8), %rdi
        std
1:      rep movsq
        cld
2:      mov     %rax, %gs:CONTROL_FRAME
        jmp     resume_check

// Handlers send a program that faulted, or that is to be interrupted, here: all general registers but rip, rsp and the
// flags are the program's.
        .macro  SAVE_INTERRUPTED_PROGRAM
        mov     %gs:CONTROL_STACK_TOP, %rsp
        push    $0
        push    $-1                             // kNoSystemCall
        push    %gs:CONTROL_ASYNC_RSP
        push    %gs:CONTROL_ASYNC_RIP
        push    %rcx
        push    %gs:CONTROL_ASYNC_FLAGS
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        push    %r11
        push    %rdi
        push    %rsi
        push    %rdx
        push    %r10
        push    %r8
        push    %r9
        push    %rax
        mov     %rsp, %gs:CONTROL_FRAME
        .endm

        .globl exception_entry
exception_entry:
        SAVE_INTERRUPTED_PROGRAM
        mov     %rsp, %rdi
        .cfi_startproc
        UNWINDS_TO_PROGRAM
        call    deliver_exception
        jmp     resume_check
        .cfi_endproc

        .globl interrupt_entry
interrupt_entry:
        SAVE_INTERRUPTED_PROGRAM
        jmp     resume_check                    // `pending` is set

// void run_on_stack(u64 stack_top, void (*function)(void*), void* argument)
        .globl run_on_stack
run_on_stack:
        mov     %rdi, %rsp
        xor     %ebp, %ebp
        mov     %rdx, %rdi
        call    *%rsi
        ud2

        .globl _start
_start:
        mov     %rsp, %rdi
        xor     %ebp, %ebp
        and     $-16, %rsp
        call    start_entry
        ud2

// u64 guarded_load(u64 address, u64* value): 1, or 0 when reading eight bytes at `address` faults. The handler of
// SIGSEGV and SIGBUS knows these addresses.
        .globl guarded_load
guarded_load:
        .globl guarded_load_site
guarded_load_site:
        mov     (%rdi), %rax
        mov     %rax, (%rsi)
        mov     $1, %eax
        ret
        .globl guarded_load_fault
guarded_load_fault:
        xor     %eax, %eax
        ret

// u64 guarded_load_byte(u64 address, u8* value)
        .globl guarded_load_byte
guarded_load_byte:
        .globl guarded_load_byte_site
guarded_load_byte_site:
        movzbl  (%rdi), %eax
        mov     %al, (%rsi)
        mov     $1, %eax
        ret

// u64 guarded_touch(u64 address): 1 if the byte can be written. Its value stays, whoever else writes it.
        .globl guarded_touch
guarded_touch:
        .globl guarded_touch_site
guarded_touch_site:
        lock orb $0, (%rdi)
        mov     $1, %eax
        ret

        .section .note.GNU-stack, "", @progbits
