// The Python functions of attention. No arithmetic here.
#pragma once

#include <cmath>

#include "bindings/operations/spans.h"
#include "ops/all.h"

namespace steepest {

namespace arg {

// An array of bool, or of uint8 with 0 for False.
inline auto optional_mask(const char* name) {
    return optional(name, "BoolArray | None", py::none(), [](auto& call, const char* what, py::handle given) {
        if (given.is_none()) return Array();
        Array mask = call.borrow(what, given);
        if (mask.dtype != DType::kUint8 && call.dtype_text(mask) != "bool")
            reject_type(call.name(), what, " has dtype ", call.dtype_text(mask), "; bool is needed");
        call.require_dims(what, mask, 2);
        return mask;
    });
}

// The number of key heads; empty for None.
inline auto head_count(const char* name) {
    return optional(name, "int | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? std::optional<int64_t>() : call.integer(what, given);
    });
}

// The factor of the scores; empty for None.
inline auto score_scale() {
    return optional("scale", "float | None", py::none(), [](auto& call, const char* what, py::handle given) {
        return given.is_none() ? std::optional<double>() : call.number(what, given);
    });
}

}  // namespace arg

// The arguments that the functions of attention share.
template <class B>
struct AttentionCall {
    Array q, k, v;
    int64_t heads;
    const Array &spans, &key_spans;
    int64_t sequences;
    std::optional<int64_t> key_heads;
    bool causal;
    const Array &mask, &shared_mask;
    std::optional<double> scale;

    template <class T>
    ops::AttentionInputs<T> inputs(const Call<B>& call) const {
        AttentionPattern pattern;
        pattern.heads = heads, pattern.key_heads = key_heads.value_or(heads), pattern.causal = causal;
        if (heads < 1) ops::reject(call.name(), "heads is ", heads, "; it must be at least 1");
        const Array& table = key_spans ? key_spans : spans;
        int64_t count = sequences;
        if (table) {
            if (sequences != 1 && sequences != table.shape[0])
                ops::reject(call.name(), "sequences is ", sequences, ", but there are ", table.shape[0], " spans");
            count = table.shape[0];
        }
        pattern.queries = spans_of(call, "spans", spans, count, q.shape[0]);
        pattern.keys = spans_of(call, "key_spans", table, count, k.shape[0]);
        pattern.mask = mask.matrix<const uint8_t>(), pattern.shared_mask = shared_mask.matrix<const uint8_t>();
        const double width = static_cast<double>(q.shape[1]) / static_cast<double>(heads);
        const double factor = scale ? *scale : width > 0 ? 1 / std::sqrt(width) : 1.0;
        ops::AttentionInputs<T> in{pattern, static_cast<T>(factor), q.matrix<const T>(), k.matrix<const T>(),
                                   v.matrix<const T>()};
        in.check(call.name());  // before outputs are made, whose shapes depend on it
        return in;
    }
};

template <class B>
void export_attention(py::module_& m) {
    // The keywords of all three functions, after which those of outputs follow.
    const auto pattern = [](const char* name, const char* result, auto... arguments) {
        return [=](auto... outputs) {
            return signature(name, result, arguments..., arg::integer("heads"), arg::keywords_only(),
                             arg::spans("spans"), arg::spans("key_spans"), arg::integer("sequences", 1),
                             arg::head_count("key_heads"), arg::flag("causal", false), arg::optional_mask("mask"),
                             arg::optional_mask("shared_mask"), arg::score_scale(), outputs...);
        };
    };

    define<B>(
        m,
        pattern("attention", "tuple[Array, Array]", arg::matrix("q"), arg::matrix("k"), arg::matrix("v"))(
            arg::output("out"), arg::output("log_sum_exp")),
        [](Call<B>& call, const Array& q, const Array& k, const Array& v, int64_t heads, const Array& spans,
           const Array& key_spans, int64_t sequences, std::optional<int64_t> key_heads, bool causal, const Array& mask,
           const Array& shared_mask, std::optional<double> scale, const Output& out_, const Output& log_sum_exp) {
            const AttentionCall<B> given{q,         k,         v,      heads, spans,       key_spans,
                                         sequences, key_heads, causal, mask,  shared_mask, scale};
            Array out, sums;
            call.submit_float([&]<class T>() {
                const ops::AttentionInputs<T> in = given.template inputs<T>(call);
                out = call.output(out_, {in.q.rows, in.out_width()}),
                sums = call.output(log_sum_exp, {in.q.rows, heads});
                return ops::Attention<T>{in, out.matrix<T>(), sums.matrix<T>()};
            });
            return py::make_tuple(out.object, sums.object);
        });

    define<B>(m,
              pattern("attention_backward", "tuple[Array, Array, Array]", arg::matrix("d_y"), arg::matrix("q"),
                      arg::matrix("k"), arg::matrix("v"), arg::matrix("y"),
                      arg::matrix("log_sum_exp"))(arg::output("d_q"), arg::output("d_k"), arg::output("d_v")),
              [](Call<B>& call, const Array& d_y, const Array& q, const Array& k, const Array& v, const Array& y,
                 const Array& log_sum_exp, int64_t heads, const Array& spans, const Array& key_spans, int64_t sequences,
                 std::optional<int64_t> key_heads, bool causal, const Array& mask, const Array& shared_mask,
                 std::optional<double> scale, const Output& d_q_, const Output& d_k_, const Output& d_v_) {
                  const AttentionCall<B> given{q,         k,         v,      heads, spans,       key_spans,
                                               sequences, key_heads, causal, mask,  shared_mask, scale};
                  Array d_q, d_k, d_v;
                  call.submit_float([&]<class T>() {
                      const ops::AttentionInputs<T> in = given.template inputs<T>(call);
                      d_q = call.output(d_q_, q.shape_vector()), d_k = call.output(d_k_, k.shape_vector());
                      d_v = call.output(d_v_, v.shape_vector());
                      return ops::AttentionBackward<T>{in,
                                                       d_y.matrix<const T>(),
                                                       y.matrix<const T>(),
                                                       log_sum_exp.matrix<const T>(),
                                                       d_q.matrix<T>(),
                                                       d_k.matrix<T>(),
                                                       d_v.matrix<T>()};
                  });
                  return py::make_tuple(d_q.object, d_k.object, d_v.object);
              });

    const auto direction = [](const char* name) {
        return arg::required(name, "Array | None", [](auto& call, const char* what, py::handle given) {
            return call.optional_floats(what, given, 2);
        });
    };
    define<B>(
        m,
        pattern("attention_tangent", "Array", direction("dq"), direction("dk"), direction("dv"), arg::matrix("q"),
                arg::matrix("k"), arg::matrix("v"), arg::matrix("y"), arg::matrix("log_sum_exp"))(arg::output("out")),
        [](Call<B>& call, const Array& dq, const Array& dk, const Array& dv, const Array& q, const Array& k,
           const Array& v, const Array& y, const Array& log_sum_exp, int64_t heads, const Array& spans,
           const Array& key_spans, int64_t sequences, std::optional<int64_t> key_heads, bool causal, const Array& mask,
           const Array& shared_mask, std::optional<double> scale, const Output& out_) {
            const AttentionCall<B> given{q,         k,         v,      heads, spans,       key_spans,
                                         sequences, key_heads, causal, mask,  shared_mask, scale};
            Array out;
            call.submit_float([&]<class T>() {
                const ops::AttentionInputs<T> in = given.template inputs<T>(call);
                out = call.output(out_, {in.q.rows, in.out_width()});
                return ops::AttentionTangent<T>{in,
                                                dq.matrix<const T>(),
                                                dk.matrix<const T>(),
                                                dv.matrix<const T>(),
                                                y.matrix<const T>(),
                                                log_sum_exp.matrix<const T>(),
                                                out.matrix<T>()};
            });
            return out.object;
        });
}

}  // namespace steepest
