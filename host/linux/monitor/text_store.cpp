// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/text_store.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>

#include "host/linux/monitor/text_builder.hpp"

namespace postern::host {

namespace {

constexpr u64 kMagic = 0x32747865742d6e70;  // changes when the format does, or what a text does at run time
constexpr usize kMostRecords = 512;
constexpr u64 kMostBytes = 256 << 20;
constexpr usize kMostWanted = 32;

constexpr usize kPlaces = 1024;  ///< of the index, for kMostRecords

struct Header {
    u64 magic, size;
    char boot[40];
    u64 reserved;
};
static_assert(sizeof(Header) == 64);

/// Texts hold what this machine's processor is; another start of it may be on another one.
bool read_boot(char (&boot)[40]) {
    memset(boot, 0, sizeof boot);
    Fd file{::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)};
    return file.valid() && read(file.get(), boot, sizeof boot - 1) > 0;
}

u64 nanoseconds(const timespec& time) {
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

}  // namespace

TextStore::TextStore(std::string directory) : directory_{std::move(directory)} {
    if (directory_.open(false)) open_index();
}

TextStore::Identity TextStore::identity(const struct stat& status) {
    return {status.st_dev, status.st_ino, static_cast<u64>(status.st_size), nanoseconds(status.st_mtim),
            nanoseconds(status.st_ctim)};
}

void TextStore::open_index() {
    struct stat status;
    index_ = directory_.member("index", status);
    Header header;
    char boot[40];
    if (!index_.valid() || pread(index_.get(), &header, sizeof header, 0) != sizeof header || header.magic != kMagic ||
        header.size != kPlaces * sizeof(Place) || !read_boot(boot) || memcmp(boot, header.boot, sizeof boot) != 0)
        index_.reset();
}

usize TextStore::place_of(const Identity& source) { return sum_of(&source, sizeof source) % kPlaces; }

bool TextStore::find(const Identity& source, Record& record) const {
    if (!index_.valid()) return false;
    Place place;
    for (usize at = place_of(source), looks = 0; looks < kPlaces; at = (at + 1) % kPlaces, ++looks) {
        if (pread(index_.get(), &place, sizeof place, static_cast<off_t>(sizeof(Header) + at * sizeof place)) !=
                sizeof place ||
            place.sum != sum_of(&place.record, sizeof place.record))
            return false;
        if (place.record.source != source) continue;
        record = place.record;
        return std::find(disbelieved_.begin(), disbelieved_.end(), source) == disbelieved_.end();
    }
    return false;
}

/// What can be believed of it.
std::vector<TextStore::Record> TextStore::read_index() const {
    std::vector<Record> records;
    std::vector<Place> places(index_.valid() ? kPlaces : 0);
    usize size = places.size() * sizeof(Place);
    if (size == 0 || pread(index_.get(), places.data(), size, sizeof(Header)) != static_cast<ssize_t>(size))
        return records;
    for (const Place& place : places)
        if (place.sum == sum_of(&place.record, sizeof place.record)) records.push_back(place.record);
    std::sort(records.begin(), records.end(), [](const Record& a, const Record& b) { return a.age < b.age; });
    return records;
}

bool TextStore::write_index(const std::vector<Record>& records) {
    Header header{kMagic, kPlaces * sizeof(Place), {}, 0};
    if (!read_boot(header.boot)) return false;
    std::vector<Place> places(kPlaces);
    for (const Record& record : records) {
        usize at = place_of(record.source);
        while (places[at].record.source.number != 0) at = (at + 1) % kPlaces;
        places[at] = {record, sum_of(&record, sizeof record)};
    }
    const iovec parts[2] = {{&header, sizeof header}, {places.data(), places.size() * sizeof(Place)}};
    return directory_.replace("index", parts);
}

TextStore::Answer TextStore::open(const struct stat& file, gate::PreparedText& text, Fd& image) {
    Record known;
    if (!find(identity(file), known)) return Answer::unknown;
    if (known.text.size == 0) return Answer::nothing;
    struct stat status;
    Fd member = directory_.member(std::to_string(known.name).c_str(), status);
    if (!member.valid() || identity(status) != known.image) {
        disbelieved_.push_back(known.source);  // foreign or changed: to be made anew
        return Answer::unknown;
    }
    text = known.text;
    image = std::move(member);
    return Answer::prepared;
}

void TextStore::want(int file, const struct stat& status) {
    Record known;
    if (directory_.exists_nowhere() || wanted_.size() >= kMostWanted || find(identity(status), known)) return;
    for (const Wanted& other : wanted_)
        if (identity(other.status) == identity(status)) return;
    Fd copy{fcntl(file, F_DUPFD_CLOEXEC, 0)};
    if (copy.valid()) wanted_.push_back({std::move(copy), status});
}

bool TextStore::write_image(const std::vector<u8>& image, Record& record) {
    std::string name = std::to_string(record.name);
    Fd file{openat(directory_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0500)};
    struct stat status;
    if (file.valid() && write_all(file.get(), image.data(), image.size()) && fstat(file.get(), &status) == 0) {
        record.image = identity(status);
        return true;
    }
    if (file.valid()) unlinkat(directory_.get(), name.c_str(), 0);
    return false;
}

/// What no record names is of an earlier start of the machine, or of a run that was killed at this work.
void TextStore::remove_unknown(const std::vector<Record>& records) {
    for (const std::string& name : directory_.members()) {
        bool known = name == "index";
        for (const Record& record : records) known = known || std::to_string(record.name) == name;
        if (!known) directory_.remove(name);
    }
}

void TextStore::build() {
    if (wanted_.empty()) return;
    Wanted wanted = std::move(wanted_.front());
    wanted_.pop_front();
    // Scripts, damaged files: it is known that there is nothing, and they are not looked at again.
    BuiltText built = build_text(wanted.file.get()).value_or(BuiltText{});
    // Has it changed while it was read?
    struct stat after;
    if (fstat(wanted.file.get(), &after) != 0 || identity(after) != identity(wanted.status)) return;
    if (!directory_.open(true) || flock(directory_.get(), LOCK_EX | LOCK_NB) != 0) return;
    // Others may have added to the index meanwhile.
    open_index();
    std::vector<Record> records = read_index();
    Record fresh{identity(wanted.status), {}, 1, 0, built.text};
    u64 bytes = built.image.size();
    std::erase_if(records, [&](const Record& record) {
        return record.source.device == fresh.source.device && record.source.number == fresh.source.number;
    });
    for (const Record& record : records) {
        bytes += record.image.size;
        fresh.name = std::max(fresh.name, record.name + 1);
        fresh.age = std::max(fresh.age, record.age + 1);
    }
    // The oldest go first.
    while (!records.empty() && (records.size() >= kMostRecords || bytes > kMostBytes)) {
        bytes -= records.front().image.size;
        records.erase(records.begin());
    }
    remove_unknown(records);
    if (built.text.size != 0 && !write_image(built.image, fresh)) fresh = {};
    if (fresh.source.number != 0) records.push_back(fresh);
    std::erase(disbelieved_, fresh.source);
    write_index(records);
    open_index();
    flock(directory_.get(), LOCK_UN);
}

}  // namespace postern::host
