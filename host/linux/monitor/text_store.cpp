// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/text_store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
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

u64 sum_of(const void* data, usize size) {
    const u8* at = static_cast<const u8*>(data);
    u64 sum = 0xcbf29ce484222325ull;
    for (usize i = 0; i + 8 <= size; i += 8) {
        u64 word;
        memcpy(&word, at + i, 8);
        sum = (sum ^ word) * 0x100000001b3ull;
        sum ^= sum >> 32;
    }
    return sum;
}

u64 nanoseconds(const timespec& time) {
    return static_cast<u64>(time.tv_sec) * 1'000'000'000 + static_cast<u64>(time.tv_nsec);
}

bool own(const struct stat& status, mode_t type) {
    return (status.st_mode & S_IFMT) == type && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

/// A member of the directory, for reading; not valid when it is foreign.
Fd open_member(int directory, const char* name, struct stat& status) {
    Fd file{openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    if (!file.valid() || fstat(file.get(), &status) != 0 || !own(status, S_IFREG)) return {};
    return file;
}

bool write_all(int file, const void* data, usize size) {
    const char* at = static_cast<const char*>(data);
    while (size != 0) {
        ssize_t written = write(file, at, size);
        if (written <= 0) return false;
        at += written, size -= static_cast<usize>(written);
    }
    return true;
}

}  // namespace

std::string text_directory() {
    const char* cache = getenv("XDG_CACHE_HOME");
    if (cache != nullptr && cache[0] == '/') return std::string{cache} + "/postern/text";
    // A home that does not exist (a service's is often /nonexistent) must not exist because of this, and nothing of
    // root's may come to lie in the home of whoever called sudo.
    const char* home = getenv("HOME");
    struct stat status;
    if (home != nullptr && home[0] == '/' && stat(home, &status) == 0 && S_ISDIR(status.st_mode) &&
        status.st_uid == geteuid())
        return std::string{home} + "/.cache/postern/text";
    return geteuid() == 0 ? "/var/cache/postern/text" : std::string{};
}

TextStore::TextStore(std::string directory) : path_{std::move(directory)} {
    if (open_directory(false)) read_index(directory_.get(), records_);
}

bool TextStore::open_directory(bool create) {
    if (directory_.valid()) return true;
    if (path_.empty()) return false;
    if (create) {
        for (usize slash = path_.find('/', 1); slash != std::string::npos; slash = path_.find('/', slash + 1))
            mkdir(path_.substr(0, slash).c_str(), 0700);
        mkdir(path_.c_str(), 0700);
    }
    Fd directory{::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)};
    struct stat status;
    if (!directory.valid() || fstat(directory.get(), &status) != 0 || !own(status, S_IFDIR)) return false;
    directory_ = std::move(directory);
    return true;
}

TextStore::Identity TextStore::identity(const struct stat& status) {
    return {status.st_dev, status.st_ino, static_cast<u64>(status.st_size), nanoseconds(status.st_mtim),
            nanoseconds(status.st_ctim)};
}

void TextStore::read_index(int directory, std::vector<Record>& records) {
    records.clear();
    struct stat status;
    Fd file = open_member(directory, "index", status);
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
    char name[40];
    snprintf(name, sizeof name, "index.%d", getpid());
    Fd file{openat(directory_.get(), name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    bool good = file.valid() && write_all(file.get(), &header, sizeof header) &&
                write_all(file.get(), records_.data(), records_.size() * sizeof(Record)) &&
                renameat(directory_.get(), name, directory_.get(), "index") == 0;
    if (!good) unlinkat(directory_.get(), name, 0);
    return good;
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
    Fd member = open_member(directory_.get(), std::to_string(known->name).c_str(), status);
    if (!member.valid() || identity(status) != known->image) {
        records_.erase(known);  // foreign or changed: not believed, and made anew
        return Answer::unknown;
    }
    text = known->text;
    image = std::move(member);
    return Answer::prepared;
}

void TextStore::want(int file, const struct stat& status) {
    if (path_.empty() || wanted_.size() >= kMostWanted || record(status) != records_.end()) return;
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
    int listing = openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* members = listing >= 0 ? fdopendir(listing) : nullptr;
    if (members == nullptr) {
        if (listing >= 0) close(listing);
        return;
    }
    std::vector<std::string> unknown;
    while (const dirent* member = readdir(members)) {
        std::string name = member->d_name;
        bool known = name == "." || name == ".." || name == "index";
        for (const Record& record : records_) known = known || std::to_string(record.name) == name;
        if (!known) unknown.push_back(std::move(name));
    }
    closedir(members);
    for (const std::string& name : unknown) unlinkat(directory_.get(), name.c_str(), 0);
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
    if (!open_directory(true) || flock(directory_.get(), LOCK_EX | LOCK_NB) != 0) return;
    // Others may have added to the index meanwhile.
    read_index(directory_.get(), records_);
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
