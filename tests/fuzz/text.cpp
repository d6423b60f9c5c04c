// SPDX-License-Identifier: Apache-2.0
// Preparing code of files of any contents: what is made must have the sizes that it claims, and change nothing but
// whole `mov $n,%eax`, calls and padding.
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host/linux/monitor/text_builder.hpp"

using namespace postern;

extern "C" int LLVMFuzzerTestOneInput(const u8* data, size_t size) {
    static int file = memfd_create("program", 0);
    if (ftruncate(file, 0) != 0 || pwrite(file, data, size, 0) != static_cast<ssize_t>(size)) return 0;
    auto built = host::build_text(file);
    if (!built || built->text.size == 0) return 0;
    const gate::PreparedText& text = built->text;
    if (built->image.size() != text.code_size + text.size || text.distance < text.code_size ||
        (text.offset | text.size | text.code_size | text.distance) % kPageSize != 0)
        abort();
    usize changed = 0;
    for (u64 at = 0; at < text.size && text.offset + at < size; ++at)
        changed += built->image[text.code_size + at] != data[text.offset + at];
    if (changed > (built->calls + built->cpuids) * usize{7}) abort();
    return 0;
}
