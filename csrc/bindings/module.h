// Exports the operations of a backend; cpu.cpp and cuda.cpp each call this once.
#pragma once

#include <pybind11/stl.h>

#include "bindings/operations/attention.h"
#include "bindings/operations/convolutions.h"
#include "bindings/operations/counters.h"
#include "bindings/operations/distributions.h"
#include "bindings/operations/elementwise.h"
#include "bindings/operations/images.h"
#include "bindings/operations/linear.h"
#include "bindings/operations/linear_models.h"
#include "bindings/operations/losses.h"
#include "bindings/operations/normalization.h"
#include "bindings/operations/pooling.h"
#include "bindings/operations/random.h"
#include "bindings/operations/recurrence.h"
#include "bindings/operations/reductions.h"
#include "bindings/operations/rows.h"
#include "bindings/operations/sequences.h"
#include "bindings/operations/updates.h"

namespace steepest {

template <class B>
void export_operations(py::module_& m) {
    m.attr("SIGNATURES") = py::dict();  // name of an operation -> its signature, for the type stubs
    export_products<B>(m);
    export_gradient_products<B>(m);
    export_convolutions<B>(m);
    export_unary_functions<B>(m);
    export_tensors<B>(m);
    export_activations<B>(m);
    export_softmax<B>(m);
    export_attention<B>(m);
    export_pooling<B>(m);
    export_normalization<B>(m);
    export_recurrence<B>(m);
    export_pointwise_losses<B>(m);
    export_class_losses<B>(m);
    export_distributions<B>(m);
    export_linear_loss<B>(m);
    export_linear_sgd<B>(m);
    export_updates<B>(m);
    export_reductions<B>(m);
    export_rows<B>(m);
    export_images<B>(m);
    export_embeddings<B>(m);
    export_pooled_spans<B>(m);
    export_counters<B>(m);
    export_random_numbers<B>(m);
}

}  // namespace steepest
