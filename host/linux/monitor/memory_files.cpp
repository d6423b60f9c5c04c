// SPDX-License-Identifier: Apache-2.0
// Memory files that a family shares, and the memory of the monitor's own processes.
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>

#include "host/linux/monitor/spawn.hpp"
#include "host/linux/protocol.hpp"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

namespace postern::host {

void forget_code_pages() {
    // The first entry is this program. Segments that are never written to come back from the file as they are.
    dl_iterate_phdr(
        [](dl_phdr_info* info, size_t, void*) {
            for (int i = 0; i < info->dlpi_phnum; ++i) {
                const ElfW(Phdr)& segment = info->dlpi_phdr[i];
                if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W)) continue;
                u64 low = page_ceil(info->dlpi_addr + segment.p_vaddr);
                u64 high = page_floor(info->dlpi_addr + segment.p_vaddr + segment.p_filesz);
                if (low < high) madvise(reinterpret_cast<void*>(low), high - low, MADV_DONTNEED);
            }
            return 1;
        },
        nullptr);
}

Fd make_memory_file(const char* name, u64 size, bool executable_seal) {
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    Fd file{memfd_create(name, executable_seal ? flags | MFD_NOEXEC_SEAL : flags)};
    if (!file.valid() && errno == EINVAL) file.reset(memfd_create(name, flags));  // before Linux 6.3
    if (!file.valid()) return file;
    if (ftruncate(file.get(), static_cast<off_t>(size)) != 0 ||
        fcntl(file.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        int error = errno;
        file.reset();
        errno = error;
    }
    return file;
}

Result<NoticeFile, LaunchError> make_notice_file() {
    NoticeFile notice;
    Fd file{memfd_create("postern-notice", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL)};
    if (!file.valid() && errno == EINVAL) file.reset(memfd_create("postern-notice", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file.valid() || ftruncate(file.get(), kNoticeFileSize) != 0) {
        return Failure{launch_error(125, "cannot make a memory file: %s", strerror(errno))};
    }
    notice.memory = mmap(nullptr, kNoticeFileSize, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 0);
    if (notice.memory == MAP_FAILED) {
        return Failure{launch_error(125, "cannot map a memory file: %s", strerror(errno))};
    }
    // From here on nobody can get a writable mapping of it, with whatever descriptor. Kernels before 5.1 lack this
    // seal; the read-only descriptor holds there, too.
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(file.get(), F_ADD_SEALS, seals | F_SEAL_FUTURE_WRITE) != 0) fcntl(file.get(), F_ADD_SEALS, seals);
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", file.get());
    notice.read_only.reset(open(path, O_RDONLY | O_CLOEXEC));
    if (!notice.read_only.valid()) {
        return Failure{launch_error(125, "cannot open %s: %s; Postern needs /proc mounted", path, strerror(errno))};
    }
    return notice;
}

}  // namespace postern::host
