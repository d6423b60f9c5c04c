// SPDX-License-Identifier: Apache-2.0
// Calls of the host kernel. All of them go through the gate page; after the start only those on the wall's list pass.
#pragma once

#include <asm/errno.h>
#include <asm/unistd.h>

#include <type_traits>

#include "base/types.hpp"

// Hidden: the image is one link, and addresses are taken relative to the instruction.
#pragma GCC visibility push(hidden)
extern "C" {
long host_call(long number, long a1, long a2, long a3, long a4, long a5, long a6);
long host_call_interruptible(long number, long a1, long a2, long a3, long a4, long a5, long a6);
long gate_clone_thread(long flags, long stack, void* parent_tid, void* child_tid, void* control);
long gate_clone_helper(long flags, long stack, void* parent_tid, void* child_tid, void (*function)());
[[noreturn]] void gate_thread_exit(postern::u32* clear);
void gate_signal_return();
void syscall_entry();
void exception_entry();
void interrupt_entry();
extern const char gate_page_start[], resume_check[], resume_end[], host_call_window_start[], host_call_window_site[],
    host_call_interrupted[], gate_clone_returned[], gate_clone_set_base[], guarded_load_site[],
    guarded_load_byte_site[], guarded_touch_site[], guarded_load_fault[];
extern const char entry_image_start[], entry_image_end[];
[[noreturn]] void resume_frame(void* frame);
[[noreturn]] void run_on_stack(postern::u64 stack_top, void (*function)(void*), void* argument);
}
#pragma GCC visibility pop

namespace postern::host {

namespace detail {
template <class T>
long word(T value) {
    if constexpr (std::is_pointer_v<T>)
        return reinterpret_cast<long>(value);
    else if constexpr (std::is_same_v<T, std::nullptr_t>)
        return 0;
    else
        return static_cast<long>(value);
}
}  // namespace detail

inline long call_words(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0, long a6 = 0) {
    return host_call(number, a1, a2, a3, a4, a5, a6);
}
inline long interruptible_words(long number, long a1 = 0, long a2 = 0, long a3 = 0, long a4 = 0, long a5 = 0,
                                long a6 = 0) {
    return host_call_interruptible(number, a1, a2, a3, a4, a5, a6);
}
/// One instruction, no atomicity needed: only this thread writes its counters.
inline void count_host_call() { asm volatile("incq %%gs:168" ::: "memory", "cc"); }
inline void count_gate_call() { asm volatile("incq %%gs:160" ::: "memory", "cc"); }

/// The result is the kernel's: a value, or -errno. Not counted: usable before the thread control exists.
template <class... Arguments>
long early_call(long number, Arguments... arguments) {
    return call_words(number, detail::word(arguments)...);
}
/// As early_call; counted for --stats. May return -EINTR for calls that sleep.
template <class... Arguments>
long call(long number, Arguments... arguments) {
    count_host_call();
    return call_words(number, detail::word(arguments)...);
}
/// Answers -EINTR at once when an interrupt of this thread is pending, and when one comes while it sleeps.
template <class... Arguments>
long call_interruptible(long number, Arguments... arguments) {
    count_host_call();
    return interruptible_words(number, detail::word(arguments)...);
}

}  // namespace postern::host
