// SPDX-License-Identifier: Apache-2.0
// The mappings of an address space, ordered by address, with the search for free ranges.
//
// A treap whose nodes know the largest free gap inside their subtree: lookups and the search for room take
// logarithmic time with tens of thousands of mappings. Nodes belong to the caller; nothing here allocates.
#pragma once

#include "base/types.hpp"

namespace postern::libos {

class File;
struct Process;

enum class MappingKind : u32 { anonymous, file, shared_anonymous, stack, heap, time_page, code };

struct Mapping {
    u64 start = 0, end = 0;
    u32 prot = 0;  ///< gate::Prot bits
    MappingKind kind = MappingKind::anonymous;
    u32 shared = 0;  ///< MAP_SHARED
    u32 grows_down = 0;
    File* file = nullptr;  ///< referenced; null for anonymous
    u64 offset = 0;        ///< of `start` in `file`
    u32 max_prot = 7;      ///< mprotect may not go beyond (a shared mapping of a file opened read-only)
    u32 sealed = 0;        ///< mseal(2): neither unmapped, moved nor changed any more
    u32 locked = 0;        ///< mlock(2): counted, and refused to what would drop its pages
    u32 prepared = 0;      ///< all or a part of the file's prepared text (gate::PreparedText)
};

/// Each node counts its file once; a shared mapping that can be written also counts against sealing (fcntl(2)).
void hold_file(const Mapping& mapping);
void drop_file(const Mapping& mapping);
void hold_file(const Mapping& mapping, Process& process);  ///< on behalf of a child that is about to be forked
void drop_file(const Mapping& mapping, Process& process);

/// True when `right`, which begins where `left` ends, can be shown and treated as the same mapping.
bool can_merge(const Mapping& left, const Mapping& right);

struct MappingNode {
    Mapping mapping;
    MappingNode* left = nullptr;
    MappingNode* right = nullptr;
    u32 priority = 0;
    u64 low = 0, high = 0;  ///< bounds of the subtree
    u64 gap = 0;            ///< largest free range between mappings of the subtree
};

class MappingTree {
public:
    /// `node.mapping` overlaps no other.
    void insert(MappingNode& node);
    void remove(MappingNode& node);
    /// After a mapping's start or end moved (without passing a neighbour).
    void resized(MappingNode& node) { refresh(root_, node.mapping.start); }

    /// The first mapping that ends above `address`.
    MappingNode* at_or_above(u64 address) const;
    /// The last mapping that starts below `address`.
    MappingNode* below(u64 address) const;
    MappingNode* first() const { return at_or_above(0); }
    MappingNode* next(const MappingNode& node) const { return at_or_above(node.mapping.end); }
    /// The highest start of `size` free bytes within [low, high); 0: there is no room.
    u64 find_gap(u64 size, u64 low, u64 high) const;
    u64 size() const { return size_; }
    bool empty() const { return root_ == nullptr; }

private:
    static void update(MappingNode& node);
    static void refresh(MappingNode* node, u64 start);
    static MappingNode* merge(MappingNode* left, MappingNode* right);
    static void split(MappingNode* node, u64 start, MappingNode*& left, MappingNode*& right);
    static MappingNode* erase(MappingNode* node, MappingNode& target);
    static u64 search(const MappingNode* node, u64 size, u64 low, u64 high, u64 floor, u64 ceiling);

    MappingNode* root_ = nullptr;
    u64 size_ = 0;
    u32 seed_ = 0x9e3779b9;
};

}  // namespace postern::libos
