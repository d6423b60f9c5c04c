// SPDX-License-Identifier: Apache-2.0
// Copies that may fault. Each instruction that touches program memory has a pair in section `fixups`: the address of
// the instruction and where to go on when it faults. All registers keep their values at the fault.

#define FIXUP(at, to) .pushsection fixups, "a"; .balign 8; .quad at, to; .popsection

    .text

// u64 libos_guarded_copy(void* to, const void* from, u64 size): bytes NOT copied.
    .globl libos_guarded_copy
    .type libos_guarded_copy, @function
libos_guarded_copy:
    mov %rdx, %rcx
    cmp $192, %rdx            // below this `rep movsb` takes longer to start than the loop to finish
    jae 3f
    shr $3, %rcx
    jz 2f
1:  mov (%rsi), %rax
11: mov %rax, (%rdi)
    add $8, %rsi
    add $8, %rdi
    dec %rcx
    jnz 1b
2:  lea (,%rcx,8), %rcx       // after a fault: the words not copied, tried again byte by byte to be exact
    and $7, %edx
    add %rdx, %rcx
    jz 5f
3:  rep movsb
5:  mov %rcx, %rax
    ret
    FIXUP(1b, 2b)
    FIXUP(11b, 2b)
    FIXUP(3b, 5b)
    .size libos_guarded_copy, . - libos_guarded_copy

// u64 libos_guarded_zero(void* to, u64 size): bytes NOT cleared.
    .globl libos_guarded_zero
    .type libos_guarded_zero, @function
libos_guarded_zero:
    mov %rsi, %rcx
    xor %eax, %eax
1:  rep stosb
2:  mov %rcx, %rax
    ret
    FIXUP(1b, 2b)
    .size libos_guarded_zero, . - libos_guarded_zero

// i64 libos_guarded_string(char* to, const char* from, u64 capacity): length without NUL, capacity when there is no
// NUL within it, -1 after a fault.
    .globl libos_guarded_string
    .type libos_guarded_string, @function
libos_guarded_string:
    xor %eax, %eax
    test %rdx, %rdx
    jz 3f
1:  movzbl (%rsi,%rax), %ecx
    mov %cl, (%rdi,%rax)
    test %cl, %cl
    jz 3f
    inc %rax
    cmp %rdx, %rax
    jb 1b
3:  ret
4:  mov $-1, %rax
    ret
    FIXUP(1b, 4b)
    .size libos_guarded_string, . - libos_guarded_string

// i32 libos_guarded_cmpxchg(u32* address, u32* expected, u32 desired): 1 exchanged, 0 not (*expected updated), -1 fault.
    .globl libos_guarded_cmpxchg
    .type libos_guarded_cmpxchg, @function
libos_guarded_cmpxchg:
    mov (%rsi), %eax
1:  lock cmpxchg %edx, (%rdi)
    jne 2f
    mov $1, %eax
    ret
2:  mov %eax, (%rsi)
    xor %eax, %eax
    ret
3:  mov $-1, %eax
    ret
    FIXUP(1b, 3b)
    .size libos_guarded_cmpxchg, . - libos_guarded_cmpxchg

    .section .note.GNU-stack, "", @progbits
