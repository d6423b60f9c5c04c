// SPDX-License-Identifier: Apache-2.0
#include "libos/net/control.hpp"

#include "libos/process/process.hpp"
#include "libos/time/timers.hpp"
#include "libos/user.hpp"

namespace postern::libos {

namespace {

constexpr u64 kMostControl = 16384;
constexpr u32 kCapSetUid = 7, kCapSetGid = 6, kCapSysAdmin = 21;

Res<void> check_credentials(Thread& thread, const SocketCredentials& claimed) {
    const Credentials& own = thread.process->credentials;
    bool pid = claimed.pid == thread.process->pid || has_capability(thread, kCapSysAdmin);
    bool uid = claimed.uid == own.uid || claimed.uid == own.euid || claimed.uid == own.suid ||
               has_capability(thread, kCapSetUid);
    bool gid = claimed.gid == own.gid || claimed.gid == own.egid || claimed.gid == own.sgid ||
               has_capability(thread, kCapSetGid);
    if (!pid || !uid || !gid) return Failure{Errno::perm};
    return {};
}

/// The file for the descriptors of this process. Handles of the host's belong to one picoprocess and its children: what
/// another one opened is opened here by its path, at the same offset, which the two no longer share. Errno::stale when
/// something else has that path by now.
Res<FileRef> make_local(Thread& thread, File& file) {
    if (file.has_local == 0 || thread.process->files->contains(&file)) {
        file.reference();
        return FileRef{&file};
    }
    FileRef fresh = TRY(file.reopen(thread, file.status_flags));
    Stat stat;
    TRY(fresh->stat(thread, stat));
    if (!file.is_object(stat.st_dev, stat.st_ino)) return Failure{Errno::stale};
    fresh->offset = file.offset;
    return fresh;
}

/// Writes control messages one behind the other; what does not fit is told by MSG_CTRUNC.
class ControlWriter {
public:
    explicit ControlWriter(UserMessage& message)
        : message_{message}, room_{message.control == 0 ? 0 : message.control_length} {}
    u64 room() const { return room_ - at_; }

    Res<void> add(u32 level, u32 type, const void* data, u64 size) {
        const u64 length = sizeof(ControlHeader) + size;
        if (room() < sizeof(ControlHeader)) {
            message_.flags |= kMessageControlCut;
            return {};
        }
        u64 fits = length;
        if (room() < length) message_.flags |= kMessageControlCut, fits = room();
        TRY(write_user(message_.control + at_, ControlHeader{fits, level, type}));
        TRY(copy_out(message_.control + at_ + sizeof(ControlHeader), data, fits - sizeof(ControlHeader)));
        advance(fits);
        return {};
    }
    /// Installs descriptors; those that do not fit are dropped.
    Res<void> add_files(Thread& thread, PassedFiles& files, bool close_on_exec) {
        u32 fits = 0, done = 0;
        if (room() > sizeof(ControlHeader)) fits = static_cast<u32>((room() - sizeof(ControlHeader)) / 4);
        if (fits < files.count) message_.flags |= kMessageControlCut;
        if (fits > files.count) fits = files.count;
        for (; done < fits; ++done) {
            auto file = make_local(thread, *files.files[done]);
            auto fd = file.ok() ? thread.process->files->install(file.take(), close_on_exec)
                                : Res<u32>{Failure{file.error()}};
            if (!fd.ok()) {
                message_.flags |= kMessageControlCut;
                break;
            }
            TRY(write_user(message_.control + at_ + sizeof(ControlHeader) + done * 4, static_cast<i32>(fd.value())));
        }
        if (done == 0) return {};
        const u64 size = sizeof(ControlHeader) + u64{done} * 4;
        TRY(write_user(message_.control + at_, ControlHeader{size, kLevelSocket, kControlRights}));
        advance(size);
        return {};
    }
    void finish() { message_.control_length = at_; }

private:
    void advance(u64 size) { at_ = align_up(size, 8) < room() ? at_ + align_up(size, 8) : room_; }
    UserMessage& message_;
    u64 room_, at_ = 0;
};

}  // namespace

Res<void> read_control(Thread& thread, const UserMessage& message, bool local, Control& control) {
    if (message.control_length > kMostControl) return Failure{Errno::nobufs};
    if (message.control == 0 || message.control_length == 0) return {};
    for (u64 at = 0; at + sizeof(ControlHeader) <= message.control_length;) {
        auto header = TRY(read_user<ControlHeader>(message.control + at));
        if (header.length < sizeof header || header.length > message.control_length - at) return Failure{Errno::inval};
        const u64 data = message.control + at + sizeof header, size = header.length - sizeof header;
        if (header.level == kLevelSocket && header.type == kControlRights && local) {
            const u64 count = size / sizeof(i32);
            if (count > kMostPassedFiles - control.files.count) return Failure{Errno::inval};
            for (u64 index = 0; index < count; ++index) {
                i32 fd = TRY(read_user<i32>(data + index * sizeof(i32)));
                FileRef file = TRY(thread.process->files->get(static_cast<u32>(fd)));
                control.files.files[control.files.count++] = file.leak();
            }
        } else if (header.level == kLevelSocket && header.type == kControlCredentials && local) {
            if (size != sizeof(SocketCredentials)) return Failure{Errno::inval};
            control.credentials = TRY(read_user<SocketCredentials>(data));
            TRY(check_credentials(thread, control.credentials));
            control.has_credentials = true;
        } else if (header.level == kLevelIp || header.level == kLevelIp6) {
            constexpr u32 kTos = 1, kTtl = 2, kHopLimit6 = 52, kClass6 = 67;
            const bool v4 = header.level == kLevelIp;
            const bool hops = header.type == (v4 ? kTtl : kHopLimit6), traffic = header.type == (v4 ? kTos : kClass6);
            if (hops || traffic) {
                i32 value = -1;
                if (size == sizeof value)
                    value = TRY(read_user<i32>(data));
                else if (size == 1 && v4 && traffic)
                    value = TRY(read_user<u8>(data));
                else
                    return Failure{Errno::inval};
                if (value < -1 || value > 255) return Failure{Errno::inval};
                (hops ? control.hop_limit : control.traffic_class) = value;
            }
        } else if (header.level == kLevelSocket && local) {
            return Failure{Errno::inval};
        }
        at += align_up(header.length, 8);
    }
    return {};
}

Res<void> write_control(Thread& thread, UserMessage& message, Endpoint& endpoint, const Received& received,
                        PassedFiles& files, u32 flags) {
    ControlWriter writer{message};
    const SocketOptions& options = endpoint.options;
    if (received.has_message && endpoint.is_local() && options.is_on(kPassCredentials))
        TRY(writer.add(kLevelSocket, kControlCredentials, &received.credentials, sizeof received.credentials));
    if (files.count != 0) TRY(writer.add_files(thread, files, (flags & kMessageCloseOnExec) != 0));
    if (received.has_message && endpoint.is_udp()) {
        if (options.is_on(kTimeStamps)) {
            TimeVal now = to_timeval(realtime_now());
            TRY(writer.add(kLevelSocket, 29, &now, sizeof now));
        }
        IpName to = endpoint.local_ip;
        if (to.is_any()) to = loopback_name(endpoint.family == Family::inet);
        if (options.is_on(kPacketInfo) && endpoint.family == Family::inet) {
            u8 information[12] = {1};  // struct in_pktinfo: the interface, its address, the destination
            memcpy(information + 4, to.address + 12, 4);
            memcpy(information + 8, to.address + 12, 4);
            TRY(writer.add(kLevelIp, 8, information, sizeof information));
        }
        const i32 hops = received.hop_limit, traffic = received.traffic_class;
        if (endpoint.family == Family::inet) {
            if (options.is_on(kReceiveTtl)) TRY(writer.add(kLevelIp, 2, &hops, sizeof hops));
            if (options.is_on(kReceiveTos)) TRY(writer.add(kLevelIp, 1, &received.traffic_class, 1));
        }
        if (options.is_on(kReceivePacketInfo6) && endpoint.family == Family::inet6) {
            u8 information[20] = {};  // struct in6_pktinfo
            memcpy(information, to.address, 16);
            information[16] = 1;
            TRY(writer.add(kLevelIp6, 50, information, sizeof information));
        }
        if (endpoint.family == Family::inet6) {
            if (options.is_on(kReceiveHopLimit)) TRY(writer.add(kLevelIp6, 52, &hops, sizeof hops));
            if (options.is_on(kReceiveTrafficClass)) TRY(writer.add(kLevelIp6, 67, &traffic, sizeof traffic));
        }
    }
    writer.finish();
    return {};
}

}  // namespace postern::libos
