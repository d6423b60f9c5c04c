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

/// Did the monitor foresee the question? Then the slot is as if it had been rung. An answer with a descriptor can be
/// had once in each picoprocess that has the descriptor.
bool Request::answered_ahead() {
    const auto& table = *reinterpret_cast<const ForeseenTable*>(kRequestBase + kForeseenOffset);
    Slot& slot = *slot_;
    if (table.count == 0 || slot.create != gate::kCreateNever ||
        (slot.ask != Ask::open && slot.ask != Ask::attributes && slot.ask != Ask::tree))
        return false;
    const ForeseenQuestion question{slot.ask, slot.access, slot.options, slot.size};
    u32 hash = hash_of_question(question, {slot.names, slot.name_length});
    u32 at = hash % ForeseenTable::kPlaces;
    for (u32 looks = 0; looks < ForeseenTable::kPlaces; ++looks, at = (at + 1) % ForeseenTable::kPlaces) {
        const ForeseenTable::Place place = table.places[at];
        if (place.hash == 0) return false;
        if (place.hash != hash || place.number >= ForeseenTable::kMost ||
            place.offset > kForeseenSize - sizeof(ForeseenAnswer))
            continue;
        auto& answer = *reinterpret_cast<ForeseenAnswer*>(kRequestBase + kForeseenOffset + place.offset);
        const char* names = reinterpret_cast<const char*>(&answer + 1);
        const u32 text = answer.text_length, second = answer.second_length;
        if (answer.question != question || answer.name_length != slot.name_length ||
            u64{text} + second + 2 > sizeof slot.names || memcmp(names, slot.names, slot.name_length) != 0)
            continue;
        if (answer.descriptor >= 0) {
            u64 bit = 1ull << place.number % 64;
            if ((__atomic_fetch_and(&g_process.foreseen_files[place.number / 64], ~bit, __ATOMIC_RELAXED) & bit) == 0)
                return false;
        }
        __atomic_store_n(&answer.used, 1, __ATOMIC_RELAXED);
        memcpy(slot.names, names + slot.name_length + 1, text + 1 + second + 1);
        slot.text_length = text, slot.second_length = second;
        slot.error = answer.error, slot.host_error = answer.host_error;
        slot.second_descriptor = answer.second_descriptor;
        slot.reply_flags = answer.reply_flags;
        slot.value = answer.value;
        slot.cache = 1;
        slot.attributes = answer.attributes;
        result_ = answer.descriptor >= 0 ? answer.descriptor : 0;
        return true;
    }
    return false;
}

gate::Err Request::ring() {
    slot_->error = gate::Err::io;  // what counts if the monitor never wrote an answer
    for (bool ask = !answered_ahead(); ask; ask = result_ == -EINTR) {
        // A signal can come before the monitor has taken the request (and on kernels without WAIT_KILLABLE_RECV also
        // later): nothing was answered then, and the monitor knows a request that it has already served by `sequence`.
        result_ = call(kDoorbellCall, index_);
    }
    if (result_ == -ENOSYS) return gate::Err::io;  // the monitor is gone; the keeper is about to end this process
    gate::Err error = slot_->error;
    if (static_cast<u32>(error) >= gate::kErrCount) return gate::Err::io;
    if (error != gate::Err::ok) return error;
    if (result_ < 0) return to_gate_error(-result_);
    if ((slot_->reply_flags & kReplyDescriptor) == 0) result_ = -1;
    return gate::Err::ok;
}

}  // namespace postern::host
