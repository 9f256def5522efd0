// The Python functions of the distributions whose parameters are a network's outputs. No arithmetic here.
#pragma once

#include "bindings/call.h"
#include "ops/all.h"

namespace steepest {

template <class B>
Distribution distribution_named(const Call<B>& call, py::handle distribution) {
    const std::string name = call.text("distribution", distribution);
    std::string known;
    for (const DistributionEntry& entry : kDistributions) {
        if (name == entry.name) return entry.kind;
        known.append(known.empty() ? "" : ", ").append(entry.name);
    }
    ops::reject(call.name(), "distribution '", name, "' is not one of: ", known);
}

template <class B>
struct Distributions {
    static py::object output_fisher(py::handle z_, py::handle v_, py::handle distribution_, py::handle weight_,
                                    py::handle scale_, py::handle out_) {
        Call<B> call("output_fisher");
        const double scale = call.number("scale", scale_);
        const Array z = call.floats("z", z_, 2), v = call.floats("v", v_, 2);
        const Distribution distribution = distribution_named(call, distribution_);
        const Array weight = call.optional_floats("sample_weight", weight_, 1);
        const Array out = call.output("out", out_, z.shape_vector());
        call.submit_float([&]<class T>() {
            return ops::OutputFisher<T>{
                z.matrix<const T>(), v.matrix<const T>(), distribution, weight.vector<const T>(), scale,
                out.matrix<T>()};
        });
        return out.object;
    }

    static py::object output_divergence(py::handle z_, py::handle w_, py::handle distribution_, py::handle weight_,
                                        py::handle out_) {
        Call<B> call("output_divergence");
        const Array z = call.floats("z", z_, 2), w = call.floats("w", w_, 2);
        const Distribution distribution = distribution_named(call, distribution_);
        const Array weight = call.optional_floats("sample_weight", weight_, 1);
        const Array out = call.output("out", out_, {}, DType::kFloat64);
        call.submit_float([&]<class T>() {
            return ops::OutputDivergence<T>{z.matrix<const T>(), w.matrix<const T>(), distribution,
                                            weight.vector<const T>(), reinterpret_cast<double*>(out.data)};
        });
        return out.object;
    }

    static py::object sampled_score(py::handle z_, py::handle distribution_, py::handle seed_, py::handle stream_,
                                    py::handle out_) {
        Call<B> call("sampled_score");
        const Array z = call.floats("z", z_, 2);
        const Distribution distribution = distribution_named(call, distribution_);
        const uint64_t seed = call.word("seed", seed_);
        const auto stream = call.word_or_array("stream", stream_);
        const Array out = call.output("out", out_, z.shape_vector());
        call.submit_float([&]<class T>() {
            return ops::SampledScore<T>{z.matrix<const T>(), distribution, seed, stream, out.matrix<T>()};
        });
        return out.object;
    }
};

template <class B>
void export_distributions(py::module_& m) {
    using py::arg;
    const py::none none;
    m.def("output_fisher", &Distributions<B>::output_fisher, arg("z"), arg("v"), arg("distribution"),
          arg("sample_weight") = none, py::kw_only(), arg("scale") = 1.0, arg("out") = none);
    m.def("output_divergence", &Distributions<B>::output_divergence, arg("z"), arg("w"), arg("distribution"),
          arg("sample_weight") = none, py::kw_only(), arg("out") = none);
    m.def("sampled_score", &Distributions<B>::sampled_score, arg("z"), arg("distribution"), py::kw_only(), arg("seed"),
          arg("stream"), arg("out") = none);
}

}  // namespace steepest
