// SPDX-License-Identifier: Apache-2.0
// Treap of mappings: see mapping_tree.hpp.
#include "libos/memory/mapping_tree.hpp"

namespace postern::libos {

namespace {
u64 larger(u64 a, u64 b) { return a > b ? a : b; }
u64 smaller(u64 a, u64 b) { return a < b ? a : b; }
}  // namespace

bool can_merge(const Mapping& left, const Mapping& right) {
    return left.end == right.start && left.prot == right.prot && left.kind == right.kind &&
           left.shared == right.shared && left.grows_down == 0 && right.grows_down == 0 && left.file == right.file &&
           left.max_prot == right.max_prot && left.locked == right.locked && left.sealed == right.sealed &&
           left.kind != MappingKind::time_page &&
           (left.file == nullptr || left.offset + (left.end - left.start) == right.offset);
}

void MappingTree::update(MappingNode& node) {
    node.low = node.mapping.start;
    node.high = node.mapping.end;
    node.gap = 0;
    if (node.left != nullptr) {
        node.low = node.left->low;
        node.gap = larger(node.left->gap, node.mapping.start - node.left->high);
    }
    if (node.right != nullptr) {
        node.high = node.right->high;
        node.gap = larger(node.gap, larger(node.right->gap, node.right->low - node.mapping.end));
    }
}

void MappingTree::refresh(MappingNode* node, u64 start) {
    if (node == nullptr) return;
    if (start < node->mapping.start)
        refresh(node->left, start);
    else if (start > node->mapping.start)
        refresh(node->right, start);
    update(*node);
}

MappingNode* MappingTree::merge(MappingNode* left, MappingNode* right) {
    if (left == nullptr) return right;
    if (right == nullptr) return left;
    if (left->priority > right->priority) {
        left->right = merge(left->right, right);
        update(*left);
        return left;
    }
    right->left = merge(left, right->left);
    update(*right);
    return right;
}

void MappingTree::split(MappingNode* node, u64 start, MappingNode*& left, MappingNode*& right) {
    if (node == nullptr) {
        left = right = nullptr;
        return;
    }
    if (node->mapping.start < start) {
        split(node->right, start, node->right, right);
        left = node;
    } else {
        split(node->left, start, left, node->left);
        right = node;
    }
    update(*node);
}

void MappingTree::insert(MappingNode& node) {
    seed_ ^= seed_ << 13;
    seed_ ^= seed_ >> 17;
    seed_ ^= seed_ << 5;
    node.priority = seed_;
    node.left = node.right = nullptr;
    update(node);
    MappingNode* left;
    MappingNode* right;
    split(root_, node.mapping.start, left, right);
    root_ = merge(merge(left, &node), right);
    ++size_;
}

MappingNode* MappingTree::erase(MappingNode* node, MappingNode& target) {
    if (node == nullptr) return nullptr;
    if (node == &target) return merge(node->left, node->right);
    if (target.mapping.start < node->mapping.start)
        node->left = erase(node->left, target);
    else
        node->right = erase(node->right, target);
    update(*node);
    return node;
}

void MappingTree::remove(MappingNode& node) {
    root_ = erase(root_, node);
    node.left = node.right = nullptr;
    --size_;
}

MappingNode* MappingTree::at_or_above(u64 address) const {
    MappingNode* best = nullptr;
    for (MappingNode* node = root_; node != nullptr;) {
        if (node->mapping.end > address) {
            best = node;
            node = node->left;
        } else {
            node = node->right;
        }
    }
    return best;
}

MappingNode* MappingTree::below(u64 address) const {
    MappingNode* best = nullptr;
    for (MappingNode* node = root_; node != nullptr;) {
        if (node->mapping.start < address) {
            best = node;
            node = node->right;
        } else {
            node = node->left;
        }
    }
    return best;
}

/// `floor` and `ceiling` are the ends of the neighbours outside this subtree, [low, high) is where room is wanted.
u64 MappingTree::search(const MappingNode* node, u64 size, u64 low, u64 high, u64 floor, u64 ceiling) {
    if (ceiling <= low || floor >= high) return 0;
    if (node == nullptr) {
        u64 from = larger(floor, low);
        u64 to = smaller(ceiling, high);
        return to > from && to - from >= size ? to - size : 0;
    }
    u64 gap = larger(node->gap, larger(node->low - floor, ceiling - node->high));
    if (gap < size) return 0;
    u64 found = search(node->right, size, low, high, node->mapping.end, ceiling);
    if (found != 0) return found;
    return search(node->left, size, low, high, floor, node->mapping.start);
}

u64 MappingTree::find_gap(u64 size, u64 low, u64 high) const { return search(root_, size, low, high, 0, ~0ull); }

}  // namespace postern::libos
