// The Python functions on small arrays that change from step to step of a captured graph. No arithmetic here.
#pragma once

#include "bindings/signature.h"
#include "ops/all.h"

namespace steepest {

template <class B>
void export_counters(py::module_& m) {
    define<B>(m, signature("increment", "None", arg::counter("counter"), arg::integer("by", 1)),
              [](Call<B>& call, int64_t* counter, int64_t by) { call.submit(ops::Increment{counter, by}); });

    define<B>(
        m,
        signature("accumulate", "None", arg::total("total"), arg::number_or_array("value"), arg::number("scale", 1.0)),
        [](Call<B>& call, double* total, ScalarView<double> value, double scale) {
            call.submit(ops::Accumulate{total, value, scale});
        });

    define<B>(m,
              signature("look_up", "Float64Array", arg::float64s("table"), arg::integer_or_array("index"),
                        arg::output("out", "Float64Array | None")),
              [](Call<B>& call, const Array& table, ScalarView<int64_t> index, const Output& out) {
                  const Array item = call.output(out, {}, DType::kFloat64);
                  call.submit(ops::LookUp{table.vector<const double>(), index, reinterpret_cast<double*>(item.data)});
                  return item.object;
              });

    define<B>(m, signature("require_finite", "None", arg::number_array("value")),
              [](Call<B>& call, const double* value) { call.submit(ops::RequireFinite{value}); });
}

}  // namespace steepest
