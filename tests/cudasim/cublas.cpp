/* cuBLAS's products on the CPU: operands are widened to f32, multiplied in loops, and the result is
 * rounded once. */
#include "access.h"
#include "include/cublas_v2.h"
#include "include/cuda_bf16.h"
#include "include/cuda_fp16.h"

struct cudasim_cublas {
    cudaStream_t stream;
    cublasPointerMode_t pointer_mode;
    cublasMath_t math;
    void *workspace;
    size_t workspace_bytes;
};

namespace cudasim
{

/* One operand: rows x columns, column-major, columns `step` elements apart. */
struct matrix {
    const void *data;
    cudaDataType_t type;
    int rows, columns, step;
};

static size_t size_of(cudaDataType_t type)
{
    return type == CUDA_R_32F ? 4 : 2;
}

static bool is_type(cudaDataType_t type)
{
    return type == CUDA_R_32F || type == CUDA_R_16BF || type == CUDA_R_16F;
}

static size_t bytes_of(const struct matrix &m)
{
    if (m.rows == 0 || m.columns == 0)
        return 0;
    return ((size_t)(m.columns - 1) * (size_t)m.step + (size_t)m.rows) * size_of(m.type);
}

/* f(p) with p pointing to the matrix's elements, of their type. */
template <typename F> static void with_elements(const struct matrix &m, F f)
{
    void *data = host_view(m.data);
    switch (m.type) {
    case CUDA_R_32F:
        f((float *)data);
        break;
    case CUDA_R_16BF:
        f((__nv_bfloat16 *)data);
        break;
    default:
        f((__half *)data);
    }
}

/* op(m) as f32, column-major, without gaps. */
static std::vector<float> widened(const struct matrix &m, bool transpose)
{
    std::vector<float> wide((size_t)m.rows * (size_t)m.columns);
    with_elements(m, [&](const auto *from) {
        for (int column = 0; column < m.columns; column++, from += m.step)
            for (int row = 0; row < m.rows; row++)
                wide[transpose ? (size_t)row * (size_t)m.columns + (size_t)column
                               : (size_t)column * (size_t)m.rows + (size_t)row] = (float)from[row];
    });
    return wide;
}

static void store(const struct matrix &c, const std::vector<float> &product, float alpha,
                  float beta)
{
    with_elements(c, [&](auto *to) {
        const float *from = product.data();
        for (int column = 0; column < c.columns; column++, to += c.step)
            for (int row = 0; row < c.rows; row++) {
                float value = alpha * *from++;
                to[row] = beta == 0 ? value : value + beta * (float)to[row];
            }
    });
}

static void multiply(bool transpose_a, bool transpose_b, int m, int n, int k, float alpha,
                     const struct matrix &a, const struct matrix &b, float beta,
                     const struct matrix &c)
{
    std::vector<float> product((size_t)m * (size_t)n);
    std::vector<float> wide_a = widened(a, transpose_a), wide_b = widened(b, transpose_b);
    for (int column = 0; column < n; column++) {
        float *to = product.data() + (size_t)column * (size_t)m;
        for (int i = 0; i < k; i++) {
            const float *from = wide_a.data() + (size_t)i * (size_t)m;
            float factor = wide_b[(size_t)column * (size_t)k + (size_t)i];
            for (int row = 0; row < m; row++)
                to[row] += from[row] * factor;
        }
    }
    store(c, product, alpha, beta);
}

struct problem {
    bool transpose_a, transpose_b;
    int m, n, k;
    float alpha, beta;
    struct matrix a, b, c;
};

static bool is_known(cublasComputeType_t compute)
{
    return compute == CUBLAS_COMPUTE_32F || compute == CUBLAS_COMPUTE_32F_PEDANTIC ||
           compute == CUBLAS_COMPUTE_32F_FAST_TF32;
}

/* Pairs of types that cuBLAS has for f32 sums: A and B alike; C like them, or f32. TF32 is a way to
 * take f32 alone. */
static bool is_supported(const struct problem &p, cublasComputeType_t compute)
{
    return is_type(p.a.type) && p.a.type == p.b.type &&
           (p.c.type == p.a.type || p.c.type == CUDA_R_32F) &&
           (compute != CUBLAS_COMPUTE_32F_FAST_TF32 || p.a.type == CUDA_R_32F);
}

static int at_least_1(int n)
{
    return n > 1 ? n : 1;
}

static cublasStatus_t describe(struct problem *p, cublasHandle_t handle,
                               cublasOperation_t transpose_a, cublasOperation_t transpose_b, int m,
                               int n, int k, const void *alpha, cudaDataType_t a_type, int lda,
                               cudaDataType_t b_type, int ldb, const void *beta,
                               cudaDataType_t c_type, int ldc, cublasComputeType_t compute)
{
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    p->transpose_a = transpose_a != CUBLAS_OP_N;
    p->transpose_b = transpose_b != CUBLAS_OP_N;
    p->m = m;
    p->n = n;
    p->k = k;
    p->a = {nullptr, a_type, p->transpose_a ? k : m, p->transpose_a ? m : k, lda};
    p->b = {nullptr, b_type, p->transpose_b ? n : k, p->transpose_b ? k : n, ldb};
    p->c = {nullptr, c_type, m, n, ldc};
    if (m < 0 || n < 0 || k < 0 || lda < at_least_1(p->a.rows) || ldb < at_least_1(p->b.rows) ||
        ldc < at_least_1(m) || !alpha || !beta)
        return CUBLAS_STATUS_INVALID_VALUE;
    if (!is_known(compute) || !is_supported(*p, compute))
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (handle->pointer_mode == CUBLAS_POINTER_MODE_HOST) {
        require_host(alpha, "cuBLAS's alpha");
        require_host(beta, "cuBLAS's beta");
    } else {
        require_device(alpha, sizeof(float), "cuBLAS's alpha");
        require_device(beta, sizeof(float), "cuBLAS's beta");
        alpha = host_view(alpha);
        beta = host_view(beta);
    }
    if (handle->workspace)
        require_device(handle->workspace, handle->workspace_bytes, "cuBLAS's workspace");
    p->alpha = *(const float *)alpha;
    p->beta = *(const float *)beta;
    let_device_go_on(); /* and fail: cuBLAS asks it */
    return fails(FAIL_CUBLAS) || device_status() != cudaSuccess ? CUBLAS_STATUS_EXECUTION_FAILED
                                                                : CUBLAS_STATUS_SUCCESS;
}

/* Calls f(pointer, bytes) for each column. */
template <typename F> static void each_column(const struct matrix &m, F f)
{
    for (int i = 0; i < m.columns; i++)
        f((const char *)m.data + (size_t)i * (size_t)m.step * size_of(m.type),
          (size_t)m.rows * size_of(m.type));
}

static void check_operand(const struct matrix &m, const char *what)
{
    require_device(m.data, bytes_of(m), what);
    if ((uintptr_t)m.data % size_of(m.type))
        report("align", "%s: %p is not a multiple of an element's %zu bytes", what, m.data,
               size_of(m.type));
}

static void require_set(const struct matrix &m, const char *what)
{
    each_column(m, [=](const void *p, size_t bytes) { require_set(p, bytes, what); });
}

/* Whether m may share elements with a product's C. */
static bool may_overlap(const struct matrix &m, const std::vector<struct problem> &problems)
{
    const char *p = (const char *)m.data;
    for (const struct problem &other : problems) {
        const char *c = (const char *)other.c.data;
        if (p < c + bytes_of(other.c) && c < p + bytes_of(m))
            return true;
    }
    return false;
}

/* Products of one call run at once: none may write what another, or it itself, reads or writes. */
static void check_conflicts(const std::vector<struct problem> &problems)
{
    access_begin_grid();
    for (size_t i = 0; i < problems.size(); i++) {
        const struct problem &p = problems[i];
        access_begin_block(i);
        auto check = [i](enum access_kind kind, unsigned thread, const struct matrix &m) {
            each_column(m, [=](const void *q, size_t bytes) {
                if (conflicts(kind, thread, q, bytes))
                    report("race",
                           "cuBLAS's product %zu of a call: its C overlaps A, B or "
                           "another product's C, %s",
                           i, place_in_device_memory(q).c_str());
            });
        };
        if (may_overlap(p.a, problems))
            check(access_kind::READ, 0, p.a);
        if (may_overlap(p.b, problems))
            check(access_kind::READ, 0, p.b);
        if (problems.size() > 1 || may_overlap(p.a, problems) || may_overlap(p.b, problems))
            check(access_kind::WRITE, 1, p.c);
    }
}

static void run(const std::vector<struct problem> &problems)
{
    for (const struct problem &p : problems) {
        if (p.m == 0 || p.n == 0)
            return;
        check_operand(p.c, "cuBLAS's C");
        if (p.k > 0) {
            check_operand(p.a, "cuBLAS's A");
            check_operand(p.b, "cuBLAS's B");
            require_set(p.a, "cuBLAS's A");
            require_set(p.b, "cuBLAS's B");
        }
        if (p.beta != 0)
            require_set(p.c, "cuBLAS's C");
    }
    check_conflicts(problems);
    for (const struct problem &p : problems) {
        multiply(p.transpose_a, p.transpose_b, p.m, p.n, p.k, p.alpha, p.a, p.b, p.beta, p.c);
        each_column(p.c, mark_set);
    }
}

/* An array of pointers. Some kernels read two of them at once, and refuse one that begins elsewhere
 * (NVIDIA/FasterTransformer, issue 149). */
static void check_array(const void *array, size_t bytes, const char *what)
{
    require_device(array, bytes, what);
    require_set(array, bytes, what);
    if ((uintptr_t)array % 16)
        report("align", "%s: %p is not a multiple of 16 bytes", what, array);
}

/* Batches of pointers: tensor cores read 16 bytes at once where k is a multiple of as many (cuBLAS
 * Library, cublasGemmBatchedEx). */
static void check_batch_alignment(const struct problem &p, const char *what, const void *q,
                                  bool tensor_cores)
{
    size_t size = size_of(p.a.type), due = 1;
    if (!tensor_cores)
        return;
    if ((size_t)p.k * size % 16 == 0)
        due = 16;
    else if ((size_t)p.k * size % 4 == 0)
        due = 4;
    if ((uintptr_t)q % due)
        report("align", "%s: with k = %d, %p must be a multiple of %zu bytes", what, p.k, q, due);
}

} // namespace cudasim

using namespace cudasim;

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = new struct cudasim_cublas();
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    wait_for_device();
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    handle->workspace = nullptr; /* as cuBLAS does */
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t bytes)
{
    require_device(workspace, bytes, "cuBLAS's workspace");
    if ((uintptr_t)workspace % 256)
        return CUBLAS_STATUS_INVALID_VALUE;
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    handle->math = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    handle->pointer_mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transpose_a,
                                          cublasOperation_t transpose_b, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType_t a_type,
                                          int lda, long long a_stride, const void *b,
                                          cudaDataType_t b_type, int ldb, long long b_stride,
                                          const void *beta, void *c, cudaDataType_t c_type, int ldc,
                                          long long c_stride, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    struct problem p;
    cublasStatus_t status = describe(&p, handle, transpose_a, transpose_b, m, n, k, alpha, a_type,
                                     lda, b_type, ldb, beta, c_type, ldc, compute);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (count < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    enqueue(handle->stream, [=]() mutable {
        std::vector<struct problem> problems;
        for (long long i = 0; i < count; i++) {
            p.a.data = (const char *)a + i * a_stride * (long long)size_of(a_type);
            p.b.data = (const char *)b + i * b_stride * (long long)size_of(b_type);
            p.c.data = (const char *)c + i * c_stride * (long long)size_of(c_type);
            problems.push_back(p);
        }
        run(problems);
    });
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transpose_a,
                            cublasOperation_t transpose_b, int m, int n, int k, const void *alpha,
                            const void *a, cudaDataType_t a_type, int lda, const void *b,
                            cudaDataType_t b_type, int ldb, const void *beta, void *c,
                            cudaDataType_t c_type, int ldc, cublasComputeType_t compute,
                            cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, transpose_a, transpose_b, m, n, k, alpha, a, a_type,
                                      lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc, 0, 1,
                                      compute, algorithm);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t transpose_a,
                                   cublasOperation_t transpose_b, int m, int n, int k,
                                   const void *alpha, const void *const *a, cudaDataType_t a_type,
                                   int lda, const void *const *b, cudaDataType_t b_type, int ldb,
                                   const void *beta, void *const *c, cudaDataType_t c_type, int ldc,
                                   int count, cublasComputeType_t compute, cublasGemmAlgo_t)
{
    struct problem p;
    cublasStatus_t status = describe(&p, handle, transpose_a, transpose_b, m, n, k, alpha, a_type,
                                     lda, b_type, ldb, beta, c_type, ldc, compute);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    if (count < 0)
        return CUBLAS_STATUS_INVALID_VALUE;
    bool tensor_cores = a_type != CUDA_R_32F || compute == CUBLAS_COMPUTE_32F_FAST_TF32 ||
                        handle->math == CUBLAS_TF32_TENSOR_OP_MATH;
    enqueue(handle->stream, [=]() mutable {
        size_t bytes = (size_t)count * sizeof *a;
        check_array(a, bytes, "cuBLAS's array of A");
        check_array(b, bytes, "cuBLAS's array of B");
        check_array(c, bytes, "cuBLAS's array of C");
        std::vector<struct problem> problems;
        for (int i = 0; i < count; i++) {
            p.a.data = ((const void **)host_view(a))[i];
            p.b.data = ((const void **)host_view(b))[i];
            p.c.data = ((const void **)host_view(c))[i];
            check_batch_alignment(p, "cuBLAS's A", p.a.data, tensor_cores);
            check_batch_alignment(p, "cuBLAS's B", p.b.data, tensor_cores);
            check_batch_alignment(p, "cuBLAS's C", p.c.data, tensor_cores);
            problems.push_back(p);
        }
        run(problems);
    });
    return CUBLAS_STATUS_SUCCESS;
}

struct status_text {
    cublasStatus_t status;
    const char *name, *text;
};

static const struct status_text statuses[] = {
    {CUBLAS_STATUS_SUCCESS, "CUBLAS_STATUS_SUCCESS", "success"},
    {CUBLAS_STATUS_NOT_INITIALIZED, "CUBLAS_STATUS_NOT_INITIALIZED",
     "the library was not initialized"},
    {CUBLAS_STATUS_ALLOC_FAILED, "CUBLAS_STATUS_ALLOC_FAILED", "the resource allocation failed"},
    {CUBLAS_STATUS_INVALID_VALUE, "CUBLAS_STATUS_INVALID_VALUE",
     "an unsupported value or parameter was passed to the function"},
    {CUBLAS_STATUS_EXECUTION_FAILED, "CUBLAS_STATUS_EXECUTION_FAILED",
     "the function failed to launch on the GPU"},
    {CUBLAS_STATUS_NOT_SUPPORTED, "CUBLAS_STATUS_NOT_SUPPORTED",
     "the functionality requested is not supported"},
};

static const struct status_text &text_of(cublasStatus_t status)
{
    static const struct status_text unknown = {CUBLAS_STATUS_INTERNAL_ERROR,
                                               "CUBLAS_STATUS_INTERNAL_ERROR",
                                               "an internal operation failed"};
    for (const struct status_text &s : statuses)
        if (s.status == status)
            return s;
    return unknown;
}

const char *cublasGetStatusName(cublasStatus_t status)
{
    return text_of(status).name;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return text_of(status).text;
}
