// The Python functions of random numbers. No arithmetic here.
#pragma once

#include "bindings/signature.h"
#include "ops/all.h"

namespace steepest {

template <class B>
void export_random_numbers(py::module_& m) {
    define<B>(m,
              signature("random_uniform", "Array", arg::shape("shape"), arg::number("low", 0.0),
                        arg::number("high", 1.0), arg::keywords_only(), arg::word("seed"), arg::word("stream", 0),
                        arg::text("dtype", "float32"), arg::output("out")),
              [](Call<B>& call, const std::vector<int64_t>& shape, double low, double high, uint64_t seed,
                 uint64_t stream, const std::string& dtype, const Output& out_) {
                  if (dtype != "float32" && dtype != "float64")
                      reject_type(call.name(), "dtype ", dtype, " is not float32 or float64");
                  const DType type = dtype == "float32" ? DType::kFloat32 : DType::kFloat64;
                  const Array out = call.output(out_, shape, type);
                  if (!out.is_contiguous()) ops::reject(call.name(), "out must be contiguous");
                  if (type == DType::kFloat32)
                      call.submit(ops::RandomUniform<float>{out.as_row<float>(), low, high, seed, stream});
                  else
                      call.submit(ops::RandomUniform<double>{out.as_row<double>(), low, high, seed, stream});
                  return out.object;
              });

    define<B>(m,
              signature("random_bits", "npt.NDArray[np.uint64]", arg::integer("n"), arg::keywords_only(),
                        arg::word("seed"), arg::word("stream", 0), arg::output("out", "npt.NDArray[np.uint64] | None")),
              [](Call<B>& call, int64_t n, uint64_t seed, uint64_t stream, const Output& out_) {
                  if (n < 0) ops::reject(call.name(), "n is ", n, "; it must not be negative");
                  const Array out = call.output(out_, {n}, DType::kUint64);
                  call.submit(ops::RandomBits{out.vector<uint64_t>(), seed, stream});
                  return out.object;
              });
}

}  // namespace steepest
