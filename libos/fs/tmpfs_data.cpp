// SPDX-License-Identifier: Apache-2.0
// Data of memory files. Bytes behind the end of a file are zero in every page that it holds, so growing is one store.
#include "base/memory.hpp"
#include "libos/fs/quota.hpp"
#include "libos/fs/tmpfs.hpp"
#include "libos/gate.hpp"
#include "libos/process/process.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kLargestFile = 1ull << 46;
constexpr u64 kRunPages = 256;
constexpr u32 kSealShrink = 2, kSealGrow = 4, kSealWrite = 8, kSealFutureWrite = 16;
constexpr u32 kKeepSize = 1, kPunchHole = 2, kZeroRange = 16;
constexpr u64 kStep = 1 << 20;  ///< bytes copied under the lock at a time

u64 smaller(u64 a, u64 b) { return a < b ? a : b; }
Errno storage_error(Errno error) { return error == Errno::nomem ? Errno::nospc : error; }

}  // namespace

MemoryFileInode::~MemoryFileInode() {
    mapped_ = false;
    drop_pages(0, leaf_count_ * kLeafPages);
    for (u64 index = 0; index < leaf_count_; ++index)
        if (leaves_[index] != nullptr) arena::release_pages(leaves_[index], 1);
    if (leaves_ != nullptr) arena::release(leaves_, leaf_count_ * sizeof(Leaf*));
}

u8* MemoryFileInode::page_at(u64 index) const {
    u64 leaf = index / kLeafPages;
    if (leaf >= leaf_count_ || leaves_[leaf] == nullptr) return nullptr;
    return (*leaves_[leaf])[index % kLeafPages];
}

Res<u8**> MemoryFileInode::slot_for(u64 index) {
    u64 leaf = index / kLeafPages;
    if (leaf >= leaf_count_) {
        u64 count = leaf_count_ == 0 ? 2 : leaf_count_;
        while (count <= leaf) count *= 2;
        auto fresh = static_cast<Leaf**>(TRY(arena::allocate(count * sizeof(Leaf*))));
        if (leaves_ != nullptr) memcpy(fresh, leaves_, leaf_count_ * sizeof(Leaf*));
        Leaf** old = leaves_;
        u64 old_count = leaf_count_;
        leaves_ = fresh;
        leaf_count_ = count;
        if (old != nullptr) arena::release(old, old_count * sizeof(Leaf*));
    }
    if (leaves_[leaf] == nullptr) leaves_[leaf] = static_cast<Leaf*>(TRY(arena::allocate_pages(1)));
    return &(*leaves_[leaf])[index % kLeafPages];
}

/// The page, made if it is a hole; `more` further pages are about to be written and are made in the same run.
/// `reserved`: pages that were taken from the quota already; what is used of them is taken off.
Res<u8*> MemoryFileInode::page_for_write(u64 index, u64 more, u64* reserved) {
    u8** slot = TRY(slot_for(index));
    if (*slot != nullptr) return *slot;
    u64 want = smaller(smaller(more + 1, kRunPages), kLeafPages - index % kLeafPages);
    u64 holes = 1;
    while (holes < want && slot[holes] == nullptr) ++holes;
    u64 taken = reserved != nullptr ? smaller(holes, *reserved) : TRY(quota::take_pages(holes));
    u64 got = 0;
    auto pages = arena::allocate_run(taken, &got);
    if (!pages.ok()) {
        if (reserved == nullptr) quota::give_pages(taken);
        return Failure{pages.error()};
    }
    if (reserved != nullptr)
        *reserved -= got;
    else
        quota::give_pages(taken - got);
    auto run = static_cast<u8*>(pages.value());
    for (u64 at = 0; at < got; ++at) slot[at] = run + at * kPageSize;
    pages_ += got;
    return run;
}

u64 MemoryFileInode::count_holes(u64 first, u64 end) const {
    u64 holes = 0;
    for (u64 index = first; index < end; ++index) {
        u64 leaf = index / kLeafPages;
        if (leaf >= leaf_count_) return holes + (end - index);
        if (leaves_[leaf] != nullptr) {
            holes += (*leaves_[leaf])[index % kLeafPages] == nullptr ? 1 : 0;
            continue;
        }
        u64 stop = smaller((leaf + 1) * kLeafPages, end);
        holes += stop - index;
        index = stop - 1;
    }
    return holes;
}

/// Pages that address spaces may show stay and become zero; the others are given back, in runs.
void MemoryFileInode::drop_pages(u64 first, u64 end) {
    u64 last = leaf_count_ * kLeafPages;
    if (end > last) end = last;
    u8* run = nullptr;
    u64 count = 0, dropped = 0;
    for (u64 index = first; index < end; ++index) {
        Leaf* leaf = leaves_[index / kLeafPages];
        if (leaf == nullptr) {
            index |= kLeafPages - 1;
            continue;
        }
        u8*& slot = (*leaf)[index % kLeafPages];
        if (slot == nullptr) continue;
        if (mapped_) {
            memset(slot, 0, kPageSize);
            continue;
        }
        u8* page = slot;
        slot = nullptr;
        --pages_;
        ++dropped;
        if (run != nullptr && page == run + count * kPageSize) {
            ++count;
            continue;
        }
        if (run != nullptr) arena::release_pages(run, count);
        run = page;
        count = 1;
    }
    if (run != nullptr) arena::release_pages(run, count);
    quota::give_pages(dropped);
}

void MemoryFileInode::zero(u64 from, u64 to) {
    while (from < to) {
        u64 chunk = smaller(to - from, kPageSize - from % kPageSize);
        u8* page = page_at(from / kPageSize);
        if (page != nullptr) memset(page + from % kPageSize, 0, chunk);
        from += chunk;
    }
}

Res<void> MemoryFileInode::resize(u64 length) {
    if (length > kLargestFile) return Failure{Errno::fbig};
    if ((length < size_ && (seals & kSealShrink) != 0) || (length > size_ && (seals & kSealGrow) != 0))
        return Failure{Errno::perm};
    if (length < size_) {
        u64 old = size_;
        __atomic_store_n(&size_, length, __ATOMIC_RELEASE);
        zero(length, smaller(page_ceil(length), old));
        drop_pages(page_ceil(length) / kPageSize, page_ceil(old) / kPageSize);
    } else {
        // A shared mapping may have written behind the end.
        if (mapped_) zero(size_, smaller(page_ceil(size_), length));
        __atomic_store_n(&size_, length, __ATOMIC_RELEASE);
    }
    return {};
}

Res<void> MemoryFileInode::truncate(Thread&, u64 length) {
    Guard guard{lock_};
    TRY(resize(length));
    touch_modified();
    return {};
}

template <class Copy>
Res<u64> MemoryFileInode::read(u64 position, u64 size, Copy copy) {
    u64 done = 0;
    while (done < size) {
        Guard guard{lock_};
        u64 end = this->size_;
        if (position + done >= end) break;
        u64 stop = smaller(smaller(size, end - position), done + kStep);
        while (done < stop) {
            u64 at = position + done;
            u64 chunk = smaller(stop - done, kPageSize - at % kPageSize);
            const u8* page = page_at(at / kPageSize);
            u64 copied = copy(page == nullptr ? nullptr : page + at % kPageSize, done, chunk);
            done += copied;
            if (copied < chunk) {
                if (done == 0) return Failure{Errno::fault};
                return done;
            }
        }
    }
    return done;
}

template <class Copy>
Res<u64> MemoryFileInode::write(u64& position, u64 size, bool append, Copy copy) {
    u64 done = 0;
    bool first = true;
    while (done < size || first) {
        Guard guard{lock_};
        if (first && append) position = size_;
        first = false;
        if (seals & (kSealWrite | kSealFutureWrite)) return Failure{Errno::perm};
        if (position > kLargestFile || size > kLargestFile - position) return Failure{Errno::fbig};
        if ((seals & kSealGrow) != 0 && position + size > size_) {
            if (position >= size_) return Failure{Errno::perm};
            size = size_ - position;
        }
        if (size == 0) break;
        if (mapped_ && position + done > size_) zero(size_, page_ceil(size_));
        u64 stop = smaller(size, done + kStep);
        while (done < stop) {
            u64 at = position + done;
            u64 chunk = smaller(stop - done, kPageSize - at % kPageSize);
            auto page = page_for_write(at / kPageSize, (size - done - 1) / kPageSize);
            if (!page.ok()) {
                if (done == 0) return Failure{storage_error(page.error())};
                return done;
            }
            u64 copied = copy(page.value() + at % kPageSize, done, chunk);
            done += copied;
            if (position + done > size_ && copied != 0) __atomic_store_n(&size_, position + done, __ATOMIC_RELEASE);
            if (copied < chunk) {
                // What the copy left behind the end must read zero later.
                if (at + chunk > size_) zero(size_ > at ? size_ : at, at + chunk);
                if (done == 0) return Failure{Errno::fault};
                return done;
            }
        }
    }
    return done;
}

Res<void> MemoryFileInode::allocate(u32 how, u64 offset, u64 length) {
    if ((how & ~(kKeepSize | kPunchHole | kZeroRange)) != 0) return Failure{Errno::opnotsupp};
    if ((how & kPunchHole) != 0 && how != (kPunchHole | kKeepSize)) return Failure{Errno::opnotsupp};
    if (offset > kLargestFile || length > kLargestFile - offset) return Failure{Errno::fbig};
    Guard guard{lock_};
    u64 end = offset + length;
    if ((how & (kPunchHole | kZeroRange)) != 0) {
        if (seals & (kSealWrite | kSealFutureWrite)) return Failure{Errno::perm};
        u64 first = page_ceil(offset), last = page_floor(end);
        if (first >= last) {
            zero(offset, smaller(end, page_ceil(size_)));
        } else {
            zero(offset, first);
            zero(last, end);
            if (how & kPunchHole)
                drop_pages(first / kPageSize, last / kPageSize);
            else
                zero(first, last);
        }
        if (how & kPunchHole) {
            touch_modified();
            return {};
        }
    }
    bool grows = (how & kKeepSize) == 0 && end > size_;
    if (grows && (seals & kSealGrow) != 0) return Failure{Errno::perm};
    // All or nothing, before the first page is made.
    u64 first = offset / kPageSize, last = page_ceil(end) / kPageSize;
    u64 reserved = count_holes(first, last);
    TRY(quota::take_all_pages(reserved));
    for (u64 index = first; reserved != 0 && index < last; ++index) {
        auto page = page_for_write(index, last - 1 - index, &reserved);
        if (!page.ok()) {
            quota::give_pages(reserved);
            return Failure{storage_error(page.error())};
        }
    }
    if (grows) TRY(resize(end));
    touch_modified();
    return {};
}

u64 MemoryFileInode::pages_between(u64 first, u64 end) {
    Guard guard{lock_};
    const u64 pages = page_ceil(size_) / kPageSize;
    u64 count = 0;
    for (u64 index = first; index < end && index < pages; ++index) count += page_at(index) != nullptr ? 1 : 0;
    return count;
}

Res<u64> MemoryFileInode::seek_data(u64 position, bool hole) {
    Guard guard{lock_};
    if (position >= size_) return Failure{Errno::nxio};
    // A file may be far larger than what it has in memory: whole leaves that are not there are one step.
    constexpr u64 kLeafBytes = kLeafPages * kPageSize;
    for (u64 at = position; at < size_;) {
        u64 leaf = at / kLeafBytes;
        bool missing = leaf >= leaf_count_ || leaves_[leaf] == nullptr;
        if (missing && !hole) {
            if (leaf >= leaf_count_) break;
            at = (leaf + 1) * kLeafBytes;
            continue;
        }
        if (missing || (page_at(at / kPageSize) == nullptr) == hole) return at;
        at = page_floor(at) + kPageSize;
    }
    if (hole) return size_;
    return Failure{Errno::nxio};
}

Res<void> MemoryFileInode::map(u64 address, u64 size, u64 offset, u32 prot, bool shared, bool strict) {
    Guard guard{lock_};
    mapped_ = true;
    u32 flags = gate::kMapReplace | (shared ? u32{gate::kMapShared} : u32{gate::kMapPrivate});
    u64 end = page_ceil(size_);
    u64 there = offset >= end ? 0 : smaller(size, end - offset);
    u64 done = 0;
    while (done < there) {
        u64 index = (offset + done) / kPageSize;
        auto start = page_for_write(index, (there - done) / kPageSize - 1);
        // No room is no reason to refuse the mapping: who touches the page gets SIGBUS, unless there is room by then.
        if (!start.ok() && start.error() == Errno::nospc && !strict) break;
        if (!start.ok()) return Failure{start.error()};
        u8* run = start.value();
        u64 bytes = kPageSize;
        while (done + bytes < there) {
            auto next = page_for_write((offset + done + bytes) / kPageSize, (there - done - bytes) / kPageSize - 1);
            if (!next.ok() || next.value() != run + bytes) break;  // an error comes again, as the next run's first
            bytes += kPageSize;
        }
        TRY(check(g_gate->DkStreamMap(arena::stream(), address + done, bytes, arena::offset_of(run), prot, flags)));
        done += bytes;
    }
    if (done < size)  // behind the end: see fault_in
        TRY(check(g_gate->DkVirtualMemoryAlloc(address + done, size - done, gate::kAllocReserve | gate::kAllocReplace,
                                               gate::kProtNone)));
    return {};
}

Res<void> MemoryFileInode::stat(Thread& thread, Stat& stat) {
    TRY(MemoryInode::stat(thread, stat));
    stat.st_size = static_cast<i64>(size());
    stat.st_blocks = static_cast<i64>(pages_ * (kPageSize / 512));
    return {};
}

Res<FileRef> MemoryFileInode::open(Thread&, u32 open_flags) {
    MemoryFile* file = TRY(make_file<MemoryFile>());
    file->status_flags = open_flags;
    return FileRef{file};
}

// Open files -----------------------------------------------------------------------------------------------------

Res<i64> MemoryFile::read(Thread&, u64 user, u64 size, u64 position) {
    u64 done = TRY(node().read(position, size, [user](const u8* page, u64 at, u64 chunk) -> u64 {
        if (page == nullptr) return zero_out(user + at, chunk).ok() ? chunk : 0;
        return copy_out_some(user + at, page, chunk);
    }));
    node().touch_accessed();
    return static_cast<i64>(done);
}

Res<i64> MemoryFile::read_kernel(Thread&, void* buffer, u64 size, u64 position) {
    auto to = static_cast<u8*>(buffer);
    u64 done = TRY(node().read(position, size, [to](const u8* page, u64 at, u64 chunk) -> u64 {
        if (page == nullptr)
            memset(to + at, 0, chunk);
        else
            memcpy(to + at, page, chunk);
        return chunk;
    }));
    return static_cast<i64>(done);
}

Res<i64> MemoryFile::write(Thread&, u64 user, u64 size, u64 position) {
    constexpr u32 kAppend = 02000;
    u64 done = TRY(node().write(position, size, (status_flags & kAppend) != 0,
                                [user](u8* page, u64 at, u64 chunk) { return copy_in_some(page, user + at, chunk); }));
    if (done != 0) node().touch_modified();
    return static_cast<i64>(done);
}

Res<i64> MemoryFile::write_kernel(Thread&, const void* buffer, u64 size, u64 position) {
    constexpr u32 kAppend = 02000;
    auto from = static_cast<const u8*>(buffer);
    u64 done = TRY(node().write(position, size, (status_flags & kAppend) != 0, [from](u8* page, u64 at, u64 chunk) {
        memcpy(page, from + at, chunk);
        return chunk;
    }));
    if (done != 0) node().touch_modified();
    return static_cast<i64>(done);
}

Res<i64> MemoryFile::seek(Thread&, i64 position, u32 whence) {
    Guard guard{offset_lock};
    i64 base = 0;
    if (offset == kOffsetAtEnd) offset = node().size();
    switch (whence) {
        case 0: break;
        case 1: base = static_cast<i64>(offset); break;
        case 2: base = static_cast<i64>(node().size()); break;
        case 3:
        case 4:
            if (position < 0) return Failure{Errno::nxio};
            position = static_cast<i64>(TRY(node().seek_data(static_cast<u64>(position), whence == 4)));
            break;
        default: return Failure{Errno::inval};
    }
    i64 result;
    if (__builtin_add_overflow(base, position, &result)) return Failure{Errno::overflow};
    if (result < 0) return Failure{Errno::inval};
    offset = static_cast<u64>(result);
    return result;
}

Res<void> MemoryFile::truncate(Thread& thread, u64 length) { return node().truncate(thread, length); }
Res<void> MemoryFile::allocate(Thread&, u32 how, u64 from, u64 length) { return node().allocate(how, from, length); }
Res<void> MemoryFile::map(u64 address, u64 size, u64 from, u32 prot, bool shared) {
    if (shared && (prot & gate::kProtWrite) != 0) node().touch_modified();
    return node().map(address, size, from, prot, shared);
}
Res<void> MemoryFile::fault_in(u64 address, u64 from, u32 prot, bool shared) {
    if (page_floor(from) >= page_ceil(node().size())) return Failure{Errno::io};
    auto mapped = node().map(page_floor(address), kPageSize, page_floor(from), prot, shared, true);
    if (!mapped.ok() && mapped.error() == Errno::nospc) return Failure{Errno::io};  // SIGBUS
    return mapped;
}

}  // namespace postern::libos
