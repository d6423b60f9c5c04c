// SPDX-License-Identifier: Apache-2.0
// The names and the permitted values of the flags and enumerations that cross the gate, taken from gate/types.hpp.
#pragma once

#include <span>

#include "gate/abi.hpp"
#include "gate/schema.hpp"

namespace postern::gate::schema {

struct Member {
    string_view name;
    u64 value;
};

enum class Scale : u8 { any, flags, members, number };

struct DomainInfo {
    Domain domain;
    string_view name;
    Scale scale;
    u64 limit;  ///< flags: mask of all bits; members and number: the largest value
    std::span<const Member> members;
};

namespace domain {
inline constexpr Member kAlloc[] = {{"reserve", kAllocReserve},
                                    {"commit", kAllocCommit},
                                    {"replace", kAllocReplace},
                                    {"shared", kAllocShared},
                                    {"populate", kAllocPopulate}};
inline constexpr Member kProt[] = {
    {"none", kProtNone}, {"read", kProtRead}, {"write", kProtWrite}, {"execute", kProtExecute}};
inline constexpr Member kFree[] = {{"release", static_cast<u64>(FreeKind::release)},
                                   {"decommit", static_cast<u64>(FreeKind::decommit)},
                                   {"lazy", static_cast<u64>(FreeKind::lazy)},
                                   {"remove", static_cast<u64>(FreeKind::remove)},
                                   {"will_need", static_cast<u64>(FreeKind::will_need)}};
inline constexpr Member kSegment[] = {{"fs", 0}};
inline constexpr Member kAddress[] = {
    {"private", kAddressPrivate}, {"shared", kAddressShared}, {"realtime", kAddressRealtime}};
inline constexpr Member kAccess[] = {
    {"read", kAccessRead}, {"write", kAccessWrite}, {"append", kAccessAppend}, {"execute", kAccessExecute}};
inline constexpr Member kCreate[] = {{"never", kCreateNever}, {"try", kCreateTry}, {"always", kCreateAlways}};
inline constexpr Member kOptions[] = {{"non_blocking", kOpenNonBlocking}, {"no_follow", kOpenNoFollow},
                                      {"directory", kOpenDirectory},      {"link", kOpenLink},
                                      {"truncate", kOpenTruncate},        {"make_directory", kOpenMakeDirectory},
                                      {"temporary", kOpenTemporary},      {"make_fifo", kOpenMakeFifo}};
inline constexpr Member kNaming[] = {{"no_follow", kOpenNoFollow}, {"directory", kOpenDirectory}, {"link", kOpenLink}};
inline constexpr Member kMap[] = {{"private", kMapPrivate},
                                  {"shared", kMapShared},
                                  {"replace", kMapReplace},
                                  {"populate", kMapPopulate},
                                  {"prepared", kMapPrepared}};
inline constexpr Member kLength[] = {{"truncate", static_cast<u64>(LengthChange::truncate)},
                                     {"allocate", static_cast<u64>(LengthChange::allocate)},
                                     {"allocate_keep_size", static_cast<u64>(LengthChange::allocate_keep_size)},
                                     {"punch_hole", static_cast<u64>(LengthChange::punch_hole)},
                                     {"zero_range", static_cast<u64>(LengthChange::zero_range)},
                                     {"collapse", static_cast<u64>(LengthChange::collapse)},
                                     {"insert", static_cast<u64>(LengthChange::insert)}};
inline constexpr Member kRename[] = {{"no_replace", kRenameNoReplace}, {"exchange", kRenameExchange}};
inline constexpr Member kReady[] = {{"read", kReadyRead},
                                    {"write", kReadyWrite},
                                    {"error", kReadyError},
                                    {"hangup", kReadyHangup},
                                    {"priority", kReadyPriority}};
inline constexpr Member kSet[] = {{"mode", kSetMode},
                                  {"owner", kSetOwner},
                                  {"group", kSetGroup},
                                  {"accessed", kSetAccessed},
                                  {"modified", kSetModified},
                                  {"accessed_now", kSetAccessedNow},
                                  {"modified_now", kSetModifiedNow}};
inline constexpr Member kLink[] = {{"hard", static_cast<u64>(LinkKind::hard)},
                                   {"symbolic", static_cast<u64>(LinkKind::symbolic)}};
inline constexpr Member kLock[] = {{"none", kLockNone}, {"shared", kLockShared}, {"exclusive", kLockExclusive}};
inline constexpr Member kChanges[] = {
    {"contents", kChangeContents}, {"names", kChangeNames}, {"attributes", kChangeAttributes}};
inline constexpr Member kClocks[] = {{"realtime", static_cast<u64>(Clock::realtime)},
                                     {"monotonic", static_cast<u64>(Clock::monotonic)},
                                     {"boottime", static_cast<u64>(Clock::boottime)},
                                     {"process_cpu", static_cast<u64>(Clock::process_cpu)},
                                     {"thread_cpu", static_cast<u64>(Clock::thread_cpu)},
                                     {"realtime_coarse", static_cast<u64>(Clock::realtime_coarse)},
                                     {"monotonic_coarse", static_cast<u64>(Clock::monotonic_coarse)},
                                     {"monotonic_raw", static_cast<u64>(Clock::monotonic_raw)},
                                     {"tai", static_cast<u64>(Clock::tai)}};
inline constexpr Member kTimers[] = {{"monotonic", static_cast<u64>(TimerKind::monotonic)},
                                     {"process_cpu_user", static_cast<u64>(TimerKind::process_cpu_user)},
                                     {"process_cpu", static_cast<u64>(TimerKind::process_cpu)}};
inline constexpr Member kExternal[] = {
    {"interrupt", kExternalInterrupt}, {"terminate", kExternalTerminate}, {"hangup", kExternalHangup},
    {"quit", kExternalQuit},           {"window", kExternalWindow},       {"timer", kExternalTimer},
    {"cpu_timer", kExternalCpuTimer},  {"user1", kExternalUser1},         {"user2", kExternalUser2},
    {"continue", kExternalContinue},   {"stop", kExternalStop},           {"profile_timer", kExternalProfileTimer},
    {"deaths", kExternalDeaths}};

inline constexpr Member kList[] = {
    {"below", kListBelow}, {"whole", kListWhole}, {"attributes", kListAttributes}, {"few", kListFew}};

constexpr u64 mask_of(std::span<const Member> members) {
    u64 mask = 0;
    for (const Member& member : members) mask |= member.value;
    return mask;
}
constexpr u64 top_of(std::span<const Member> members) {
    u64 top = 0;
    for (const Member& member : members) top = member.value > top ? member.value : top;
    return top;
}
constexpr DomainInfo flags(Domain domain, string_view name, std::span<const Member> members) {
    return {domain, name, Scale::flags, mask_of(members), members};
}
constexpr DomainInfo one_of(Domain domain, string_view name, std::span<const Member> members) {
    return {domain, name, Scale::members, top_of(members), members};
}
}  // namespace domain

/// In the order of `Domain`.
inline constexpr DomainInfo kDomains[] = {
    {Domain::any, "any", Scale::any, ~0ull, {}},
    {Domain::boolean, "boolean", Scale::number, 1, {}},
    domain::flags(Domain::alloc_flags, "AllocFlags", domain::kAlloc),
    domain::flags(Domain::prot, "Prot", domain::kProt),
    domain::one_of(Domain::free_kind, "FreeKind", domain::kFree),
    domain::one_of(Domain::segment, "segment", domain::kSegment),
    domain::flags(Domain::address_flags, "AddressFlags", domain::kAddress),
    domain::flags(Domain::access, "Access", domain::kAccess),
    domain::one_of(Domain::create, "Create", domain::kCreate),
    domain::flags(Domain::open_options, "OpenOptions", domain::kOptions),
    domain::flags(Domain::attribute_options, "OpenOptions", domain::kNaming),
    domain::flags(Domain::map_flags, "MapFlags", domain::kMap),
    domain::one_of(Domain::length_change, "LengthChange", domain::kLength),
    domain::flags(Domain::rename_flags, "RenameFlags", domain::kRename),
    domain::flags(Domain::ready, "ReadyBits", domain::kReady),
    domain::flags(Domain::attribute_mask, "AttributeMask", domain::kSet),
    domain::one_of(Domain::link_kind, "LinkKind", domain::kLink),
    domain::one_of(Domain::lock_mode, "LockMode", domain::kLock),
    domain::flags(Domain::change_filter, "ChangeFilter", domain::kChanges),
    domain::one_of(Domain::clock, "Clock", domain::kClocks),
    domain::one_of(Domain::timer_kind, "TimerKind", domain::kTimers),
    domain::flags(Domain::external, "ExternalRequest", domain::kExternal),
    domain::flags(Domain::list_options, "ListOptions", domain::kList),
    {Domain::permission_bits, "permission bits", Scale::number, 07777, {}},
};
inline constexpr usize kDomainCount = sizeof(kDomains) / sizeof(kDomains[0]);

consteval bool domains_in_order() {
    for (usize i = 0; i < kDomainCount; ++i)
        if (static_cast<usize>(kDomains[i].domain) != i) return false;
    return kDomainCount == static_cast<usize>(Domain::permission_bits) + 1;
}
static_assert(domains_in_order(), "kDomains follows the order of Domain");

constexpr const DomainInfo& info(Domain domain) { return kDomains[static_cast<usize>(domain)]; }

inline constexpr string_view kErrNames[] = {"ok",           "bad_handle",     "wrong_kind",    "denied",
                                            "bad_argument", "bad_address",    "no_memory",     "no_quota",
                                            "not_found",    "exists",         "not_directory", "is_directory",
                                            "not_empty",    "too_many_links", "name_too_long", "cross_device",
                                            "read_only",    "no_space",       "too_big",       "busy",
                                            "io",           "would_block",    "interrupted",   "timed_out",
                                            "closed",       "unsupported",    "not_seekable",  "bad_state"};
static_assert(sizeof(kErrNames) / sizeof(kErrNames[0]) == kErrCount);

inline constexpr string_view kKindNames[] = {"none",      "stream",  "directory", "event",
                                             "semaphore", "process", "thread",    "channel"};
inline constexpr string_view kRightNames[] = {"read", "write", "execute", "enumerate", "change", "signal", "wait"};

}  // namespace postern::gate::schema
