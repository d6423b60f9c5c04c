// SPDX-License-Identifier: Apache-2.0
// Whole directories in one answer, for those whose names do not change and all come from one route.
//
// A directory below which another rule has its say is never listed here, nor is one below a mount of its own: what a
// listing tells or lacks must be what asking for each name would tell.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/sysmacros.h>

#include "host/linux/dirent.hpp"
#include "host/linux/monitor/requests_inner.hpp"

namespace postern::host {

using gate::Err;
using gate::ListedAttributes;
using gate::ListRecord;
using gate::StreamType;

namespace {

constexpr u32 kAllListOptions = gate::kListBelow | gate::kListWhole | gate::kListAttributes | gate::kListFew;
constexpr u32 kMostDirectories = 64;       ///< in one answer
constexpr usize kFewNames = 24;            ///< so many are looked at without being asked about
constexpr i64 kLargeDirectory = 48 << 10;  ///< st_size from which a directory is taken for too big without reading it

struct Entry {
    u64 inode, offset;
    u8 type;
    std::string name;
};

u8 type_of(u8 host_type) {
    switch (host_type) {
        case 8: return static_cast<u8>(StreamType::file);
        case 4: return static_cast<u8>(StreamType::directory);
        case 10: return static_cast<u8>(StreamType::symlink);
        case 1: return static_cast<u8>(StreamType::pipe);
        case 2: return static_cast<u8>(StreamType::character);
        case 12: return static_cast<u8>(StreamType::socket);
        default: return static_cast<u8>(StreamType::unknown);
    }
}

usize record_size(usize name, bool attributes) {
    return align_up(sizeof(ListRecord) + (attributes ? sizeof(ListedAttributes) : 0) + name + 1, 8);
}

ListedAttributes listed(const gate::Attributes& from) {
    ListedAttributes to = {};
    to.size = from.size, to.allocated = from.allocated, to.volume = from.volume;
    to.mode = from.mode, to.links = from.links, to.owner = from.owner, to.group = from.group;
    to.block_size = from.block_size;
    to.accessed = from.accessed, to.modified = from.modified, to.changed = from.changed;
    return to;
}

gate::Time time_of(const statx_timestamp& time) { return {time.tv_sec, time.tv_nsec, 0}; }

/// Of what lies in `directory` on `volume`. Never waits for a server: what is mounted there is another volume's.
bool look(int directory, const Entry& entry, dev_t volume, ListedAttributes& to, u8& type) {
    struct statx status;
    if (statx(directory, entry.name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC,
              STATX_BASIC_STATS, &status) != 0)
        return false;
    if (makedev(status.stx_dev_major, status.stx_dev_minor) != volume || status.stx_ino != entry.inode) return false;
    switch (status.stx_mode & S_IFMT) {
        case S_IFREG: type = static_cast<u8>(StreamType::file); break;
        case S_IFDIR: type = static_cast<u8>(StreamType::directory); break;
        case S_IFLNK: type = static_cast<u8>(StreamType::symlink); break;
        default: return false;  // most of these are refused: let them be asked about
    }
    to = {};
    to.size = status.stx_size, to.allocated = status.stx_blocks * 512, to.volume = volume;
    to.mode = status.stx_mode & 07777, to.links = status.stx_nlink, to.owner = status.stx_uid;
    to.group = status.stx_gid, to.block_size = status.stx_blksize;
    to.accessed = time_of(status.stx_atime), to.modified = time_of(status.stx_mtime);
    to.changed = time_of(status.stx_ctime);
    return true;
}

class Lister {
public:
    Lister(dev_t volume, usize capacity) : volume_{volume}, capacity_{capacity} {}

    /// Names of the directory that was asked about, from `cookie` on. `next` 0: it is through.
    Err names(int directory, u64 cookie, u32 options, u64& next) {
        bool attributes = (options & gate::kListAttributes) != 0, whole = false;
        std::vector<Entry> entries;
        if (Err error = read(directory, cookie, capacity_, attributes, entries, whole); error != Err::ok) return error;
        if ((options & gate::kListFew) != 0 && cookie == 0 && whole && entries.size() <= kFewNames) attributes = true;
        u64 through = cookie;
        for (const Entry& entry : entries) {
            if (!add(directory, entry, attributes)) {
                whole = false;
                break;
            }
            through = entry.offset;
        }
        if (!whole && (options & gate::kListWhole) != 0) return Err::too_big;
        next = whole ? 0 : through;
        return Err::ok;
    }

    /// The directories in it from `cookie` on and those below, in the order in which a walk through the tree meets
    /// them, while they fit.
    Err below(int top, u64 cookie, bool attributes) {
        std::vector<Entry> entries;
        bool whole = false;
        // Each directory takes a header at least, so this many names may be enough.
        if (Err error = read(top, cookie, capacity_ / 2, false, entries, whole); error != Err::ok) return error;
        std::vector<std::string> ahead;
        push("", entries, ahead);
        for (u32 count = 0; count < kMostDirectories && !ahead.empty(); ++count) {
            std::string name = std::move(ahead.back());
            ahead.pop_back();
            if (!list_below(top, name, attributes, ahead)) break;
        }
        return Err::ok;
    }
    std::string take() { return std::move(records_); }

private:
    /// Entries from `cookie` on until `room` bytes of records would be exceeded. `whole`: those were all.
    static Err read(int directory, u64 cookie, usize room, bool attributes, std::vector<Entry>& entries, bool& whole) {
        if (cookie != 0 && lseek(directory, static_cast<off_t>(cookie), SEEK_SET) < 0) return error_from_errno(errno);
        alignas(8) static u8 buffer[2048];  // reading ahead what does not fit costs more than a second call
        usize used = 0;
        whole = false;
        for (;;) {
            long bytes = syscall(SYS_getdents64, directory, buffer, sizeof buffer);
            if (bytes < 0) return error_from_errno(errno);
            if (bytes == 0) return whole = true, Err::ok;
            for (long at = 0; at < bytes;) {
                const auto& host = *reinterpret_cast<const HostRecord*>(buffer + at);
                at += host.length;
                usize length = strlen(host.name);
                used += record_size(length, attributes);
                if (used > room) return Err::ok;
                entries.push_back({host.inode, host.offset, type_of(host.type), {host.name, length}});
            }
        }
    }

    static void push(const std::string& prefix, const std::vector<Entry>& from, std::vector<std::string>& ahead) {
        for (auto entry = from.rbegin(); entry != from.rend(); ++entry)
            if (entry->type == static_cast<u8>(StreamType::directory) && entry->name != "." && entry->name != "..")
                ahead.push_back(prefix + entry->name);
    }

    /// One directory below. False: the answer is full.
    bool list_below(int top, const std::string& name, bool with, std::vector<std::string>& ahead) {
        open_how how = {};
        how.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
        how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
        Fd directory{static_cast<int>(syscall(SYS_openat2, top, name.c_str(), &how, sizeof how))};
        if (!directory.valid()) return errno != ENOSYS && errno != EPERM;
        struct stat status;
        if (fstat(directory.get(), &status) != 0 || status.st_dev != volume_) return true;
        usize size = record_size(name.size(), true);
        if (records_.size() + size >= capacity_) return false;
        std::vector<Entry> found;
        bool large = status.st_size > kLargeDirectory, whole = false;
        if (!large) {
            usize room = capacity_ - size;
            if (read(directory.get(), 0, room, false, found, whole) != Err::ok) return true;
            large = !whole;
        }
        gate::Attributes attributes = attributes_of(status);
        ListedAttributes own = listed(attributes);
        ListRecord record = {};
        record.identity = attributes.identity;
        record.size = static_cast<u16>(size);
        record.name_length = static_cast<u16>(name.size());
        record.type = static_cast<u8>(StreamType::directory);
        record.flags = gate::kListedDirectory | gate::kListedAttributes | (large ? u8{gate::kListedLarge} : u8{0});
        const usize start = records_.size();
        put(record, &own, name, {});
        if (large) return true;
        for (const Entry& entry : found) {
            if (add(directory.get(), entry, with)) continue;
            // With attributes it may be larger than a whole answer although its names are not.
            records_.resize(start);
            if (start != 0 || !with) return false;
            return list_below(top, name, false, ahead);
        }
        push(name + "/", found, ahead);
        return true;
    }

    void put(const ListRecord& record, const ListedAttributes* attributes, std::string_view name,
             std::string_view target) {
        records_.append(reinterpret_cast<const char*>(&record), sizeof record);
        if (attributes != nullptr) records_.append(reinterpret_cast<const char*>(attributes), sizeof *attributes);
        records_ += name;
        records_ += '\0';
        if (!target.empty()) {
            records_ += target;
            records_ += '\0';
        }
        records_.resize(align_up(records_.size(), 8), '\0');
    }

    /// False: it does not fit.
    bool add(int directory, const Entry& entry, bool attributes) {
        ListedAttributes listed;
        ListRecord record = {};
        record.identity = entry.inode;
        record.cookie = entry.offset;
        record.type = entry.type;
        record.name_length = static_cast<u16>(entry.name.size());
        bool dots = entry.name == "." || entry.name == "..";
        bool looked = attributes && !dots && look(directory, entry, volume_, listed, record.type);
        char target[kMaxPath];
        ssize_t length = 0;
        if (looked && record.type == static_cast<u8>(StreamType::symlink)) {
            length = readlinkat(directory, entry.name.c_str(), target, sizeof target);
            if (length <= 0 || length == static_cast<ssize_t>(sizeof target)) length = 0, looked = false;
        }
        usize size = record_size(entry.name.size() + (length > 0 ? static_cast<usize>(length) + 1 : 0), looked);
        if (records_.size() + size > capacity_) {
            // A link with a very long target must not keep a listing from ever going on.
            if (length == 0 || !records_.empty()) return false;
            looked = false, length = 0;
            size = record_size(entry.name.size(), false);
        }
        record.size = static_cast<u16>(size);
        record.target_length = static_cast<u16>(length);
        record.flags = looked ? gate::kListedAttributes : 0;
        put(record, looked ? &listed : nullptr, entry.name, {target, static_cast<usize>(length)});
        return true;
    }

    dev_t volume_;
    usize capacity_;
    std::string records_;
};

}  // namespace

Reply Requests::tree(const Request& request) {
    if ((request.options & ~kAllListOptions) != 0) return Reply::failure(Err::bad_argument);
    Place place;
    Reply reply;
    if (!find(request.name(), true, place, reply)) {
        // Where looking may take long names are asked for one by one.
        if (names_.take_needs_worker() || names_.in_worker()) return Reply::failure(Err::unsupported);
        return reply;
    }
    if (place.kind == PlaceKind::missing) {
        describe_missing(place, names_, reply);
        return reply;
    }
    describe(place, names_, reply);
    auto fail = [&](Err error) {
        reply.error = error;
        return std::move(reply);
    };
    if (place.kind == PlaceKind::object && !S_ISDIR(place.status.st_mode)) return fail(Err::not_directory);
    if ((reply.flags & kReplyBare) == 0 || reply.cache == 0 || !names_.lasting() || names_.in_worker())
        return fail(Err::unsupported);
    if ((request.options & gate::kListWhole) != 0 && place.status.st_size > kLargeDirectory) return fail(Err::too_big);
    // The name leads to itself, so this is the directory that was found, not one that has its place now.
    Fd directory{openat(place.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!directory.valid()) return fail(error_from_errno(errno));
    Lister lister{place.status.st_dev, sizeof Slot::names - place.canonical.size() - 16};
    Err error = (request.options & gate::kListBelow) != 0
                    ? lister.below(directory.get(), request.size, (request.options & gate::kListAttributes) != 0)
                    : lister.names(directory.get(), request.size, request.options, reply.value);
    if (error != Err::ok) return fail(error);
    reply.text = lister.take();
    reply.second = place.canonical;
    return reply;
}

}  // namespace postern::host
