// The stand-in's form of device/shared.cuh and device/copy_async.cuh, which checks every access. What it takes for one
// access by one thread is a few nanoseconds.
#pragma once

#include <concepts>

#include "common/macros.h"
#include "standin/block.h"

namespace standin {

// An index, and where it is written.
struct Index {
    int64_t value;
    Site site;

    template <std::integral I>
    Index(I i, Site s = Site::current()) : value(static_cast<int64_t>(i)), site(s) {}
};

[[noreturn]] inline void fail_outside(const Index& i, int64_t width, int64_t size) {
    const std::string items = width == 1
                                  ? "item " + std::to_string(i.value)
                                  : "items " + std::to_string(i.value) + ".." + std::to_string(i.value + width - 1);
    fail("thread " + std::to_string(running.thread) + " touches " + items + " of a SharedArray of " +
         std::to_string(size) + " at " + place_of(i.site));
}

// What indexing gives: reading and writing it are different things.
template <class T>
class Reference {
  public:
    Reference(T* at, const Site& site) : at_(at), site_(site) {}
    Reference(const Reference&) = default;

    operator T() const {
        read_shared(at_, sizeof(T), site_);
        return *at_;
    }
    Reference& operator=(const T& value) {
        write_shared(at_, sizeof(T), site_);
        *at_ = value;
        return *this;
    }
    Reference& operator=(const Reference& other) { return *this = static_cast<T>(other); }
    Reference& operator+=(const T& value) { return *this = static_cast<T>(*this) + value; }
    Reference& operator-=(const T& value) { return *this = static_cast<T>(*this) - value; }
    Reference& operator*=(const T& value) { return *this = static_cast<T>(*this) * value; }
    Reference& operator++() { return *this += T(1); }

  private:
    T* at_;
    Site site_;
};

}  // namespace standin

namespace steepest {
inline namespace STEEPEST_TARGET {

template <class T, int N>
struct alignas(16) SharedArray {
    static_assert(sizeof(T) % 4 == 0, "the stand-in follows shared memory in words of 4 bytes");

    T items[N];

    standin::Reference<T> operator[](standin::Index i) { return {at<1>(i), i.site}; }
    T operator[](standin::Index i) const {
        return standin::Reference<T>(const_cast<SharedArray*>(this)->at<1>(i), i.site);
    }

    template <int W>
    T* at(const standin::Index& i) {
        if (i.value < 0 || i.value > N - W) standin::fail_outside(i, W, N);
        return items + i.value;
    }
};

template <class Layout>
Layout& shared_memory(const standin::Site& site = standin::Site::current()) {
    if (sizeof(Layout) > standin::running.shared_bytes)
        standin::fail("shared_memory at " + standin::place_of(site) + " takes " + std::to_string(sizeof(Layout)) +
                      " bytes, but the launch gave " + std::to_string(standin::running.shared_bytes));
    return *reinterpret_cast<Layout*>(standin::shared_bytes);
}

template <int W, class T, int N>
Vector<T, W> load_shared(const SharedArray<T, N>& from, standin::Index i) {
    const T* const at = const_cast<SharedArray<T, N>&>(from).template at<W>(i);
    standin::read_shared(at, W * sizeof(T), i.site);
    Vector<T, W> v;
    std::memcpy(v.item, at, sizeof v.item);
    return v;
}

template <int W, class T, int N>
void store_shared(SharedArray<T, N>& to, standin::Index i, const Vector<T, W>& v) {
    T* const at = to.template at<W>(i);
    standin::write_shared(at, W * sizeof(T), i.site);
    std::memcpy(at, v.item, sizeof v.item);
}

template <int W, class T, int N>
void copy_async(SharedArray<T, N>& to, standin::Index i, const T* from, bool valid) {
    constexpr int kBytes = W * sizeof(T);
    static_assert(kBytes == 4 || kBytes == 8 || kBytes == 16, "the sizes that cp.async copies");
    standin::begin_copy(to.template at<W>(i), from, kBytes, valid, i.site);
}

inline void copy_async_commit() { standin::end_copy_group(); }

template <int N>
void copy_async_wait() {
    standin::wait_for_copies(N);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
