/* The CPU's matrix products, on every path that the processor has, as GFLOP/s and as a share of
 * what the processor multiplies from registers alone: on random data, for some processors slow down
 * on such. Then the bandwidth of memory. Times are the fastest of several.
 * usage: products [PATH...]    DUQ_THREADS sets the threads
 *        products --peak       the best path's GFLOP/s from registers alone: in f32, in bf16 (0: it
 *                              has no such products) */
#include "common/util/mem.h"
#include "common/util/threads.h"
#include "kernels/cpu/cpu.h"
#include "tests/c/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __x86_64__
#include <immintrin.h>
#include <sys/syscall.h>
#endif

/* One thread's times are of its own processor time, so that a busy machine shows less. */
static double now(void)
{
    struct timespec t;
    clock_gettime(threads_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t seed = 1;

/* About as activations and weights are spread; half of the signs differ. */
static float draw(void)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += random_number(&seed) / 2;
    return sum;
}

/* ---- peaks ---- */

enum { ROUNDS = 200000, CHAINS = 12 };

typedef double peak_loop(const uint32_t *random);

#ifdef __x86_64__
#define FOR_CHAINS _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++)

__attribute__((target("avx512f"))) static double avx512_loop(const uint32_t *random)
{
    __m512 sum[2][CHAINS], a = _mm512_loadu_ps(random), b = _mm512_loadu_ps(random + 16);
    FOR_CHAINS
    {
        sum[0][c] = _mm512_loadu_ps(random + 32 * c);
        sum[1][c] = _mm512_loadu_ps(random + 32 * c + 16);
    }
    for (int i = 0; i < ROUNDS; i++) {
        FOR_CHAINS
        {
            sum[0][c] = _mm512_fmadd_ps(a, b, sum[0][c]);
            sum[1][c] = _mm512_fmadd_ps(a, b, sum[1][c]);
        }
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    FOR_CHAINS sum[0][0] += sum[0][c] + sum[1][c];
    volatile float sink = _mm512_reduce_add_ps(sum[0][0]);
    (void)sink;
    return 2.0 * 16 * 2 * CHAINS * ROUNDS;
}

__attribute__((target("avx512bf16,avx512f"))) static double bf16_loop(const uint32_t *random)
{
    __m512 sum[2][CHAINS];
    __m512i a = _mm512_loadu_si512(random), b = _mm512_loadu_si512(random + 16);
    FOR_CHAINS
    {
        sum[0][c] = _mm512_loadu_ps(random + 32 * c);
        sum[1][c] = _mm512_loadu_ps(random + 32 * c + 16);
    }
    for (int i = 0; i < ROUNDS; i++) {
        FOR_CHAINS
        {
            sum[0][c] = _mm512_dpbf16_ps(sum[0][c], (__m512bh)a, (__m512bh)b);
            sum[1][c] = _mm512_dpbf16_ps(sum[1][c], (__m512bh)a, (__m512bh)b);
        }
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    FOR_CHAINS sum[0][0] += sum[0][c] + sum[1][c];
    volatile float sink = _mm512_reduce_add_ps(sum[0][0]);
    (void)sink;
    return 4.0 * 16 * 2 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double avx2_loop(const uint32_t *random)
{
    __m256 sum[CHAINS], a = _mm256_loadu_ps((const float *)random), b = a + a;
    FOR_CHAINS sum[c] = _mm256_loadu_ps((const float *)random + 8 * c);
    for (int i = 0; i < ROUNDS; i++) {
        FOR_CHAINS sum[c] = _mm256_fmadd_ps(a, b, sum[c]);
        __asm__ volatile("" : "+x"(a), "+x"(b));
    }
    FOR_CHAINS sum[0] += sum[c];
    volatile float sink = sum[0][0];
    (void)sink;
    return 2.0 * 8 * CHAINS * ROUNDS;
}

__attribute__((target("amx-tile,amx-bf16"))) static double amx_loop(const uint32_t *random)
{
    static const struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1,
                .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
    _tile_loadconfig(&config);
    _tile_loadd(4, random, 64);
    _tile_loadd(5, random + 256, 64);
    _tile_loadd(6, random + 512, 64);
    _tile_loadd(7, random + 768, 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int i = 0; i < ROUNDS / 16; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_release();
    return 4.0 * 2 * 16 * 16 * 32 * (ROUNDS / 16);
}
#endif

/* What a path's products are a share of; NULL where nothing is known of it. */
static peak_loop *loop_of(const char *path, enum dtype compute)
{
#ifdef __x86_64__
    if (!strcmp(path, "amx") && compute == BF16)
        return amx_loop;
    if (!strcmp(path, "avx512bf16") && compute == BF16)
        return bf16_loop;
    if (!strcmp(path, "avx2"))
        return avx2_loop;
    if (strcmp(path, "plain") != 0)
        return avx512_loop;
#endif
    (void)path;
    (void)compute;
    return NULL;
}

struct peaks {
    peak_loop *loop;
    uint32_t random[1024]; /* small numbers of either type */
    double operations[4096];
};

static void loop_piece(void *context, size_t piece)
{
    struct peaks *p = context;
    p->operations[piece] = p->loop(p->random);
}

/* GFLOP/s of all threads. */
static double peak(peak_loop *loop)
{
    if (!loop)
        return 0;
    static struct peaks p;
    p.loop = loop;
    for (int i = 0; i < 1024; i++)
        p.random[i] = (uint32_t)bf16_from_f32(draw()) | (uint32_t)bf16_from_f32(draw() * 0.05f)
                                                            << 16;
    size_t pieces = 16 * (size_t)threads_count();
    double best = 0;
    for (int trial = 0; trial < 3; trial++) {
        double began = now(), sum = 0;
        threads_run(pieces, loop_piece, &p);
        double seconds = now() - began;
        for (size_t i = 0; i < pieces; i++)
            sum += p.operations[i];
        best = sum / seconds > best ? sum / seconds : best;
    }
    return 1e-9 * best;
}

/* ---- products ---- */

static void fill(void *x, enum dtype type, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        dtype_store(type, x, i, i < 100003 ? draw() * scale : dtype_load(type, x, i - 100003));
}

static double seconds_of(struct device *d, const struct weight *w, bool backward, const void *x,
                         float *y, int rows)
{
    double best = 1e9, all = 0;
    for (int trial = 0; trial < 3 || (all < 0.3 && trial < 50); trial++) {
        double began = now();
        if (backward)
            d->matmul_backward(d, w, x, y, rows, false);
        else
            d->matmul(d, w, x, NULL, y, rows, false);
        double seconds = now() - began;
        all += seconds;
        best = seconds < best ? seconds : best;
    }
    return best;
}

static void bench_shape(struct device *d, int out, int in, bool backward, double best)
{
    static const int rows[] = {1, 16, 64, 512, 2048};
    size_t n = (size_t)out * (size_t)in, widest = (size_t)(out > in ? out : in);
    void *values = xaligned(n * 2), *x = xaligned(2048 * widest * 4);
    float *y = xaligned(2048 * widest * sizeof *y);
    fill(values, BF16, n, 0.05f);
    fill(x, d->compute, 2048 * widest, 1);
    struct weight *w = d->weight_create(d, values, BF16, out, in);
    printf("%-5s %5d x %-5d %-9s", d->compute == BF16 ? "bf16" : "f32", out, in,
           backward ? "backward" : "");
    double seconds = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        enum { PATIENCE = 2 };
        if (i &&
            seconds * rows[i] / rows[i - 1] > PATIENCE) /* a slow path says enough in few rows */
            break;
        seconds = seconds_of(d, w, backward, x, y, rows[i]);
        double rate = 2e-9 * (double)n * rows[i] / seconds;
        printf(best > 0 ? " %7.0f (%2.0f %%)" : " %7.1f", rate, 100 * rate / best);
        fflush(stdout);
    }
    putchar('\n');
    d->weight_free(d, w);
    free(values);
    free(x);
    free(y);
}

static void bench_path(const struct path *path)
{
    static const int shapes[][2] = {{576, 576}, {1536, 576}, {4096, 4096}, {14336, 4096}};
    for (enum dtype compute = F32; compute <= BF16; compute++) {
        if (compute == BF16 && !path->bf16.multiply)
            continue;
        struct device *d = cpu_device_on_path(compute, 0, path);
        double best = peak(loop_of(path->name, compute));
        printf("%s, %s: %.0f GFLOP/s from registers; rows 1, 16, 64, 512, 2048:\n", d->description,
               compute == BF16 ? "bf16" : "f32", best);
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            bench_shape(d, shapes[s][0], shapes[s][1], false, best);
        bench_shape(d, 1536, 576, true, best);
        bench_shape(d, 4096, 4096, true, best);
        d->close(d);
    }
}

/* ---- bandwidth ---- */

struct reading {
    const uint64_t *words;
    size_t n;
    uint64_t sums[4096];
};

typedef uint64_t wide __attribute__((vector_size(64)));

/* Four chains, so that loads and not additions are what it waits for. */
static inline __attribute__((always_inline)) uint64_t sum_of(const wide *from, size_t n)
{
    wide sum[4] = {{0}};
    for (size_t i = 0; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++)
            sum[j] += from[i + (size_t)j];
    sum[0] += sum[1] + sum[2] + sum[3];
    return sum[0][0] ^ sum[0][7];
}

#ifdef __x86_64__
__attribute__((target("avx512f"))) static uint64_t sum_avx512(const wide *from, size_t n)
{
    return sum_of(from, n);
}

__attribute__((target("avx2"))) static uint64_t sum_avx2(const wide *from, size_t n)
{
    return sum_of(from, n);
}
#endif

static void read_piece(void *context, size_t piece)
{
    struct reading *r = context;
    const wide *from = (const wide *)(r->words + piece * r->n);
    size_t n = r->n / 8;
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        r->sums[piece] += sum_avx512(from, n);
    else if (__builtin_cpu_supports("avx2"))
        r->sums[piece] += sum_avx2(from, n);
    else
#endif
        r->sums[piece] += sum_of(from, n);
}

/* GB/s of all threads, reading so many bytes each again and again. */
static double bandwidth(size_t bytes, int rounds)
{
    static struct reading r;
    size_t pieces = (size_t)threads_count();
    uint64_t *words = xaligned(pieces * bytes);
    memset(words, 1, pieces * bytes);
    r.words = words;
    r.n = bytes / sizeof *words;
    double began = now();
    for (int i = 0; i < rounds; i++)
        threads_run(pieces, read_piece, &r);
    double seconds = now() - began;
    free(words);
    return 1e-9 * (double)(pieces * bytes) * rounds / seconds;
}

static int print_peaks(void)
{
    const struct path *best = paths_here()[0];
    double f32 = peak(loop_of(best->name, F32));
    double bf16 = best->bf16.multiply ? peak(loop_of(best->name, BF16)) : 0;
    printf("%.0f %.0f\n", f32, bf16);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--peak"))
        return print_peaks();
    for (const struct path *const *p = paths_here(); *p; p++) {
        bool wanted = argc == 1;
        for (int i = 1; i < argc; i++)
            wanted |= !strcmp(argv[i], (*p)->name);
        if (wanted)
            bench_path(*p);
    }
    printf("reading: %.0f GB/s from memory, %.0f GB/s from the second-level cache\n",
           bandwidth((size_t)256 << 20, 4), bandwidth((size_t)512 << 10, 4000));
    return 0;
}
