// SPDX-License-Identifier: Apache-2.0
// Intrusive doubly linked list: insertion cannot fail and needs no memory. Elements outlive their membership.
#pragma once

#include "base/types.hpp"

namespace postern {

struct ListLink {
    ListLink* next = nullptr;
    ListLink* previous = nullptr;
    bool linked() const { return next != nullptr; }
    void unlink() {
        if (!linked()) return;
        previous->next = next;
        next->previous = previous;
        next = previous = nullptr;
    }
};

/// List of T threaded through the member `Link`.
template <class T, ListLink T::*Link>
class List {
public:
    List() { head_.next = head_.previous = &head_; }
    List(const List&) = delete;
    List& operator=(const List&) = delete;

    bool empty() const { return head_.next == &head_; }
    void push_back(T& element) { insert(head_.previous, element); }
    void push_front(T& element) { insert(&head_, element); }
    void insert_before(T& position, T& element) { insert((position.*Link).previous, element); }
    T* front() { return empty() ? nullptr : owner(head_.next); }
    T* back() { return empty() ? nullptr : owner(head_.previous); }
    T* next(T& element) { return (element.*Link).next == &head_ ? nullptr : owner((element.*Link).next); }
    T* previous(T& element) { return (element.*Link).previous == &head_ ? nullptr : owner((element.*Link).previous); }
    T* pop_front() {
        T* element = front();
        if (element != nullptr) (element->*Link).unlink();
        return element;
    }
    /// The link that closes the ring, for code that records what an insertion will change.
    ListLink& end_link() { return head_; }
    static void remove(T& element) { (element.*Link).unlink(); }

private:
    static void insert(ListLink* before, T& element) {
        ListLink* link = &(element.*Link);
        link->previous = before;
        link->next = before->next;
        before->next->previous = link;
        before->next = link;
    }
    static T* owner(ListLink* link) {
        auto offset = reinterpret_cast<usize>(&(static_cast<T*>(nullptr)->*Link));
        return reinterpret_cast<T*>(reinterpret_cast<u8*>(link) - offset);
    }

    ListLink head_;
};

}  // namespace postern
