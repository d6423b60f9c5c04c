// SPDX-License-Identifier: Apache-2.0
#include "host/linux/entry/request.hpp"

#include <linux/futex.h>

#include "base/memory.hpp"
#include "host/linux/entry/calls.hpp"
#include "host/linux/entry/host_call.hpp"
#include "host/linux/entry/state.hpp"

namespace postern::host {
namespace {

Slot& slot_at(u32 index) { return *reinterpret_cast<Slot*>(kRequestBase + kSlotOffset + u64{index} * kSlotSize); }

bool try_take(Slot& slot) {
    u32 free = 0;
    return __atomic_load_n(&slot.owner, __ATOMIC_RELAXED) == 0 &&
           __atomic_compare_exchange_n(&slot.owner, &free, process_id(), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

u32 search() {
    RequestHeader& header = *g_process.requests;
    for (;;) {
        // The first free one: slots that were used before have their pages here and in the monitor already.
        for (u32 index = 0; index < kSlotCount; ++index)
            if (try_take(slot_at(index))) return index;
        // Processes that were killed in the middle of a request leave their slot behind.
        for (u32 index = 0; index < kSlotCount; ++index) {
            u32 owner = __atomic_load_n(&slot_at(index).owner, __ATOMIC_RELAXED);
            if (owner != 0 && on_deaths_list(owner) &&
                __atomic_compare_exchange_n(&slot_at(index).owner, &owner, process_id(), false, __ATOMIC_ACQUIRE,
                                            __ATOMIC_RELAXED))
                return index;
        }
        u32 seen = __atomic_load_n(&header.free_waiters, __ATOMIC_SEQ_CST);
        HostTime deadline = to_host_time(monotonic_now() + 10'000'000);
        call(__NR_futex, &header.free_waiters, FUTEX_WAIT_BITSET, seen, &deadline, nullptr, ~0u);
    }
}

}  // namespace

Request::Request(Ask ask) : index_{search()} {
    slot_ = &slot_at(index_);
    // All but the names: they are long, and only the lengths say what of them counts.
    memset(reinterpret_cast<u8*>(slot_) + sizeof(u32), 0, offsetof(Slot, names) - sizeof(u32));
    slot_->ask = ask;
    static u32 next_sequence = 0;
    slot_->sequence = (process_id() << 12) + __atomic_add_fetch(&next_sequence, 1, __ATOMIC_RELAXED);
    if (slot_->sequence == 0) slot_->sequence = 1;
}

Request::~Request() { __atomic_store_n(&slot_->owner, 0, __ATOMIC_RELEASE); }

bool Request::name(std::string_view text) {
    if (text.size() >= kMaxPath) return false;
    memcpy(slot_->names, text.data(), text.size());
    slot_->names[text.size()] = 0;
    slot_->name_length = static_cast<u32>(text.size());
    return true;
}

bool Request::second(std::string_view text) {
    if (text.size() >= kMaxPath) return false;
    char* place = slot_->names + slot_->name_length + 1;
    memcpy(place, text.data(), text.size());
    place[text.size()] = 0;
    slot_->second_length = static_cast<u32>(text.size());
    return true;
}

gate::Err Request::ring() {
    slot_->error = gate::Err::io;  // what counts if the monitor never wrote an answer
    do {
        // A signal can come before the monitor has taken the request (and on kernels without WAIT_KILLABLE_RECV also
        // later): nothing was answered then, and the monitor knows a request that it has already served by `sequence`.
        result_ = call(kDoorbellCall, index_);
    } while (result_ == -EINTR);
    if (result_ == -ENOSYS) return gate::Err::io;  // the monitor is gone; the keeper is about to end this process
    gate::Err error = slot_->error;
    if (static_cast<u32>(error) >= gate::kErrCount) return gate::Err::io;
    if (error != gate::Err::ok) return error;
    if (result_ < 0) return to_gate_error(-result_);
    if ((slot_->reply_flags & kReplyDescriptor) == 0) result_ = -1;
    return gate::Err::ok;
}

}  // namespace postern::host
