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
    /// False: a record is broken, and with it all that follow.
    template <class Visit>
    bool visit(Visit visit) const {
        for (u64 at = 0; at < bytes_;) {
            const auto& record = *reinterpret_cast<const gate::DirectoryRecord*>(buffer_ + at);
            if (bytes_ - at < sizeof record || record.size < sizeof record || record.size > bytes_ - at ||
                offsetof(gate::DirectoryRecord, name) + record.name_length >= record.size)
                return false;
            visit(record);
            at += record.size;
        }
        return true;
    }

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

/// The record at `at`; null: none that is whole.
ListingRecord* record_at(const Listing& listing, u64 at) {
    if (at % 8 != 0 || at >= listing.bytes || listing.bytes - at < sizeof(ListingRecord)) return nullptr;
    auto* record = reinterpret_cast<ListingRecord*>(const_cast<u8*>(listing.records) + at);
    bool fits = record->size >= sizeof *record && record->size <= listing.bytes - at &&
                offsetof(ListingRecord, name) + record->name_length < record->size;
    return fits ? record : nullptr;
}

bool named(const ListingRecord& record, std::string_view name) {
    return record.name_length == name.size() && memcmp(record.name, name.data(), name.size()) == 0;
}

u64 record_size(std::string_view name) { return align_up(offsetof(ListingRecord, name) + name.size() + 1, 8); }
u64 entry_size(std::string_view target) { return align_up(offsetof(ListedEntry, target) + target.size() + 1, 8); }

/// Room for a listing that will have so many bytes in all.
Listing* allocate(u64 size) {
    u64& total = known_listing_bytes();
    if (__atomic_load_n(&total, __ATOMIC_RELAXED) + size > kMostListings) return nullptr;
    auto memory = arena::allocate(size);
    return memory.ok() ? static_cast<Listing*>(memory.value()) : nullptr;
}

const Listing* publish(const KnownName& name, Listing* listing, u64 size) {
    const Listing* none = nullptr;
    if (!__atomic_compare_exchange_n(&name.listing, &none, listing, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        arena::release(listing, size);  // somebody else was faster
        return none;
    }
    __atomic_add_fetch(&known_listing_bytes(), size, __ATOMIC_RELAXED);
    return listing;
}

u64 fill_entry(u8* place, const gate::ListedAttributes& attributes, std::string_view target) {
    auto* entry = reinterpret_cast<ListedEntry*>(place);
    entry->attributes = attributes;
    entry->target_length = static_cast<u32>(target.size());
    if (!target.empty()) memcpy(entry->target, target.data(), target.size());
    return entry_size(target);
}

ListingRecord& fill_record(u8* place, u64 identity, u8 type, u64 position, std::string_view name) {
    auto& record = *reinterpret_cast<ListingRecord*>(place);
    record.identity = identity;
    record.position = position;
    record.entry = nullptr;
    record.size = static_cast<u16>(record_size(name));
    record.type = type;
    record.name_length = static_cast<u8>(name.size());
    memcpy(place + offsetof(ListingRecord, name), name.data(), name.size());
    return record;
}

u64 index_places(const Listing& listing) {
    u64 places = 64;
    while (places < u64{listing.count} * 2) places *= 2;
    return places;
}

/// Null: no memory, so the records have to be looked through.
const u32* index_of(const Listing& listing) {
    u32* index = __atomic_load_n(&listing.index, __ATOMIC_ACQUIRE);
    if (index != nullptr) return index;
    u64 places = index_places(listing), size = places * sizeof(u32);
    auto memory = arena::allocate(size);
    if (!memory.ok()) return nullptr;
    index = static_cast<u32*>(memory.value());
    for (u64 at = 0; const auto* record = record_at(listing, at); at += record->size) {
        u64 place = hash_of_name({record->name, record->name_length}) & (places - 1);
        while (index[place] != 0) place = (place + 1) & (places - 1);
        index[place] = static_cast<u32>(at) + 1;
    }
    u32* none = nullptr;
    if (!__atomic_compare_exchange_n(&listing.index, &none, index, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        arena::release(index, size);
        return none;
    }
    __atomic_add_fetch(&known_listing_bytes(), size, __ATOMIC_RELAXED);
    return index;
}

}  // namespace

const Listing* listing_of(const KnownName* name) {
    if (name == nullptr) return nullptr;
    const Listing* listing = __atomic_load_n(&name->listing, __ATOMIC_ACQUIRE);
    if (listing != nullptr || name->either || !name->is_directory()) return listing;
    const KnownName* canonical = find_name(name->name(), 0);
    return canonical != nullptr ? __atomic_load_n(&canonical->listing, __ATOMIC_ACQUIRE) : nullptr;
}

bool listings_full() { return __atomic_load_n(&known_listing_bytes(), __ATOMIC_RELAXED) + (64 << 10) > kMostListings; }

const Listing* listing_read(const KnownName* name, gate::Handle handle) {
    Reader reader;
    if (!reader.read(handle)) return nullptr;
    u64 bytes = 0;
    bool whole = reader.visit([&](const gate::DirectoryRecord& record) {
        bytes += record_size({record.name, record.name_length});
    });
    u64 size = sizeof(Listing) + bytes;
    Listing* listing = allocate(size);
    if (listing == nullptr) return nullptr;
    listing->bytes = bytes;
    listing->whole = whole && (name->attributes.name_flags & gate::kNameBare) != 0;
    u8* to = listing->records;
    u64 position = 0;
    reader.visit([&](const gate::DirectoryRecord& record) {
        to += fill_record(to, record.identity, record.type, position, {record.name, record.name_length}).size;
        position = record.cookie;
        ++listing->count;
    });
    return publish(*name, listing, size);
}

const gate::ListRecord* list_record(const u8* at, const u8* end, const gate::ListedAttributes*& attributes,
                                    std::string_view& name, std::string_view& target) {
    auto room = static_cast<u64>(end - at);
    if (room < sizeof(gate::ListRecord)) return nullptr;
    const auto* record = reinterpret_cast<const gate::ListRecord*>(at);
    u64 head = sizeof *record;
    attributes = nullptr;
    if ((record->flags & gate::kListedAttributes) != 0) {
        attributes = reinterpret_cast<const gate::ListedAttributes*>(at + head);
        head += sizeof *attributes;
    }
    u64 need = head + record->name_length + 1 + (record->target_length != 0 ? record->target_length + 1 : 0);
    if (record->size % 8 != 0 || record->size > room || need > record->size) return nullptr;
    name = {reinterpret_cast<const char*>(at + head), record->name_length};
    target = {name.data() + name.size() + 1, record->target_length};
    return record;
}

const Listing* listing_keep(const KnownName& known, const u8* from, const u8* end) {
    const gate::ListedAttributes* attributes;
    std::string_view name, target;
    u64 records = 0, entries = 0;
    u32 count = 0;
    for (const u8* at = from; const auto* record = list_record(at, end, attributes, name, target); at += record->size) {
        if (name.size() > 255) return nullptr;
        records += record_size(name);
        if (attributes != nullptr) entries += entry_size(target);
        ++count;
    }
    u64 size = sizeof(Listing) + records + entries;
    Listing* listing = allocate(size);
    if (listing == nullptr) return nullptr;
    listing->bytes = records;
    listing->count = count;
    listing->whole = true;
    u8* to = listing->records;
    u64 position = 0;
    u8* entry = listing->records + records;
    for (const u8* at = from; const auto* record = list_record(at, end, attributes, name, target); at += record->size) {
        ListingRecord& kept = fill_record(to, record->identity, record->type, position, name);
        position = record->cookie;
        if (attributes != nullptr) {
            kept.entry = reinterpret_cast<ListedEntry*>(entry);
            listing->looked = 1;
            entry += fill_entry(entry, *attributes, target);
        }
        to += kept.size;
    }
    return publish(known, listing, size);
}

void listing_add(const Listing& listing, const u8* from, const u8* end) {
    const gate::ListedAttributes* attributes;
    std::string_view name, target;
    u64 size = 0;
    for (const u8* at = from; const auto* record = list_record(at, end, attributes, name, target); at += record->size)
        if (attributes != nullptr) size += entry_size(target);
    if (size == 0 || listings_full()) return;
    auto memory = arena::allocate(size);
    if (!memory.ok()) return;
    __atomic_add_fetch(&known_listing_bytes(), size, __ATOMIC_RELAXED);
    auto* entry = static_cast<u8*>(memory.value());
    for (const u8* at = from; const auto* record = list_record(at, end, attributes, name, target); at += record->size) {
        const ListingRecord* kept = attributes != nullptr ? listing_find(listing, name) : nullptr;
        if (kept == nullptr || kept->identity != record->identity || kept->type != record->type ||
            listed_entry(*kept) != nullptr)
            continue;
        u8* place = entry;
        entry += fill_entry(place, *attributes, target);
        __atomic_store_n(&const_cast<ListingRecord*>(kept)->entry, reinterpret_cast<ListedEntry*>(place),
                         __ATOMIC_RELEASE);
    }
}

const ListingRecord* listing_find(const Listing& listing, std::string_view name) {
    constexpr u32 kFew = 16;
    const u32* index = listing.count > kFew ? index_of(listing) : nullptr;
    if (index == nullptr) {
        for (u64 at = 0; const auto* record = record_at(listing, at); at += record->size)
            if (named(*record, name)) return record;
        return nullptr;
    }
    u64 places = index_places(listing);
    for (u64 place = hash_of_name(name) & (places - 1); index[place] != 0; place = (place + 1) & (places - 1)) {
        const auto* record = record_at(listing, index[place] - 1);
        if (record != nullptr && named(*record, name)) return record;
    }
    return nullptr;
}

void listing_visit(const Listing& listing, u64 position, DirectoryVisitor& visitor) {
    if (position == 0 && listing.read == 0) listing.read = 1;
    for (u64 at = position != 0 ? position - 1 : 0; const auto* record = record_at(listing, at);) {
        at += record->size;
        if (!visit_name({record->name, record->name_length}, record->identity, record->type, at + 1, visitor)) return;
    }
}

}  // namespace postern::libos
