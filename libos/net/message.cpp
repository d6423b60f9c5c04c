// SPDX-License-Identifier: Apache-2.0
#include "libos/net/message.hpp"

#include "libos/net/endpoint.hpp"
#include "libos/shared/arena.hpp"
#include "libos/user.hpp"

namespace postern::libos {

u64 UserBuffers::total() const {
    u64 sum = 0;
    for (u32 index = 0; index < count_; ++index) sum += vectors_[index].size;
    return sum;
}

template <class Move>
usize UserBuffers::move(usize size, Move move) {
    usize done = 0;
    while (done < size && index_ < count_) {
        u64 room = vectors_[index_].size - within_;
        usize chunk = room < size - done ? room : size - done;
        usize moved = move(vectors_[index_].address + within_, done, chunk);
        done += moved;
        within_ += moved;
        if (moved < chunk) break;
        if (within_ == vectors_[index_].size) ++index_, within_ = 0;
    }
    return done;
}

usize UserBuffers::gather(void* destination, usize size) {
    return move(size, [&](u64 user, usize done, usize bytes) {
        return copy_in_some(static_cast<u8*>(destination) + done, user, bytes);
    });
}

usize UserBuffers::scatter(const void* source, usize size) {
    return move(size, [&](u64 user, usize done, usize bytes) {
        return copy_out_some(user, static_cast<const u8*>(source) + done, bytes);
    });
}

usize Bytes::take(void* destination, usize size) {
    if (buffers_ != nullptr) return buffers_->gather(destination, size);
    memcpy(destination, memory_, size);
    memory_ += size;
    return size;
}

usize Bytes::put(const void* source, usize size) {
    if (buffers_ != nullptr) return buffers_->scatter(source, size);
    memcpy(memory_, source, size);
    memory_ += size;
    return size;
}

PassedFiles::~PassedFiles() {
    for (u32 index = 0; index < count; ++index) files[index]->release();
}

namespace {

constexpr u64 kLargestObject = 32768;

Res<Message*> make(u64 capacity) {
    const u64 bytes = sizeof(Message) + capacity;
    void* memory = nullptr;
    if (bytes <= kLargestObject)
        memory = TRY(arena::allocate_uncleared(bytes));
    else
        memory = TRY(arena::allocate_pages(page_ceil(bytes) / kPageSize));
    auto* message = new (memory) Message;
    message->capacity = capacity;
    return message;
}

}  // namespace

Res<Message*> message_create(u64 size, const SocketAddress* from) {
    u32 address_size = from != nullptr ? from->size : 0;
    Message* message = TRY(make(size + address_size));
    message->size = size;
    message->charge = sizeof(Message) + size + address_size;
    message->address_size = address_size;
    if (address_size != 0) memcpy(message->address(), from->bytes, address_size);
    return message;
}

Res<Message*> message_create_small(u64 size) {
    Message* message = TRY(make(kSmallMessage));
    message->size = size;
    message->charge = sizeof(Message) + size;
    return message;
}

bool message_is_small(const Message& message) {
    return message.capacity == kSmallMessage && message.files == nullptr && message.sender == nullptr;
}

void message_renew(Message& message, u64 size) {
    message.next = nullptr;
    message.taken = 0;
    message.size = size;
    message.charge = sizeof(Message) + size;
    message.address_size = 0;
    message.mark = false;
}

Res<void> message_attach(Message& message, const PassedFiles& files) {
    if (files.count == 0) return {};
    message.files = static_cast<File**>(TRY(arena::allocate(files.count * sizeof(File*))));
    for (u32 index = 0; index < files.count; ++index) {
        files.files[index]->reference();
        message.files[index] = files.files[index];
    }
    message.file_count = message.file_slots = files.count;
    return {};
}

void message_destroy(Message* message) {
    for (u64 index = 0; index < message->file_count; ++index) message->files[index]->release();
    if (message->files != nullptr) arena::release(message->files, message->file_slots * sizeof(File*));
    if (message->sender != nullptr) {
        message->sender->forget_outstanding(message->charge);
        message->sender->release();
    }
    const u64 bytes = sizeof(Message) + message->capacity;
    if (bytes <= kLargestObject)
        arena::release(message, bytes);
    else
        arena::release_pages(message, page_ceil(bytes) / kPageSize);
}

}  // namespace postern::libos
