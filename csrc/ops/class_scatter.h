// Weights, sums and scatter matrix of classes in one pass over the samples, for discriminant analysis and principal
// components. Class c has a centre m_c; sample x_i has the class c_i and the weight s_i:
//     weights_c = sum_{i of c} s_i,   sums_c = sum_{i of c} s_i (x_i - m_c),
//     scatter = sum_i s_i (x_i - m)(x_i - m)^T   with m = m_{c_i}.
// The class means are m_c + sums_c / weights_c, and the scatter about them is scatter - sum_c sums_c sums_c^T /
// weights_c. Little cancels in this difference if the centres are near the means. All sums are float64; products of
// float32 are summed in float32 over kRows samples at a time, and these sums in float64.
#pragma once

#include "ops/contract.h"
#include "ops/row_chunks.h"

namespace steepest::ops {

struct ClassScatterChunks : RowChunks {
    static constexpr int64_t kRows = 256;  // samples whose products are summed before they are added to the scatter
    static constexpr int64_t kFew = 8;     // with fewer chunks, the threads share the products of each block instead

    int64_t cols, classes;

    ClassScatterChunks(int64_t n, int64_t d, int64_t k)
        : RowChunks(n, kRows, items(d, k), 1 << 20), cols(d), classes(k) {
        if (count < kFew) count = 1;
    }

    int64_t items() const { return items(cols, classes); }

  private:
    // The float64 numbers of a chunk: its scatter, its sums and its weights.
    static int64_t items(int64_t d, int64_t k) { return d * d + k * (d + 1); }
};

// The layout of the workspace on a GPU; sizes are numbers of float64.
struct ClassScatterParts {
    static constexpr int64_t kRows = 4096;      // rows that are centred and multiplied at once
    static constexpr int64_t kMostParts = 256;  // parts of the rows, each with its own class sums

    int64_t rows, cols, classes, item_bytes, parts;

    ClassScatterParts(int64_t n, int64_t d, int64_t k, int64_t bytes)
        : rows(n < kRows ? n : kRows), cols(d), classes(k), item_bytes(bytes) {
        constexpr int64_t kItems = 4 << 20;
        parts = (n + 255) / 256;
        if (parts > kMostParts) parts = kMostParts;
        if (parts * sums() > kItems) parts = kItems / sums();
        if (parts < 1) parts = 1;
    }

    int64_t sums() const { return classes * (cols + 1); }
    int64_t centred() const { return (rows * cols * item_bytes + 7) / 8; }
    int64_t product() const { return (cols * cols * item_bytes + 7) / 8; }
    int64_t items() const { return parts * sums() + centred() + product(); }
};

template <class T>
struct ClassScatter {
    static constexpr const char* kName = "class_scatter";
    static constexpr bool kMayFail = true;
    MatrixView<const T> x;              // (n, d)
    IntegerVectorView labels;           // (n,), or absent: all samples are of class 0
    MatrixView<const T> centre;         // (k, d)
    VectorView<const T> sample_weight;  // (n,) or absent
    bool accumulate = false;            // whether to add to the values of the three results
    VectorView<double> weights;         // (k,)
    MatrixView<double> sums;            // (k, d)
    MatrixView<double> scatter;         // (d, d)
    VectorView<double> workspace;       // at least workspace_items() long

    template <class Visitor>
    void visit(Visitor&& v) const {
        const Use results = accumulate ? kUpdate : kWrite;
        v(kRead, "x", x), v(kRead, "labels", labels), v(kRead, "centre", centre);
        v(kRead, "sample_weight", sample_weight);
        v(results, "weights", weights), v(results, "sums", sums), v(results, "scatter", scatter);
        v(kWrite, "workspace", workspace);
    }

    void check() const {
        const int64_t d = x.cols, k = centre.rows;
        require(centre.cols == d, kName, "centre has shape ", shape_of(centre), ", but x has ", d, " columns");
        require(k > 0, kName, "centre has shape ", shape_of(centre), "; at least one class is needed");
        if (labels)
            require(labels.size == x.rows, kName, "labels has shape ", ShapeText{-1, labels.size}, ", but x has ",
                    x.rows, " rows");
        else
            require(k == 1, kName, "centre has ", k, " rows; without labels there is one class, so it must have 1 row");
        require(!sample_weight || sample_weight.size == x.rows, kName, "sample_weight has shape ",
                shape_of(sample_weight), ", but x has ", x.rows, " rows");
    }

    // The size of the workspace in numbers of float64. The CPU stores the sums of all chunks, or those of the classes.
    // A GPU stores the sums of the parts, and the rows that are centred and multiplied at once.
    template <bool OnGpu>
    int64_t workspace_items() const {
        if constexpr (OnGpu) return ClassScatterParts(x.rows, x.cols, centre.rows, sizeof(T)).items();
        const ClassScatterChunks chunks(x.rows, x.cols, centre.rows);
        return chunks.count > 1 ? chunks.count * chunks.items() : centre.rows * x.cols;
    }

    double flops() const { return 1.0 * x.rows * x.cols * (x.cols + 3); }
};

}  // namespace steepest::ops
