// SPDX-License-Identifier: Apache-2.0
// The gate page: the only `syscall` instructions of the host part. The linker script puts it at kGatePage.
//
// All stubs take the kernel's six arguments in the C calling convention, the call's number first, and return the
// kernel's result.
#include "host/linux/entry/offsets.h"

        .cfi_sections .debug_frame              // for debuggers: nothing of it is loaded
        .section .gate, "ax", @progbits
        .globl gate_page_start
gate_page_start:

// long host_call(number, a1, a2, a3, a4, a5, a6)
        .globl host_call
        .type host_call, @function
host_call:
        .cfi_startproc
        mov     %rdi, %rax
        mov     %rsi, %rdi
        mov     %rdx, %rsi
        mov     %rcx, %rdx
        mov     %r8, %r10
        mov     %r9, %r8
        mov     8(%rsp), %r9
        syscall
        ret
        .cfi_endproc

// As host_call, but answers -EINTR when an interrupt is pending, however late it came: the handler of the kick signal
// moves an instruction pointer inside [start, site] to `host_call_interrupted`. `site` itself is included: the call
// has not been executed there.
        .globl host_call_interruptible
        .type host_call_interruptible, @function
host_call_interruptible:
        .cfi_startproc
        mov     %rdi, %rax
        mov     %rsi, %rdi
        mov     %rdx, %rsi
        mov     %rcx, %rdx
        mov     %r8, %r10
        mov     %r9, %r8
        mov     8(%rsp), %r9
        .globl host_call_window_start
host_call_window_start:
        cmpl    $0, %gs:CONTROL_PENDING
        jne     host_call_interrupted
        .globl host_call_window_site
host_call_window_site:
        syscall
        ret
        .globl host_call_interrupted
host_call_interrupted:
        mov     $-ERRNO_INTR, %rax
        ret
        .cfi_endproc

// The return address of the host's signal handlers.
        .globl gate_signal_return
gate_signal_return:
        mov     $15, %eax
        syscall

// long gate_clone_thread(flags, stack, parent_tid, child_tid, control): the child starts thread_started(control) on
// `stack`. Up to gate_clone_set_base the child's GS base is still its parent's: signal handlers know these labels.
        .globl gate_clone_thread
        .type gate_clone_thread, @function
gate_clone_thread:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset %rbx, -16
        mov     %r8, %rbx
        mov     %rcx, %r10
        xor     %r8d, %r8d
        mov     $56, %eax
        syscall
        .globl gate_clone_returned
gate_clone_returned:
        test    %rax, %rax
        jz      1f
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .globl gate_clone_set_base
gate_clone_set_base:
1:      wrgsbase %rbx
        mov     %rbx, %rdi
        xor     %ebp, %ebp
        movabs  $thread_started, %rax
        call    *%rax
        ud2

// long gate_clone_helper(flags, stack, parent_tid, child_tid, function): as above without a thread control; runs
// function() and ends the thread.
        .globl gate_clone_helper
        .type gate_clone_helper, @function
gate_clone_helper:
        push    %rbx
        mov     %r8, %rbx
        mov     %rcx, %r10
        xor     %r8d, %r8d
        mov     $56, %eax
        syscall
        test    %rax, %rax
        jz      1f
        pop     %rbx
        ret
1:      xor     %ebp, %ebp
        call    *%rbx
        xor     %edi, %edi
        mov     $60, %eax
        syscall
        ud2

// [[noreturn]] gate_thread_exit(u32* clear): from the first store to *clear on nothing of the stack is used, because
// its owner may free it at once. Waiters may use either kind of futex key.
        .globl gate_thread_exit
        .type gate_thread_exit, @function
gate_thread_exit:
        test    %rdi, %rdi
        jz      1f
        mov     %rdi, %rbx
        movl    $0, (%rbx)
        mov     $202, %eax
        mov     $1, %esi
        mov     $0x7fffffff, %edx
        syscall
        mov     $202, %eax
        mov     %rbx, %rdi
        mov     $129, %esi
        mov     $0x7fffffff, %edx
        syscall
1:      xor     %edi, %edi
        mov     $60, %eax
        syscall
        ud2

        .globl gate_page_end
gate_page_end:
        .balign 4096, 0xcc

        .section .note.GNU-stack, "", @progbits
