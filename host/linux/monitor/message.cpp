// SPDX-License-Identifier: Apache-2.0
#include "host/linux/monitor/message.hpp"

#include <string.h>
#include <unistd.h>

namespace postern::host {

namespace {

struct Ancillary {
    alignas(cmsghdr) char bytes[CMSG_SPACE(kMessageDescriptors * sizeof(int))];
};

msghdr header_of(std::span<iovec> parts, Ancillary& ancillary, usize descriptors) {
    msghdr message = {};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    if (descriptors != 0) {
        message.msg_control = ancillary.bytes;
        message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
    }
    return message;
}

}  // namespace

ssize_t send_message(int socket, std::span<iovec> parts, std::span<const int> descriptors) {
    Ancillary ancillary = {};
    msghdr message = header_of(parts, ancillary, descriptors.size());
    if (!descriptors.empty()) {
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

ssize_t receive_message(int socket, std::span<iovec> parts, std::span<int> descriptors, usize& count, int flags) {
    Ancillary ancillary;
    msghdr message = header_of(parts, ancillary, descriptors.size());
    count = 0;
    ssize_t size = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
    if (size <= 0) return size;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
        count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        // CMSG_SPACE is rounded up: one more than asked for may have fitted, and none may stay open unseen.
        int received[kMessageDescriptors];
        memcpy(received, CMSG_DATA(header), count * sizeof(int));
        for (usize i = descriptors.size(); i < count; ++i) close(received[i]);
        if (count > descriptors.size()) count = descriptors.size();
        memcpy(descriptors.data(), received, count * sizeof(int));
    }
    return size;
}

}  // namespace postern::host
