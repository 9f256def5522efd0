// Which tiles a matrix product is cut into: for tests that must know which kernel they run.
#include "bindings/numpy_arrays.h"
#include "cuda/gemm_launch.cuh"
#include "standin/selftest.h"

namespace steepest {
inline namespace STEEPEST_TARGET {
namespace {

template <class T, Precision P>
py::tuple plan_of(int64_t m, int64_t k, int64_t n, int device) {
    GemmCall<T> call;
    call.c.rows = m, call.c.cols = n, call.a.cols = k;
    const GemmPlan plan = plan_for<Tiles<T, P>>(call, use_device(device));
    static constexpr const char* kKinds[] = {"large", "medium", "small"};
    return py::make_tuple(kKinds[plan.kind], plan.parts);
}

}  // namespace

void export_plans(py::module_ m) {
    m.def(
        "gemm_plan",
        [](int64_t rows, int64_t inner, int64_t cols, const std::string& dtype, const std::string& precision,
           int device) {
            if (dtype == "float64") return plan_of<double, Precision::kFloat32>(rows, inner, cols, device);
#define STEEPEST_CASE(Name, text) \
    if (precision == text) return plan_of<float, Precision::k##Name>(rows, inner, cols, device);
            STEEPEST_PRECISIONS(STEEPEST_CASE)
#undef STEEPEST_CASE
            throw py::value_error(precision);
        },
        "The kind of tiles, and the number of parts of the inner dimension, of a product (m, k) @ (k, n).",
        py::arg("m"), py::arg("k"), py::arg("n"), py::arg("dtype") = "float32", py::arg("precision") = "float32",
        py::arg("device") = 0);
}

}  // namespace STEEPEST_TARGET
}  // namespace steepest
