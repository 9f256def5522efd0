// One call of an operation from Python. Its arguments are checked and turned into views, with errors that start with
// the operation's name. Then the operation is run or, while a graph is captured, recorded.
//
// `Backend` says where arrays live:
//     Backend::borrow(name, what, object) -> Array       TypeError for anything that is not its array
//     Backend::is_array(object) -> bool
//     Backend::empty(shape, dtype) -> Array
//     Backend::empty_like(array, shape) -> Array
//     Backend::submit(op, arguments)                      runs or records; `arguments` must outlive a recording
#pragma once

#include <pybind11/gil_safe_call_once.h>
#include <pybind11/numpy.h>

#include "bindings/array.h"
#include "ops/overlap.h"

namespace steepest {

template <class... Parts>
[[noreturn]] void reject_type(const char* name, const Parts&... parts) {
    std::ostringstream text;
    text << '[' << name << "] ";
    (text << ... << parts);
    throw py::type_error(text.str());
}

// The caller's argument for a result: an array, or None for a new one.
struct Output {
    const char* what;
    py::handle given;

    bool is_given() const { return !given.is_none(); }
};

template <class Backend>
class Call {
  public:
    explicit Call(const char* name) : name_(name) {}

    const char* name() const { return name_; }

    // Sets the name that errors start with: a Python function may serve several operations.
    void rename(const char* name) { name_ = name; }

    DType dtype() const { return dtype_; }

    Array borrow(const char* what, py::handle object) {
        Array array = Backend::borrow(name_, what, object);
        arguments_.all.push_back(array.object);
        return array;
    }

    // A float array of `ndim` dimensions, or of any number for -1. All float arrays of a call must have the same dtype.
    Array floats(const char* what, py::handle object, int ndim) {
        Array array = borrow(what, object);
        if (!is_float(array.dtype))
            reject_type(name_, what, " has dtype ", dtype_text(array), "; float32 or float64 is needed");
        require_dims(what, array, ndim);
        if (dtype_ == DType::kOther) dtype_ = array.dtype, first_ = what;
        if (array.dtype != dtype_)
            reject_type(name_, what, " has dtype ", name_of(array.dtype), ", but ", first_, " has ", name_of(dtype_));
        return array;
    }

    Array optional_floats(const char* what, py::handle object, int ndim) {
        return object.is_none() ? Array() : floats(what, object, ndim);
    }

    Array integers(const char* what, py::handle object, int ndim = 1) {
        Array array = borrow(what, object);
        if (!is_integer(array.dtype))
            reject_type(name_, what, " has dtype ", dtype_text(array), "; an integer dtype is needed");
        require_dims(what, array, ndim);
        return array;
    }

    Array float64s(const char* what, py::handle object) {
        Array array = floats(what, object, 1);
        if (array.dtype != DType::kFloat64)
            reject_type(name_, what, " has dtype ", name_of(array.dtype), "; float64 is needed");
        return array;
    }

    Array int64s(const char* what, py::handle object, int ndim = 1) {
        Array array = integers(what, object, ndim);
        if (array.dtype != DType::kInt64)
            reject_type(name_, what, " has dtype ", name_of(array.dtype), "; int64 is needed");
        return array;
    }

    // The caller's array, checked, or a new one.
    Array output(const char* what, py::handle object, std::vector<int64_t> shape, DType dtype) {
        if (object.is_none()) return made(what, shape, [&] { return Backend::empty(shape, dtype); });
        Array array = borrow(what, object);
        if (array.dtype != dtype)
            reject_type(name_, what, " has dtype ", dtype_text(array), "; ", name_of(dtype), " is needed");
        bool matches = array.ndim == static_cast<int>(shape.size());
        for (int d = 0; matches && d < array.ndim; ++d) matches = array.shape[d] == shape[d];
        if (!matches)
            ops::reject(name_, what, " has shape ", array.shape_text(), "; ", shape_text(shape), " is needed");
        require_writeable(what, array);
        return array;
    }

    Array output(const Output& result, std::vector<int64_t> shape, DType dtype) {
        return output(result.what, result.given, shape, dtype);
    }

    Array output(const Output& result, std::vector<int64_t> shape) { return output(result, shape, dtype_); }

    Array workspace(int64_t items) { return output({"workspace", py::none()}, {items}, DType::kFloat64); }

    // An array that the operation changes in place.
    Array in_place(const char* what, py::handle object, int ndim) {
        Array array = floats(what, object, ndim);
        require_writeable(what, array);
        return array;
    }

    std::string text(const char* what, py::handle object) const {
        if (!PyUnicode_Check(object.ptr())) reject_type(name_, what, " must be a string");
        const char* const utf8 = PyUnicode_AsUTF8(object.ptr());
        if (utf8) return utf8;
        PyErr_Clear();
        ops::reject(name_, what, " is not valid Unicode text");
    }

    // A real number of Python or NumPy. Arrays are rejected: a graph would fix their value at the capture.
    double number(const char* what, py::handle object) const {
        if (!is_real(object)) reject_type(name_, what, " must be a number, not ", type_name(object));
        const double value = PyFloat_AsDouble(object.ptr());
        if (value == -1 && PyErr_Occurred()) {
            PyErr_Clear();
            ops::reject(name_, what, " is too large for a float");
        }
        return value;
    }

    double not_negative(const char* what, py::handle object) const {
        const double value = number(what, object);
        if (!(value >= 0 && value < __builtin_inf()))
            ops::reject(name_, what, " is ", value, "; it must be finite and not negative");
        return value;
    }

    // The entry of a registry with the given name.
    template <class Registry>
    const auto& entry(const char* what, py::handle object, const Registry& registry) const {
        const std::string name = text(what, object);
        for (const auto& entry : registry)
            if (name == entry.name) return entry;
        std::string known;
        for (const auto& entry : registry) known.append(known.empty() ? "" : ", ").append(entry.name);
        ops::reject(name_, what, " '", name, "' is not one of: ", known);
    }

    // An integer of Python or of NumPy.
    int64_t integer(const char* what, py::handle object) const {
        const py::int_ value = whole(what, object);
        const int64_t number = PyLong_AsLongLong(value.ptr());
        if (number == -1 && PyErr_Occurred()) reject_range(what, value, "-2**63..2**63-1");
        return number;
    }

    // A seed or stream.
    uint64_t word(const char* what, py::handle object) const {
        const py::int_ value = whole(what, object);
        const uint64_t number = PyLong_AsUnsignedLongLong(value.ptr());
        if (number == uint64_t(-1) && PyErr_Occurred()) reject_range(what, value, "0..2**64-1");
        return number;
    }

    // True or False, of Python or of NumPy.
    bool flag(const char* what, py::handle object) const {
        static const py::handle numpy_bool = py::object(py::dtype::of<bool>().attr("type")).release();
        if (!PyBool_Check(object.ptr()) && !py::isinstance(object, numpy_bool))
            reject_type(name_, what, " must be True or False, not ", type_name(object));
        return object.equal(py::bool_(true));
    }

    // The lengths of an array's axes: an integer or a sequence of them.
    std::vector<int64_t> shape(const char* what, py::handle object) const {
        std::vector<int64_t> lengths;
        if (PyTuple_Check(object.ptr()) || PyList_Check(object.ptr()))
            for (const py::handle length : object) lengths.push_back(integer(what, length));
        else
            lengths.push_back(integer(what, object));
        for (const int64_t n : lengths)
            if (n < 0) ops::reject(name_, what, " has the negative length ", n);
        return lengths;
    }

    // A 0-d array that the operation writes.
    template <class T>
    T* written_scalar(const char* what, py::handle object) {
        if (object.is_none()) reject_type(name_, what, " must be a 0-d ", name_of(dtype_of<T>()), " array, not None");
        return reinterpret_cast<T*>(output(what, object, {}, dtype_of<T>()).data);
    }

    // A new array of any dtype.
    Array new_like(const Array& array, const std::vector<int64_t>& shape) {
        return made("result", shape, [&] { return Backend::empty_like(array, shape); });
    }

    // A number, or a 0-d array that is read when the operation runs.
    template <class T>
    ScalarView<T> scalar(const char* what, py::handle object) {
        if (!is_array(object)) return {nullptr, number_of<T>(what, object)};
        Array array = borrow(what, object);
        if (array.dtype != dtype_of<T>() || array.ndim != 0)
            reject_type(name_, what, " must be a number or a 0-d ", name_of(dtype_of<T>()), " array");
        return {reinterpret_cast<const T*>(array.data), T()};
    }

    // A seed or stream, or a 0-d int64 array that holds it; numbers from 2^63 on are stored as negative ones.
    ScalarView<int64_t> word_or_array(const char* what, py::handle object) {
        if (!is_array(object)) return {nullptr, static_cast<int64_t>(word(what, object))};
        return scalar<int64_t>(what, object);
    }

    // Rejects a read-only array that the operation would write.
    void require_writeable(const char* what, const Array& array) {
        if (array.read_only) ops::reject(name_, what, " ", array.read_only);
        arguments_.written.push_back(array.object);
    }

    void require_dims(const char* what, const Array& array, int ndim) const {
        if (ndim >= 0 && array.ndim != ndim)
            ops::reject(name_, what, " must be ", ndim, "-D, but has shape ", array.shape_text());
    }

    // Rejects an operation that submit() would reject.
    template <class Op>
    static void require_valid(const Op& op) {
        op.check();
        ops::require_apart(op);
    }

    template <class Op>
    void submit(Op op) {
        require_valid(op);
        Backend::submit(std::move(op), arguments_);
    }

    // Calls f.template operator()<float>() or <double>(), for the call's dtype.
    template <class F>
    void for_dtype(F&& f) {
        if (dtype_ == DType::kFloat32)
            f.template operator()<float>();
        else
            f.template operator()<double>();
    }

    // Builds the operation for the call's dtype: make.template operator()<float>() or <double>().
    template <class Make>
    void submit_float(Make&& make) {
        for_dtype([&]<class T>() { submit(make.template operator()<T>()); });
    }

    static std::string dtype_text(const Array& array) {
        return array.dtype == DType::kOther ? std::string(py::str(array.object.attr("dtype"))) : name_of(array.dtype);
    }

    // Whether an object is an array, also one of another device: it must not pass for a number, whose value a graph
    // would fix.
    static bool is_array(py::handle object) {
        return !PyFloat_Check(object.ptr()) && !PyLong_Check(object.ptr()) &&
               (Backend::is_array(object) || py::hasattr(object, "__dlpack_device__"));
    }

  private:
    template <class Make>
    Array made(const char* what, const std::vector<int64_t>& shape, Make&& make) {
        try {
            Array array = make();
            arguments_.all.push_back(array.object), arguments_.written.push_back(array.object);
            return array;
        } catch (py::error_already_set& error) {
            if (!error.matches(PyExc_ValueError)) throw;
            ops::reject(name_, what, " of shape ", shape_text(shape), " would be too large for any memory");
        }
    }

    static bool is_real(py::handle object) {
        if (PyFloat_Check(object.ptr()) || PyLong_Check(object.ptr())) return true;
        PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> real;
        return py::isinstance(
            object,
            real.call_once_and_store_result([] { return py::module_::import("numbers").attr("Real"); }).get_stored());
    }

    static const char* type_name(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

    template <class T>
    T number_of(const char* what, py::handle object) const {
        constexpr bool kInteger = std::is_same_v<T, int64_t>;
        if (kInteger ? !PyIndex_Check(object.ptr()) : !is_real(object))
            reject_type(name_, what, " must be a number or a 0-d ", name_of(dtype_of<T>()), " array");
        if constexpr (kInteger)
            return integer(what, object);
        else
            return number(what, object);
    }

    // An integer of Python or NumPy. Arrays are rejected, although 0-d arrays have __index__ too.
    py::int_ whole(const char* what, py::handle object) const {
        if (!PyIndex_Check(object.ptr()) || Backend::is_array(object))
            reject_type(name_, what, " must be an integer, not ", type_name(object));
        return py::reinterpret_steal<py::int_>(PyNumber_Index(object.ptr()));
    }

    [[noreturn]] void reject_range(const char* what, const py::int_& value, const char* range) const {
        PyErr_Clear();
        // Python does not print integers of thousands of digits, and a message does not need them.
        if (py::cast<int64_t>(value.attr("bit_length")()) > 1000)
            ops::reject(name_, what, " is too large; it must be in ", range);
        ops::reject(name_, what, " is ", std::string(py::str(value)), "; it must be in ", range);
    }

    const char* name_;
    const char* first_ = "";
    DType dtype_ = DType::kOther;
    CallArguments arguments_;
};

}  // namespace steepest
