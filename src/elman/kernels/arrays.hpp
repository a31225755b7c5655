// NumPy arrays as pointers, shapes and strides, through the buffer protocol: the quickest way in for small arrays.
#pragma once
#include <nanobind/nanobind.h>

#include <algorithm>
#include <cstdlib>
#include <initializer_list>
#include <string>

#include "interpreter.hpp"
#include "memory.hpp"

namespace elman {

namespace nb = nanobind;

// Whether an object is an array of NumPy's own class: a subclass may mean more than its memory says.
bool is_plain_array(nb::handle object);

// One array for the length of a call. None stands for an array left out: data() is null then.
class Array {
public:
    Array(nb::handle object, const char* name, bool writable = false) : name_(name) {
        if (!object.is_none() && !open(object, writable)) throw nb::python_error();
    }
    // The same of a plain array of NumPy's; of all else, and where its memory cannot be had, an array left out.
    static Array plain(nb::handle object, const char* name, bool writable = false) { return {name, object, writable}; }
    ~Array() {
        if (view_.obj) in_interpreter([&] { PyBuffer_Release(&view_); });
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    explicit operator bool() const { return view_.obj != nullptr; }
    const char* name() const { return name_; }
    index dimensions() const { return view_.ndim; }
    // 0 where there is no such axis.
    index shape(int axis) const { return axis < view_.ndim ? view_.shape[axis] : 0; }
    bool is_one_row() const { return view_.ndim == 2 && view_.shape[0] == 1; }
    bool is_float32() const { return view_.obj && format_is<float>(); }

    // The elements; -1 in the shape allows any length. All axes but the first must be packed.
    template <class T> T* data(std::initializer_list<index> shape) const {
        if (view_.obj && !fits<T>(shape)) refuse(shape);
        return static_cast<T*>(view_.buf);
    }
    // Whether `data` would take it.
    template <class T> bool fits(std::initializer_list<index> shape) const {
        if (!view_.obj) return false;
        bool fits = view_.ndim == static_cast<int>(shape.size()) && view_.itemsize == sizeof(T) && format_is<T>() &&
                    reinterpret_cast<std::uintptr_t>(view_.buf) % alignof(T) == 0;
        index packed = sizeof(T);
        for (int axis = view_.ndim - 1; fits && axis >= 0; --axis) {
            const index wanted = shape.begin()[axis];
            const bool strided_ok = view_.strides[axis] == packed || view_.shape[axis] == 1 ||
                                    (axis == 0 && view_.ndim == 2 && view_.strides[0] % index(sizeof(T)) == 0);
            fits = (wanted < 0 || view_.shape[axis] == wanted) && strided_ok;
            if (axis) packed *= view_.shape[axis];
        }
        return fits;
    }
    // The same, all axes packed: for arrays whose stride nobody asks for.
    template <class T> T* packed(std::initializer_list<index> shape) const {
        T* const elements = data<T>(shape);
        if (elements && view_.ndim == 2 && row_stride() != view_.shape[1]) refuse(shape);
        return elements;
    }
    // Where the elements begin of an array that is known to fit.
    void* elements() const { return view_.buf; }
    // Elements from one row to the next of an array with two axes.
    index row_stride() const {
        if (view_.ndim != 2) return 0;
        return view_.shape[0] == 1 ? view_.shape[1] : view_.strides[0] / view_.itemsize;
    }

    // Whether the bytes of the two, from the first of each to its last, meet.
    bool overlaps(const Array& other) const {
        const Extent mine = extent(), others = other.extent();
        return mine.begin < others.end && others.begin < mine.end;
    }

private:
    Array(const char* name, nb::handle object, bool writable) : name_(name) {
        if (is_plain_array(object) && !open(object, writable)) PyErr_Clear();
    }
    bool open(nb::handle object, bool writable) {
        const int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        return in_interpreter([&] { return PyObject_GetBuffer(object.ptr(), &view_, flags); }) == 0;
    }

    struct Extent {
        const char *begin, *end;
    };
    Extent extent() const {
        const char *begin = static_cast<const char*>(view_.buf), *end = begin;
        if (!view_.obj || view_.len == 0) return {begin, begin};
        for (int axis = 0; axis < view_.ndim; ++axis) {
            if (view_.shape[axis] == 1) continue;  // its stride may be anything
            const index reach = (view_.shape[axis] - 1) * view_.strides[axis];
            (reach < 0 ? begin : end) += reach;
        }
        return {begin, end + view_.itemsize};
    }
    // One letter, or one after the mark of this machine's own byte order.
    template <class T> bool format_is() const {
        const char* format = view_.format ? view_.format : "";
        const char own_order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? '<' : '>';
        if (*format == '=' || *format == '@' || *format == own_order) ++format;
        if (*format == '\0' || format[1] != '\0') return false;
        if constexpr (sizeof(T) == 4) return *format == 'f';
        if constexpr (std::is_same_v<std::remove_const_t<T>, double>) return *format == 'd';
        return *format == 'l' || *format == 'q';
    }
    [[noreturn]] void refuse(std::initializer_list<index> shape) const {
        std::string text = std::string(name_) + " must have the dtype of x, aligned and packed rows and shape (";
        for (index n : shape) text += (n < 0 ? "any" : std::to_string(n)) + ",";
        text += "). Got (";
        for (int axis = 0; axis < view_.ndim; ++axis) text += std::to_string(view_.shape[axis]) + ",";
        throw nb::value_error((text + ") of " + (view_.format ? view_.format : "bytes") + ".").c_str());
    }

    const char* name_;
    Py_buffer view_ = {};
};

// Where a kernel writes what belongs into an array of the caller's: the array itself, or memory of its own where the
// array shares bytes with one that the kernel reads. `finish` then puts the results in their place, so that they are
// those of arrays apart. Two results never share bytes: those after the first are given the ones before as `taken`.
template <class T>
class Result {
public:
    Result(const Array& array, T* elements, std::initializer_list<const Array*> read,
           std::initializer_list<const Array*> taken = {})
        : there_(elements), stride_(array.row_stride()) {
        if (!elements) return;
        if (array.dimensions() == 2 && array.shape(0) > 1 && std::abs(stride_) < array.shape(1))
            throw nb::value_error((std::string(array.name()) + " must have rows that share no memory.").c_str());
        for (const Array* other : taken)
            if (array.overlaps(*other))
                throw nb::value_error(
                    (std::string(array.name()) + " must share no memory with " + other->name() + ".").c_str());
        if (std::none_of(read.begin(), read.end(), [&](const Array* other) { return array.overlaps(*other); })) return;
        width_ = array.shape(static_cast<int>(array.dimensions()) - 1);
        for (int axis = 0; axis < array.dimensions() - 1; ++axis) rows_ *= array.shape(axis);
        apart_ = Memory<T>(rows_ * width_);
    }

    T* get() const { return apart_.get() ? apart_.get() : there_; }
    index row_stride() const { return apart_.get() ? width_ : stride_; }
    void finish() const {
        const index distance = stride_ ? stride_ : width_;
        for (index row = 0; apart_.get() && row < rows_; ++row)
            std::copy_n(apart_.get() + row * width_, width_, there_ + row * distance);
    }

private:
    T* const there_;
    const index stride_;
    index rows_ = 1, width_ = 0;
    Memory<T> apart_;
};

// A new array of float32 or float64, not initialised.
template <class T> nb::object empty(std::initializer_list<index> shape);

}  // namespace elman
