// SPDX-License-Identifier: Apache-2.0
// Listings kept in the arena: see listing.hpp.
#include "libos/fs/listing.hpp"

#include "base/memory.hpp"
#include "libos/fs/host_file.hpp"
#include "libos/fs/name_cache.hpp"
#include "libos/shared/arena.hpp"

namespace postern::libos {

namespace {

constexpr u64 kFirstBuffer = 8 << 10;  ///< on the stack: most directories are small
constexpr u64 kLeastRoom = 2 << 10;    ///< for one more record at least

/// The whole directory's records one after the other in private memory.
class Reader {
public:
    ~Reader() {
        if (buffer_ != first_) heap::release(buffer_, capacity_);
    }

    bool read(gate::Handle handle) {
        u64 cookie = 0;
        for (;;) {
            if (capacity_ - bytes_ < kLeastRoom && !grow()) return false;
            u64 actual = 0;
            if (g_gate->DkStreamEnumerateChildren(handle, &cookie, buffer_ + bytes_, capacity_ - bytes_, &actual) !=
                gate::Err::ok)
                return false;
            if (actual == 0) return true;
            bytes_ += actual;
        }
    }
    u64 bytes() const { return bytes_; }
    const u8* data() const { return buffer_; }

private:
    bool grow() {
        u64 capacity = capacity_ * 8;
        if (capacity > kLargestListing) return false;
        auto memory = heap::allocate(capacity);
        if (!memory.ok()) return false;
        auto* fresh = static_cast<u8*>(memory.value());
        memcpy(fresh, buffer_, bytes_);
        if (buffer_ != first_) heap::release(buffer_, capacity_);
        buffer_ = fresh;
        capacity_ = capacity;
        return true;
    }

    alignas(8) u8 first_[kFirstBuffer];
    u8* buffer_ = first_;
    u64 bytes_ = 0, capacity_ = kFirstBuffer;
};

bool whole(const Listing& listing, u64 at) {
    if (at % 8 != 0 || at >= listing.bytes || listing.bytes - at < sizeof(gate::DirectoryRecord)) return false;
    const auto& record = *reinterpret_cast<const gate::DirectoryRecord*>(listing.records + at);
    return record.size >= sizeof record && record.size <= listing.bytes - at &&
           offsetof(gate::DirectoryRecord, name) + record.name_length < record.size;
}

}  // namespace

const Listing* listing_of(const KnownName* name) {
    return name != nullptr ? __atomic_load_n(&known_listing(*name), __ATOMIC_ACQUIRE) : nullptr;
}

const Listing* listing_read(const KnownName* name, gate::Handle handle) {
    Reader reader;
    if (!reader.read(handle)) return nullptr;
    u64 size = sizeof(Listing) + reader.bytes();
    u64& total = known_listing_bytes();
    if (__atomic_load_n(&total, __ATOMIC_RELAXED) + size > kMostListings) return nullptr;
    auto memory = arena::allocate(size);
    if (!memory.ok()) return nullptr;
    auto* listing = static_cast<Listing*>(memory.value());
    listing->bytes = reader.bytes();
    if (reader.bytes() != 0) memcpy(listing->records, reader.data(), reader.bytes());
    for (u64 at = 0; at < listing->bytes;) {
        auto& record = *reinterpret_cast<gate::DirectoryRecord*>(listing->records + at);
        if (!whole(*listing, at)) {
            listing->bytes = at;
            break;
        }
        at += record.size;
        record.cookie = at + 1;
    }
    const Listing* none = nullptr;
    if (!__atomic_compare_exchange_n(&known_listing(*name), &none, listing, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        arena::release(listing, size);  // somebody else was faster
        return none;
    }
    __atomic_add_fetch(&total, size, __ATOMIC_RELAXED);
    return listing;
}

void listing_visit(const Listing& listing, u64 position, DirectoryVisitor& visitor) {
    for (u64 at = position != 0 ? position - 1 : 0; whole(listing, at);) {
        const auto& record = *reinterpret_cast<const gate::DirectoryRecord*>(listing.records + at);
        if (!visit_record(record, visitor)) return;
        at += record.size;
    }
}

}  // namespace postern::libos
