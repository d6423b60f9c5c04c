// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/cache_directory.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

namespace postern::host {

namespace {

bool own(const struct stat& status, mode_t type) {
    return (status.st_mode & S_IFMT) == type && status.st_uid == geteuid() && (status.st_mode & 022) == 0;
}

}  // namespace

std::string cache_directory() {
    const char* cache = getenv("XDG_CACHE_HOME");
    if (cache != nullptr && cache[0] == '/') return std::string{cache} + "/postern";
    // A home that does not exist (a service's is often /nonexistent) must not exist because of this, and nothing of
    // root's may come to lie in the home of whoever called sudo.
    const char* home = getenv("HOME");
    struct stat status;
    if (home != nullptr && home[0] == '/' && stat(home, &status) == 0 && S_ISDIR(status.st_mode) &&
        status.st_uid == geteuid())
        return std::string{home} + "/.cache/postern";
    return geteuid() == 0 ? "/var/cache/postern" : std::string{};
}

bool CacheDirectory::open(bool create) {
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

Fd CacheDirectory::member(const char* name, struct stat& status) const {
    Fd file{openat(directory_.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
    if (!file.valid() || fstat(file.get(), &status) != 0 || !own(status, S_IFREG)) return {};
    return file;
}

bool CacheDirectory::replace(const char* name, std::span<const iovec> parts) const {
    char fresh[64];
    snprintf(fresh, sizeof fresh, "%s.%d", name, getpid());
    Fd file{openat(directory_.get(), fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600)};
    bool good = file.valid();
    for (const iovec& part : parts) good = good && write_all(file.get(), part.iov_base, part.iov_len);
    good = good && renameat(directory_.get(), fresh, directory_.get(), name) == 0;
    if (!good) unlinkat(directory_.get(), fresh, 0);
    return good;
}

std::vector<std::string> CacheDirectory::members() const {
    std::vector<std::string> names;
    int listing = openat(directory_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR* stream = listing >= 0 ? fdopendir(listing) : nullptr;
    if (stream == nullptr) {
        if (listing >= 0) close(listing);
        return names;
    }
    while (const dirent* member = readdir(stream)) {
        std::string name = member->d_name;
        if (name != "." && name != "..") names.push_back(std::move(name));
    }
    closedir(stream);
    return names;
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

bool write_all(int file, const void* data, usize size) {
    const char* at = static_cast<const char*>(data);
    while (size != 0) {
        ssize_t written = write(file, at, size);
        if (written <= 0) return false;
        at += written, size -= static_cast<usize>(written);
    }
    return true;
}

}  // namespace postern::host
