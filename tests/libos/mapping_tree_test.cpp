// SPDX-License-Identifier: Apache-2.0
// The tree of mappings against a plain map.
#include "libos/memory/mapping_tree.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace postern::libos {
namespace {

constexpr u64 kPage = kPageSize;

/// The highest gap by looking at every one.
u64 slow_gap(const std::map<u64, u64>& model, u64 size, u64 low, u64 high) {
    u64 best = 0, at = 0;
    auto consider = [&](u64 from, u64 to) {
        from = std::max(from, low), to = std::min(to, high);
        if (to > from && to - from >= size) best = std::max(best, to - size);
    };
    for (auto& [start, end] : model) {
        consider(at, start);
        at = end;
    }
    consider(at, ~0ull);
    return best;
}

TEST(MappingTree, AgreesWithMap) {
    std::mt19937_64 random{1};
    std::map<u64, u64> model;
    std::map<u64, MappingNode*> nodes;
    MappingTree tree;
    for (int step = 0; step < 20000; ++step) {
        u64 start = (1 + random() % 4000) * kPage, end = start + (1 + random() % 8) * kPage;
        if (random() % 3 != 0) {
            auto above = model.lower_bound(start);
            bool clash = above != model.end() && above->first < end;
            if (above != model.begin() && std::prev(above)->second > start) clash = true;
            MappingNode* found = tree.at_or_above(start);
            ASSERT_EQ(clash, found != nullptr && found->mapping.start < end);
            if (clash) continue;
            auto* node = new MappingNode;
            node->mapping.start = start, node->mapping.end = end;
            tree.insert(*node);
            model[start] = end, nodes[start] = node;
        } else if (!model.empty()) {
            auto it = model.lower_bound(start);
            if (it == model.end()) it = model.begin();
            tree.remove(*nodes[it->first]);
            delete nodes[it->first];
            nodes.erase(it->first);
            model.erase(it);
        }
        ASSERT_EQ(tree.size(), model.size());
        u64 probe = random() % 4100 * kPage;
        auto it = model.begin();
        while (it != model.end() && it->second <= probe) ++it;
        MappingNode* above = tree.at_or_above(probe);
        ASSERT_EQ(above != nullptr ? above->mapping.start : 0, it != model.end() ? it->first : 0);
        u64 size = (1 + random() % 40) * kPage, low = (1 + random() % 2000) * kPage,
            high = low + random() % 3000 * kPage;
        ASSERT_EQ(tree.find_gap(size, low, high), slow_gap(model, size, low, high));
    }
    for (auto& [start, node] : nodes) delete node;
}

TEST(MappingTree, ResizedMappingKeepsGapsRight) {
    MappingTree tree;
    std::vector<MappingNode> nodes(100);
    for (u64 i = 0; i < nodes.size(); ++i) {
        nodes[i].mapping.start = (i + 1) * 10 * kPage;
        nodes[i].mapping.end = nodes[i].mapping.start + kPage;
        tree.insert(nodes[i]);
    }
    EXPECT_EQ(tree.find_gap(9 * kPage, kPage, 1000 * kPage), 991 * kPage);
    for (auto& node : nodes) {
        node.mapping.end = node.mapping.start + 9 * kPage;
        tree.resized(node);
    }
    EXPECT_EQ(tree.find_gap(2 * kPage, 10 * kPage, 1000 * kPage), 0u);
    EXPECT_EQ(tree.find_gap(kPage, 10 * kPage, 1000 * kPage), 999 * kPage);
}

TEST(MappingTree, MergesOnlyWhatContinues) {
    Mapping left, right;
    left.start = 0x1000, left.end = right.start = 0x2000, right.end = 0x3000;
    EXPECT_TRUE(can_merge(left, right));
    right.prot = 1;
    EXPECT_FALSE(can_merge(left, right));
    right.prot = 0;
    left.file = right.file = reinterpret_cast<File*>(0x10);
    right.offset = 0x1000;
    EXPECT_TRUE(can_merge(left, right));
    right.offset = 0x2000;
    EXPECT_FALSE(can_merge(left, right));
}

}  // namespace
}  // namespace postern::libos
