// NumPy arrays as pointers, shapes and strides, through the buffer protocol: the quickest way in for small arrays.
#pragma once
#include <nanobind/nanobind.h>

#include <initializer_list>
#include <string>

#include "kernels.hpp"

namespace elman {

namespace nb = nanobind;

// One array for the length of a call. None stands for an array left out: data() is null then.
class Array {
public:
    Array(nb::handle object, const char* name, bool writable = false) : name_(name) {
        if (object.is_none()) return;
        const int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
        if (PyObject_GetBuffer(object.ptr(), &view_, flags)) throw nb::python_error();
    }
    ~Array() {
        if (view_.obj) PyBuffer_Release(&view_);
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    explicit operator bool() const { return view_.obj != nullptr; }
    index dimensions() const { return view_.ndim; }
    index shape(int axis) const { return view_.shape[axis]; }
    bool is_one_row() const { return view_.obj && view_.ndim == 2 && view_.shape[0] == 1; }
    bool is_float32() const { return view_.obj && std::string("f") == view_.format; }

    // The elements; -1 in the shape allows any length. All axes but the first must be packed.
    template <class T> T* data(std::initializer_list<index> shape) const {
        if (!view_.obj) return nullptr;
        bool fits = view_.ndim == static_cast<int>(shape.size()) && view_.itemsize == sizeof(T) && format_is<T>();
        index packed = sizeof(T);
        for (int axis = view_.ndim - 1; fits && axis >= 0; --axis) {
            const index wanted = shape.begin()[axis];
            const bool strided_ok = view_.strides[axis] == packed || view_.shape[axis] == 1 ||
                                    (axis == 0 && view_.ndim == 2 && view_.strides[0] % index(sizeof(T)) == 0);
            fits = (wanted < 0 || view_.shape[axis] == wanted) && strided_ok;
            packed *= view_.shape[axis];
        }
        if (!fits) refuse(shape);
        return static_cast<T*>(view_.buf);
    }
    // The same, all axes packed: for arrays whose stride nobody asks for.
    template <class T> T* packed(std::initializer_list<index> shape) const {
        T* const elements = data<T>(shape);
        if (elements && view_.ndim == 2 && view_.shape[0] > 1 && row_stride() != view_.shape[1]) refuse(shape);
        return elements;
    }
    // Elements from one row to the next of an array with two axes.
    index row_stride() const { return !view_.obj || view_.ndim < 2 ? 0 : view_.strides[0] / view_.itemsize; }

private:
    template <class T> bool format_is() const {
        // One letter, or one behind the mark of this machine's own byte order.
        const std::string format = view_.format[0] == '=' || view_.format[0] == '@' || view_.format[0] == '<'
                                       ? view_.format + 1
                                       : view_.format;
        if (format.size() != 1) return false;
        const char last = format[0];
        if constexpr (sizeof(T) == 4) return last == 'f';
        if constexpr (std::is_same_v<std::remove_const_t<T>, double>) return last == 'd';
        return last == 'l' || last == 'q';
    }
    [[noreturn]] void refuse(std::initializer_list<index> shape) const {
        std::string text = std::string(name_) + " must have the dtype of x, packed rows and shape (";
        for (index n : shape) text += (n < 0 ? "any" : std::to_string(n)) + ",";
        text += "). Got (";
        for (int axis = 0; axis < view_.ndim; ++axis) text += std::to_string(view_.shape[axis]) + ",";
        throw nb::value_error((text + ") of " + view_.format + ".").c_str());
    }

    const char* name_;
    Py_buffer view_ = {};
};

// A new array of float32 or float64, not initialised.
template <class T> nb::object empty(std::initializer_list<index> shape);

}  // namespace elman
