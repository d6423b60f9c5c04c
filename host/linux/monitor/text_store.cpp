// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/text_store.hpp"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>

#include "host/linux/monitor/text_builder.hpp"

namespace postern::host {

namespace {

constexpr u64 kMagic = 0x31747865742d6e70;  // changes when the format does, or what a text does at run time
constexpr usize kMostRecords = 512;
constexpr u64 kMostBytes = 256 << 20;
constexpr usize kMostWanted = 32;

struct Header {
    u64 magic, count, sum;
    char boot[40];
};

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
    if (directory_.open(false)) read_index(records_);
}

TextStore::Identity TextStore::identity(const struct stat& status) {
    return {status.st_dev, status.st_ino, static_cast<u64>(status.st_size), nanoseconds(status.st_mtim),
            nanoseconds(status.st_ctim)};
}

void TextStore::read_index(std::vector<Record>& records) const {
    records.clear();
    struct stat status;
    Fd file = directory_.member("index", status);
    Header header;
    char boot[40];
    if (!file.valid() || read(file.get(), &header, sizeof header) != sizeof header || header.magic != kMagic ||
        header.count > kMostRecords || !read_boot(boot) || memcmp(boot, header.boot, sizeof boot) != 0)
        return;
    records.resize(header.count);
    usize size = records.size() * sizeof(Record);
    if (read(file.get(), records.data(), size) != static_cast<ssize_t>(size) ||
        sum_of(records.data(), size) != header.sum)
        records.clear();
}

bool TextStore::write_index() {
    Header header{kMagic, records_.size(), sum_of(records_.data(), records_.size() * sizeof(Record)), {}};
    if (!read_boot(header.boot)) return false;
    const iovec parts[2] = {{&header, sizeof header}, {records_.data(), records_.size() * sizeof(Record)}};
    return directory_.replace("index", parts);
}

std::vector<TextStore::Record>::iterator TextStore::record(const struct stat& status) {
    Identity source = identity(status);
    return std::find_if(records_.begin(), records_.end(), [&](const Record& at) { return at.source == source; });
}

TextStore::Answer TextStore::open(const struct stat& file, gate::PreparedText& text, Fd& image) {
    auto known = record(file);
    if (known == records_.end()) return Answer::unknown;
    if (known->text.size == 0) return Answer::nothing;
    struct stat status;
    Fd member = directory_.member(std::to_string(known->name).c_str(), status);
    if (!member.valid() || identity(status) != known->image) {
        records_.erase(known);  // foreign or changed: not believed, and made anew
        return Answer::unknown;
    }
    text = known->text;
    image = std::move(member);
    return Answer::prepared;
}

void TextStore::want(int file, const struct stat& status) {
    if (directory_.exists_nowhere() || wanted_.size() >= kMostWanted || record(status) != records_.end()) return;
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
void TextStore::remove_unknown() {
    for (const std::string& name : directory_.members()) {
        bool known = name == "index";
        for (const Record& record : records_) known = known || std::to_string(record.name) == name;
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
    read_index(records_);
    Record fresh{identity(wanted.status), {}, 1, built.text};
    u64 bytes = built.image.size();
    std::erase_if(records_, [&](const Record& record) {
        return record.source.device == fresh.source.device && record.source.number == fresh.source.number;
    });
    for (const Record& record : records_) {
        bytes += record.image.size;
        fresh.name = std::max(fresh.name, record.name + 1);
    }
    // The oldest go first.
    while (!records_.empty() && (records_.size() >= kMostRecords || bytes > kMostBytes)) {
        bytes -= records_.front().image.size;
        records_.erase(records_.begin());
    }
    remove_unknown();
    if (built.text.size != 0 && !write_image(built.image, fresh)) fresh = {};
    if (fresh.source.number != 0) records_.push_back(fresh);
    if (!write_index()) records_.clear();
    flock(directory_.get(), LOCK_UN);
}

}  // namespace postern::host
