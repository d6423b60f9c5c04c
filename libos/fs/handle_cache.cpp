// SPDX-License-Identifier: Apache-2.0
// The handles kept: see handle_cache.hpp.
#include "libos/fs/handle_cache.hpp"

#include "libos/fs/directory_cache.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/shared/lock.hpp"

namespace postern::libos {

namespace {

/// A start reads a loader's cache and a few libraries, a shell's children the same ones again.
constexpr u32 kKept = 32;

SharedLock g_lock;
KeptHandle g_kept[kKept];
/// How often a file was opened after its name was asked about, less the handles that were opened ahead for nothing.
i32 g_ahead;
constexpr i32 kOpenAhead = 3, kMostAhead = 8, kForNothing = 2;

void judge_ahead(i32 change) {
    i32 now = __atomic_load_n(&g_ahead, __ATOMIC_RELAXED) + change;  // a lost count does not matter
    __atomic_store_n(&g_ahead, now > kMostAhead ? kMostAhead : now < 0 ? 0 : now, __ATOMIC_RELAXED);
}

u32 g_next;  ///< who leaves when all places are taken: the places in turn

void forget(const KeptHandle& kept) {
    if (kept.ahead) judge_ahead(-kForNothing);
    window_close(kept.serial);
    g_gate->DkObjectClose(kept.handle);
}

}  // namespace

void handle_cache_initialize() {
    protect_over_fork(g_lock);
    windows_initialize();
}

bool handle_cache_take(KeptHandle& kept) {
    if (kept.name == nullptr) return false;
    // Opened after it was asked about: that is worth remembering once for each name.
    if (!kept.name->opened) {
        kept.name->opened = true;
        judge_ahead(1);
    }
    Guard guard{g_lock};
    for (KeptHandle& place : g_kept) {
        if (place.name != kept.name) continue;
        kept = place;
        kept.ahead = false;
        place.name = nullptr;
        return true;
    }
    return false;
}

bool open_ahead(const char* uri, u32 options, gate::Attributes& answer, gate::Err& error) {
    if (__atomic_load_n(&g_ahead, __ATOMIC_RELAXED) < kOpenAhead || !may_be_file(uri)) return false;
    gate::Attributes found = answer;
    gate::Handle handle = gate::kNoHandle;
    options &= gate::kOpenNoFollow;
    error = g_gate->DkStreamOpen(uri, gate::kAccessRead, 0, gate::kCreateNever, options, &handle, &found);
    if (error != gate::Err::ok && error != gate::Err::not_found) {  // a link, or what may not be read
        judge_ahead(-kForNothing);
        return false;
    }
    answer = found;
    note_name(uri, options, error, found);
    if (error != gate::Err::ok) {
        note_question(uri + 5, error, found);  // behind "file:"
        return true;
    }
    bool file = found.type == gate::StreamType::file && found.stable != 0;
    const KnownName* name = file ? known_name(uri, options) : nullptr;
    if (name != nullptr) {
        handle_cache_give({name, handle, 0, found.prepared, true});
        return true;
    }
    judge_ahead(-kForNothing);
    if (handle != gate::kNoHandle) g_gate->DkObjectClose(handle);
    return true;
}

void handle_cache_give(const KeptHandle& kept) {
    KeptHandle out;
    {
        Guard guard{g_lock};
        KeptHandle* place = nullptr;
        for (KeptHandle& other : g_kept)
            if (other.name == nullptr && place == nullptr)
                place = &other;
            else if (other.name == kept.name) {
                out = kept;  // one of each name is enough
                break;
            }
        if (out.name == nullptr) {
            if (place == nullptr) {
                place = &g_kept[g_next++ % kKept];
                out = *place;
            }
            *place = kept;
        }
    }
    if (out.name != nullptr) forget(out);
}

}  // namespace postern::libos
