// SPDX-License-Identifier: Apache-2.0
#include "libos/proc/mounts.hpp"

#include "libos/fs/mount.hpp"

namespace postern::libos {

namespace {

struct Row {
    const char* type;
    const char* source;
    const char* options;
};

Row describe(const Mount& mount) {
    std::string_view path{mount.path, mount.length};
    if (mount.kind == static_cast<u32>(MountKind::host)) return {"postern", "postern", "rw,relatime"};
    if (mount.kind == static_cast<u32>(MountKind::memory)) return {"tmpfs", "tmpfs", "rw,nosuid,relatime"};
    if (same(path, "/proc")) return {"proc", "proc", "rw,nosuid,nodev,noexec,relatime"};
    if (same(path, "/dev/pts")) return {"devpts", "devpts", "rw,nosuid,noexec,relatime,gid=5,mode=620,ptmxmode=666"};
    if (same(path, "/sys")) return {"sysfs", "sysfs", "ro,nosuid,nodev,noexec,relatime"};
    return {"devtmpfs", "devtmpfs", "rw,nosuid,noexec,relatime"};
}

/// Blanks and the like in a path, as getmntent(3) reads them back.
void add_path(ProcText& text, std::string_view path) {
    for (char character : path) {
        if (character == ' ' || character == '\t' || character == '\n' || character == '\\')
            text.add('\\', Octal{static_cast<u8>(character), 3});
        else
            text.add(character);
    }
}

/// Shortest paths first, so that what is mounted upon comes before what lies on it; the list is kept the other way.
template <class Visit>
void each_mount(Visit visit) {
    u32 done = 0;
    for (u32 length = 1; length < 4096; ++length) {
        bool more = false;
        for (const Mount* mount = first_mount(); mount != nullptr; mount = mount->next) {
            if (mount->length == length) visit(*mount, ++done);
            if (mount->length > length) more = true;
        }
        if (!more) break;
    }
}

}  // namespace

u32 number_of_mount(std::string_view path) {
    const Mount* wanted = mount_of(path);
    u32 found = 1;
    each_mount([&](const Mount& mount, u32 number) {
        if (&mount == wanted) found = number + 1;
    });
    return found;
}

Res<void> write_mounts(const Subject&, ProcText& text) {
    text.add("postern / postern ro,relatime 0 0\n");
    each_mount([&](const Mount& mount, u32) {
        Row row = describe(mount);
        text.add(row.source, ' ');
        add_path(text, {mount.path, mount.length});
        text.add(' ', row.type, ' ', row.options, " 0 0\n");
    });
    return {};
}

Res<void> write_mount_info(const Subject&, ProcText& text) {
    text.add("1 0 0:20 / / ro,relatime - postern postern ro\n");
    each_mount([&](const Mount& mount, u32 number) {
        Row row = describe(mount);
        text.add(number + 1, " 1 0:", number + 20, " / ");
        add_path(text, {mount.path, mount.length});
        text.add(' ', row.options, " - ", row.type, ' ', row.source, row.options[1] == 'o' ? " ro\n" : " rw\n");
    });
    return {};
}

}  // namespace postern::libos
