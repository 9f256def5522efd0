// The Python functions of the distributions whose parameters are a network's outputs. No arithmetic here.
#pragma once

#include "bindings/operations/names.h"

namespace steepest {

template <class B>
void export_distributions(py::module_& m) {
    define<B>(m,
              signature("output_fisher", "Array", arg::matrix("z"), arg::matrix("v"), arg::distribution(),
                        arg::optional_vector("sample_weight"), arg::keywords_only(), arg::number("scale", 1.0),
                        arg::output("out")),
              [](Call<B>& call, const Array& z, const Array& v, Distribution distribution, const Array& weight,
                 double scale, const Output& out) {
                  const Array product = call.output(out, z.shape_vector());
                  call.submit_float([&]<class T>() {
                      return ops::OutputFisher<T>{
                          z.matrix<const T>(), v.matrix<const T>(), distribution, weight.vector<const T>(), scale,
                          product.matrix<T>()};
                  });
                  return product.object;
              });

    define<B>(m,
              signature("output_divergence", "Float64Array", arg::matrix("z"), arg::matrix("w"), arg::distribution(),
                        arg::optional_vector("sample_weight"), arg::keywords_only(),
                        arg::output("out", "Float64Array | None")),
              [](Call<B>& call, const Array& z, const Array& w, Distribution distribution, const Array& weight,
                 const Output& out) {
                  const Array divergence = call.output(out, {}, DType::kFloat64);
                  call.submit_float([&]<class T>() {
                      return ops::OutputDivergence<T>{z.matrix<const T>(), w.matrix<const T>(), distribution,
                                                      weight.vector<const T>(),
                                                      reinterpret_cast<double*>(divergence.data)};
                  });
                  return divergence.object;
              });

    define<B>(m,
              signature("sampled_score", "Array", arg::matrix("z"), arg::distribution(), arg::keywords_only(),
                        arg::word("seed"), arg::word_or_array("stream"), arg::output("out")),
              [](Call<B>& call, const Array& z, Distribution distribution, uint64_t seed, ScalarView<int64_t> stream,
                 const Output& out) {
                  const Array score = call.output(out, z.shape_vector());
                  call.submit_float([&]<class T>() {
                      return ops::SampledScore<T>{z.matrix<const T>(), distribution, seed, stream, score.matrix<T>()};
                  });
                  return score.object;
              });
}

}  // namespace steepest
