// SPDX-License-Identifier: Apache-2.0
// Layout as Linux's fs/binfmt_elf.c and fs/exec.c, which debuggers and some runtimes rely on:
//   top: 8 zero bytes, file name, environment strings, argument strings, platform, random bytes, ...,
//   auxiliary vector, environment pointers, argument pointers, argument count.
#include "libos/loader/stack.hpp"

#include <elf.h>

#include "base/memory.hpp"

namespace postern::libos {

namespace {

struct Places {  // distances below the top
    u64 path, environment, arguments, platform, random, pointer;
};

constexpr u32 kOwnAuxiliary = 4;  // RANDOM, EXECFN, PLATFORM, NULL

u64 vector_bytes(const StackContents& contents) {
    return 8 + 8 * (u64{contents.argument_count} + 1) + 8 * (u64{contents.environment_count} + 1) +
           sizeof(AuxiliaryEntry) * (u64{contents.auxiliary_count} + kOwnAuxiliary);
}

Places place(const StackContents& contents) {
    Places places;
    places.path = 8 + strlen(contents.path) + 1;
    places.environment = places.path + contents.environment_bytes;
    places.arguments = places.environment + contents.argument_bytes;
    u64 below = align_up(places.arguments, 16);
    places.platform = align_up(below + strlen(contents.platform) + 1, 16);
    places.random = places.platform + 16;
    places.pointer = align_up(places.random + vector_bytes(contents), 16);
    return places;
}

class Writer {
public:
    explicit Writer(u8* at) : at_{at} {}
    void word(u64 value) {
        memcpy(at_, &value, sizeof value);
        at_ += sizeof value;
    }
    void entry(u64 type, u64 value) {
        word(type);
        word(value);
    }
    /// Addresses of `count` strings that lie one after the other from `address` on, and a null.
    void strings(const char* texts, u32 count, u64 address) {
        for (u32 i = 0; i < count; ++i) {
            word(address);
            u64 size = strlen(texts) + 1;
            texts += size;
            address += size;
        }
        word(0);
    }

private:
    u8* at_;
};

}  // namespace

u64 stack_image_size(const StackContents& contents) { return place(contents).pointer; }

u64 build_stack_image(const StackContents& contents, u64 top, u8* image, u64 size) {
    Places places = place(contents);
    if (places.pointer != size) __builtin_trap();
    u8* end = image + size;
    memset(image, 0, size);
    memcpy(end - places.path, contents.path, strlen(contents.path));
    memcpy(end - places.environment, contents.environment, contents.environment_bytes);
    memcpy(end - places.arguments, contents.arguments, contents.argument_bytes);
    memcpy(end - places.platform, contents.platform, strlen(contents.platform));
    memcpy(end - places.random, contents.random, sizeof contents.random);

    Writer writer{image};
    writer.word(contents.argument_count);
    writer.strings(contents.arguments, contents.argument_count, top - places.arguments);
    writer.strings(contents.environment, contents.environment_count, top - places.environment);
    for (u32 i = 0; i < contents.auxiliary_count; ++i)
        writer.entry(contents.auxiliary[i].type, contents.auxiliary[i].value);
    writer.entry(AT_RANDOM, top - places.random);
    writer.entry(AT_EXECFN, top - places.path);
    writer.entry(AT_PLATFORM, top - places.platform);
    writer.entry(AT_NULL, 0);
    return top - places.pointer;
}

}  // namespace postern::libos
