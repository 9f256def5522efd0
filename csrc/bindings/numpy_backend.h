// The CPU backend of the bindings: NumPy arrays, run by a team or recorded into the graph that is being captured.
#pragma once

#include <pybind11/numpy.h>

#include <cmath>

#include "bindings/array.h"
#include "cpu/graph.h"

namespace steepest {

// A graph with the arrays that it uses.
struct CapturedGraph {
    Graph graph;
    std::vector<py::object> arrays;
};

// A captured step is the work of one Python thread; others go on running eagerly.
inline thread_local CapturedGraph* capturing = nullptr;

// Raised when a value in a replay is no longer finite; the Python class is made in cpu.cpp.
struct DivergenceError {
    std::string text;
    int64_t step;
};

[[noreturn]] inline void raise(const Failure& f, int64_t step) {
    std::ostringstream text;
    text << '[' << f.operation << "] ";
    switch (f.kind) {
        case Failure::kLabel:
            text << "label " << f.value << " at row " << f.position << " is outside 0.." << f.limit - 1;
            throw py::value_error(text.str());
        case Failure::kIndex:
            text << "index " << f.value << " at position " << f.position << " is outside 0.." << f.limit - 1;
            throw py::index_error(text.str());
        case Failure::kStart:
            text << f.position << " rows from position " << f.value << " on are not within the " << f.limit
                 << " indices";
            throw py::index_error(text.str());
        default:
            // The sign of a NaN means nothing, but would be printed.
            text << "a value became " << (std::isnan(f.number) ? std::abs(f.number) : f.number) << " in step " << step;
            throw DivergenceError{text.str(), step};
    }
}

struct NumpyBackend {
    static bool is_array(py::handle object) { return py::isinstance<py::array>(object); }

    static Array borrow(const char* name, const char* what, py::handle object) {
        Array result =
            view_of(is_array(object) ? py::reinterpret_borrow<py::array>(object) : imported(name, what, object));
        if (result.ndim > kMaxDims || result.ndim < 0) ops::reject(name, what, " has too many dimensions");
        const bool items_fit = reinterpret_cast<uintptr_t>(result.data) % alignment(result) == 0 && strides_fit(result);
        if (!items_fit && result.size() > 0)
            ops::reject(name, what, " is not aligned to its items, or strides over parts of them; pass a copy");
        return result;
    }

    static Array empty(const std::vector<int64_t>& shape, DType dtype) {
        static constexpr const char* kCodes[] = {"f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"};
        switch (dtype) {
            case DType::kFloat32: return view_of(py::array_t<float>(shape));
            case DType::kFloat64: return view_of(py::array_t<double>(shape));
            case DType::kInt64: return view_of(py::array_t<int64_t>(shape));
            default: return view_of(py::array(py::dtype(kCodes[static_cast<int>(dtype)]), shape));
        }
    }

    static Array empty_like(const Array& array, const std::vector<int64_t>& shape) {
        return view_of(py::array(py::reinterpret_borrow<py::array>(array.object).dtype(), shape));
    }

    template <class Op>
    static void submit(Op op, const std::vector<py::object>& arguments) {
        if (capturing) {
            capturing->graph.add(std::move(op));
            capturing->arrays.insert(capturing->arrays.end(), arguments.begin(), arguments.end());
            return;
        }
        const Kernel<Op> kernel = kernel_of<Op>(*active_isa().kernels);
        auto body = [&](Team& team) { kernel(op, team); };
        Failure failure;
        const double seconds = estimated_seconds(op.flops(), bytes_of(op));
        if (seconds < kWorthReleasing) {
            failure = run_team(1, body);
        } else {
            py::gil_scoped_release released;
            failure = run_team(seconds < kWorthATeam ? 1 : get_num_threads(), body);
        }
        if (failure.kind != Failure::kNone) raise(failure, 0);
    }

  private:
    // Letting the interpreter lock go costs a fraction of a microsecond, waking a team several.
    static constexpr double kWorthReleasing = 5e-6, kWorthATeam = 20e-6;

    // An array of another library, in host memory, without a copy.
    static py::array imported(const char* name, const char* what, py::handle object) {
        const std::string type = Py_TYPE(object.ptr())->tp_name;
        const std::string prefix = "[" + std::string(name) + "] " + what;
        if (!py::hasattr(object, "__dlpack_device__"))
            throw py::type_error(prefix + " must be a NumPy array, not " + type);
        constexpr int kHost = 1;  // kDLCPU
        if (py::cast<int>(object.attr("__dlpack_device__")().attr("__getitem__")(0)) != kHost)
            throw py::type_error(
                prefix + " is a " + type +
                " on another device, and this version of steepest has CPU kernels only; copy it to host memory");
        return py::module_::import("numpy").attr("from_dlpack")(object);
    }

    static int64_t alignment(const Array& a) { return a.dtype == DType::kOther ? 1 : a.item_bytes; }

    static bool strides_fit(const Array& a) {
        if (a.dtype == DType::kOther) return true;
        for (int d = 0; d < a.ndim; ++d)
            if (a.shape[d] > 1 && a.strides[d] % a.item_bytes != 0) return false;
        return true;
    }

    static DType dtype_of(const py::array& array) {
        // The common dtypes are single objects, known by their address.
        static const std::pair<PyObject*, DType> kKnown[] = {{py::dtype::of<float>().release().ptr(), DType::kFloat32},
                                                             {py::dtype::of<double>().release().ptr(), DType::kFloat64},
                                                             {py::dtype::of<int64_t>().release().ptr(), DType::kInt64}};
        const PyObject* const descriptor = py::detail::array_proxy(array.ptr())->descr;
        for (const auto& [known, dtype] : kKnown)
            if (descriptor == known) return dtype;
        const auto type = array.dtype();
        if (type.byteorder() != '=' && type.byteorder() != '|') return DType::kOther;
        const auto bytes = type.itemsize();
        switch (type.kind()) {
            case 'f': return bytes == 4 ? DType::kFloat32 : bytes == 8 ? DType::kFloat64 : DType::kOther;
            case 'i':
                return bytes == 1   ? DType::kInt8
                       : bytes == 2 ? DType::kInt16
                       : bytes == 4 ? DType::kInt32
                       : bytes == 8 ? DType::kInt64
                                    : DType::kOther;
            case 'u':
                return bytes == 1   ? DType::kUint8
                       : bytes == 2 ? DType::kUint16
                       : bytes == 4 ? DType::kUint32
                       : bytes == 8 ? DType::kUint64
                                    : DType::kOther;
            default: return DType::kOther;
        }
    }

    static Array view_of(const py::array& array) {
        Array result;
        result.object = array;
        result.data = static_cast<char*>(const_cast<void*>(array.data()));
        result.dtype = dtype_of(array);
        result.item_bytes = array.itemsize();
        result.ndim = static_cast<int>(array.ndim());
        for (int d = 0; d < result.ndim && d < kMaxDims; ++d)
            result.shape[d] = array.shape(d), result.strides[d] = array.strides(d);
        result.writeable = array.writeable();
        return result;
    }
};

}  // namespace steepest
