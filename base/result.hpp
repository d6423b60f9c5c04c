// SPDX-License-Identifier: Apache-2.0
// The one error idiom of the tree: Result<T, E> holds a T or an E, and TRY hands the E to the caller.
//
// `TRY` stands alone: it is the whole right-hand side of a declaration, an assignment or a `return`, or a whole
// statement. g++ 12 leaks sibling temporaries when it returns out of the middle of a braced initializer.
#pragma once

#include <new>
#include <type_traits>
#include <utility>

namespace postern {

template <class E>
struct [[nodiscard]] Failure {
    E error;
};
template <class E>
Failure(E) -> Failure<E>;

/// A T or an E. Move-only when T is. Reading the side that is not there is a programming error and traps.
template <class T, class E>
class [[nodiscard]] Result {
    static_assert(!std::is_reference_v<T>, "return a pointer or a handle instead");

public:
    using Value = T;
    using ErrorType = E;

    Result(const T& value) : ok_{true} { new (&value_) T(value); }
    Result(T&& value) : ok_{true} { new (&value_) T(std::move(value)); }
    template <class F>
    requires std::is_convertible_v<F, E> Result(Failure<F> failure) : ok_{false} { new (&error_) E(failure.error); }
    Result(Result&& other) : ok_{other.ok_} {
        if (ok_)
            new (&value_) T(std::move(other.value_));
        else
            new (&error_) E(other.error_);
    }
    Result(const Result&) requires(!std::is_trivially_copyable_v<T>) = delete;
    Result(const Result&) requires std::is_trivially_copyable_v<T>
    = default;
    Result& operator=(const Result&) = delete;
    ~Result() requires std::is_trivially_destructible_v<T>
    = default;
    ~Result() {
        if (ok_) value_.~T();
    }

    bool ok() const { return ok_; }
    explicit operator bool() const = delete;
    E error() const {
        if (ok_) __builtin_trap();
        return error_;
    }
    T& value() {
        if (!ok_) __builtin_trap();
        return value_;
    }
    const T& value() const {
        if (!ok_) __builtin_trap();
        return value_;
    }
    T take() {
        if (!ok_) __builtin_trap();
        return std::move(value_);
    }
    T value_or(T fallback) && { return ok_ ? std::move(value_) : std::move(fallback); }

private:
    union {
        T value_;
        E error_;
    };
    bool ok_;
};

template <class E>
class [[nodiscard]] Result<void, E> {
public:
    using Value = void;
    using ErrorType = E;

    Result() : error_{}, ok_{true} {}
    template <class F>
    requires std::is_convertible_v<F, E> Result(Failure<F> failure) : error_{failure.error}, ok_{false} {}

    bool ok() const { return ok_; }
    explicit operator bool() const = delete;
    E error() const {
        if (ok_) __builtin_trap();
        return error_;
    }
    void take() {
        if (!ok_) __builtin_trap();
    }

private:
    E error_;
    bool ok_;
};

}  // namespace postern

/// Value of `expression`, or return its error from the enclosing function.
#define TRY(expression)                                     \
    ({                                                      \
        auto try_result_ = (expression);                    \
        if (!try_result_.ok()) [[unlikely]]                 \
            return ::postern::Failure{try_result_.error()}; \
        try_result_.take();                                 \
    })

/// Value of `expression`; traps when it failed. Each use says in a comment why it cannot fail.
#define MUST(expression)                          \
    ({                                            \
        auto must_result_ = (expression);         \
        if (!must_result_.ok()) __builtin_trap(); \
        must_result_.take();                      \
    })
