/* What the CUDA device says when it is not to be had, when its memory is full and when a call
 * fails: one clear line, and an exit status of sysexits.h. Each case is this program run anew. The
 * faults are the simulator's (tests/cudasim), so they are tried there alone. */
#include "common/util/diag.h"
#include "kernels/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/c/cuda_buffers.h"

static const char *self;
static bool simulated;

/* ---- the cases, as run by the child ---- */

/* A bit of everything: a weight that is converted, products, kernels, copies both ways. */
static void work(void)
{
    enum { ROWS = 5, WIDTH = 32 };
    struct device *d = open_cuda(BF16);
    d->advice = "lower --batch-tokens";
    float *values = draw_array(WIDTH * WIDTH), *x = draw_array(ROWS * WIDTH);
    float *y = d->alloc(d, ROWS * WIDTH * sizeof *y),
          *x_d = copy_of(d, x, ROWS * WIDTH * sizeof *x);
    const float *gain = d->import(d, x, WIDTH * sizeof *gain);
    void *in = d->alloc(d, ROWS * WIDTH * 2);
    struct weight *w = d->weight_create(d, values, F32, WIDTH, WIDTH);
    d->rmsnorm(d, x_d, gain, 1e-5f, ROWS, WIDTH, in, BF16);
    d->matmul(d, w, in, NULL, y, ROWS, false);
    d->convert(d, y, F32, x_d, F32, ROWS * WIDTH);
    d->clear(d, y, sizeof *y);
    fetch(d, x, x_d);
    d->weight_free(d, w);
    d->release(d, y);
    d->release(d, in);
    release_buffers(d);
    d->close(d);
    free(values);
    free(x);
}

/* A kernel on what "auto" opens. */
static void work_on_auto(int gpu)
{
    struct device *d = device_open(
        &(struct device_request){.name = "auto", .compute = COMPUTE_F32, .threads = 1, .gpu = gpu});
    fprintf(stderr, "%s\n", d->name);
    float one = 1, *x = d->alloc(d, sizeof *x);
    d->upload(d, x, &one, sizeof one);
    d->scale(d, 2, x, 1);
    d->release(d, x);
    d->close(d);
}

static void fill_memory(const char *advice)
{
    struct device *d = open_cuda(F32);
    d->advice = advice;
    d->alloc(d, (size_t)1 << 42);
}

/* Many pieces, and then one of nearly all the memory that they had. */
static void grow(void)
{
    enum { PIECES = 40, PIECE = 1 << 20 };
    struct device *d = open_cuda(F32);
    void *pieces[PIECES];
    for (int i = 0; i < PIECES; i++)
        pieces[i] = d->alloc(d, PIECE);
    for (int i = 0; i < PIECES; i++)
        d->release(d, pieces[i]);
    d->release(d, d->alloc(d, (size_t)PIECES * PIECE));
    d->close(d);
}

static int run_case(const char *name)
{
    if (!strcmp(name, "grow"))
        grow();
    if (!strcmp(name, "work"))
        work();
    if (!strcmp(name, "full"))
        fill_memory("lower --batch-tokens");
    if (!strcmp(name, "full without advice"))
        fill_memory(NULL);
    if (!strcmp(name, "numbers")) {
        struct device *d = open_cuda(F32);
        d->close(d);
        fprintf(stderr, "numbered by %s", getenv("CUDA_DEVICE_ORDER"));
    }
    if (!strcmp(name, "open 1023"))
        device_open(&(struct device_request){.name = "cuda:1023", .compute = COMPUTE_F32});
    if (!strcmp(name, "open auto"))
        work_on_auto(0);
    if (!strcmp(name, "open auto as rank 1023"))
        work_on_auto(1023);
    return EXIT_SUCCESS;
}

/* ---- the tests ---- */

/* Runs a case with a variable of the environment set; its exit status, or -1 when it ended by a
 * signal; what it said on standard error is left in `said`. */
static int status_of(const char *name, const char *variable, const char *value, char said[4096])
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (variable)
            setenv(variable, value, 1);
        execl("/proc/self/exe", self, name, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t have = 0;
    for (ssize_t n; (n = read(ends[0], said + have, 4095 - have)) > 0;)
        have += (size_t)n;
    said[have] = 0;
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_says(const char *said, const char *text)
{
    if (!strstr(said, text))
        fail_msg("'%s' does not say '%s'", said, text);
}

/* One line, of the program's name and a message. */
static void assert_one_line(const char *said)
{
    const char *end = strchr(said, '\n');
    assert_true(!strncmp(said, "duq: ", 5) && end && !end[1]);
}

static void full_memory_names_what_was_asked_for_and_what_to_lower(void **state)
{
    (void)state;
    char said[4096];
    assert_int_equal(status_of("full", NULL, NULL, said), EX_OSERR);
    assert_one_line(said);
    assert_says(said, "out of memory on GPU 0: 4194304.0 MiB were asked for, ");
    assert_says(said, " MiB are free; lower --batch-tokens");
    assert_int_equal(status_of("full without advice", NULL, NULL, said), EX_OSERR);
    assert_says(said, " MiB are free; the rest is held by the model or by other programs");
}

static void a_device_too_small_for_itself_says_so(void **state)
{
    (void)state;
    if (!simulated)
        skip();
    char said[4096];
    assert_int_equal(status_of("work", "DUQ_CUDASIM_MEMORY", "1000000", said), EX_OSERR);
    assert_one_line(said);
    assert_says(said,
                "out of memory on GPU 0: 4.0 MiB were asked for, 1.0 of its 1.0 MiB are free");
}

/* The driver's pool may have it in pieces, or not have it yet. */
static void what_was_released_can_be_had_in_one_piece(void **state)
{
    (void)state;
    char said[4096];
    if (!simulated)
        skip();
    setenv("DUQ_CUDASIM_STREAMS", "deferred:1", 1);
    assert_int_equal(status_of("grow", "DUQ_CUDASIM_MEMORY", "60000000", said), EXIT_SUCCESS);
    unsetenv("DUQ_CUDASIM_STREAMS");
    assert_int_equal(status_of("grow", "DUQ_CUDASIM_MEMORY", "60000000", said), EXIT_SUCCESS);
    assert_string_equal(said, "");
    assert_int_equal(status_of("work", "DUQ_CUDASIM_FAIL", "malloc:4", said), EXIT_SUCCESS);
}

static void a_gpu_that_is_not_there_is_unavailable(void **state)
{
    (void)state;
    char said[4096];
    assert_int_equal(status_of("open 1023", NULL, NULL, said), EX_UNAVAILABLE);
    assert_one_line(said);
    assert_says(said, "there is no GPU 1023: this machine has ");
    assert_int_equal(status_of("open auto as rank 1023", NULL, NULL, said), EX_UNAVAILABLE);
    assert_one_line(said);
    assert_says(said, "process 1024 of this host sees ");
    assert_says(said, "give --device cuda:0");
}

static void gpus_have_the_numbers_of_nvidia_smi(void **state)
{
    (void)state;
    char said[4096];
    assert_int_equal(status_of("numbers", NULL, NULL, said), EXIT_SUCCESS);
    assert_says(said, "numbered by PCI_BUS_ID");
    assert_int_equal(status_of("numbers", "CUDA_DEVICE_ORDER", "FASTEST_FIRST", said),
                     EXIT_SUCCESS);
    assert_says(said, "numbered by FASTEST_FIRST");
}

static void a_gpu_that_does_not_answer_leaves_the_others(void **state)
{
    (void)state;
    char said[4096];
    if (!simulated)
        skip();
    assert_int_equal(status_of("open auto", "DUQ_CUDASIM_DRIVER", "lost-gpu", said), 0);
    assert_string_equal(said, "cuda\n");
}

/* And "auto" is the processor then. */
static void a_driver_or_gpu_that_will_not_do_is_named(void **state)
{
    (void)state;
    static const char *const drivers[][2] = {
        {"none", "no NVIDIA driver is installed; compute on the processor (cpu)"},
        {"old", "the NVIDIA driver is too old: it knows CUDA 11.2, this program was built with "},
        {"no-gpu", "the NVIDIA driver finds no GPU"},
        {"old-gpu", "GPU 0, CUDA simulator, has compute capability 7.0; 8.0 (Ampere) or later is "
                    "needed"}};
    if (!simulated)
        skip();
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        char said[4096];
        assert_int_equal(status_of("work", "DUQ_CUDASIM_DRIVER", drivers[i][0], said),
                         EX_UNAVAILABLE);
        assert_one_line(said);
        assert_says(said, drivers[i][1]);
        assert_says(said, "compute on the processor (cpu)");
        assert_int_equal(status_of("open auto", "DUQ_CUDASIM_DRIVER", drivers[i][0], said), 0);
        assert_string_equal(said, "cpu\n");
    }
    char said[4096];
    assert_int_equal(status_of("open auto", "DUQ_CUDASIM_DRIVER", "good", said), 0);
    assert_string_equal(said, "cuda\n");
}

/* Lets the first, second, ... call of a kind fail, until the case has no more of them. */
static void every_failing_call_ends_in_a_message(void **state)
{
    (void)state;
    static const struct {
        const char *call;
        int at_least; /* of them the case makes */
        const char *text;
    } kinds[] = {
        {"memory", 6, "out of memory"},
        {"memcpy", 5, " from cudaMemcpyAsync in kernels/cuda/"},
        {"launch", 2, " from kernel "},
        {"kernel", 2, "an illegal memory access was encountered"},
        {"cublas", 1, " from cublasGemmEx in kernels/cuda/matmul.cu"},
    };
    if (!simulated)
        skip();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        int failed = 0, status;
        char said[4096], fault[64];
        for (;; failed++) {
            assert_true(failed < 100);
            snprintf(fault, sizeof fault, "%s:%d", kinds[i].call, failed + 1);
            status = status_of("work", "DUQ_CUDASIM_FAIL", fault, said);
            if (status == EXIT_SUCCESS)
                break;
            if (status != EX_OSERR)
                fail_msg("%s: status %d: %s", fault, status, said);
            assert_one_line(said);
            assert_says(said, kinds[i].text);
        }
        assert_string_equal(said, "");
        assert_true(failed >= kinds[i].at_least);
    }
}

static void a_call_that_fails_where_memory_is_full_says_so(void **state)
{
    (void)state;
    static const char *const faults[] = {"launch:1", "cublas:1"};
    if (!simulated)
        skip();
    for (int full = 0; full < 2; full++)
        for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
            char said[4096];
            setenv("DUQ_CUDASIM_MEMORY", full ? "200000000" : "2000000000", 1);
            assert_int_equal(status_of("work", "DUQ_CUDASIM_FAIL", faults[i], said), EX_OSERR);
            unsetenv("DUQ_CUDASIM_MEMORY");
            assert_one_line(said);
            assert_int_equal(strstr(said, "MiB are free: less at once may fit") != NULL, full);
        }
}

/* A GPU is found to have failed some time later, by whatever asks it then. */
static void a_fault_that_is_found_late_is_named_all_the_same(void **state)
{
    (void)state;
    if (!simulated)
        skip();
    for (int seed = 0; seed < 30; seed++) {
        char said[4096], streams[64];
        snprintf(streams, sizeof streams, "deferred:%d", seed);
        setenv("DUQ_CUDASIM_STREAMS", streams, 1);
        assert_int_equal(status_of("work", "DUQ_CUDASIM_FAIL", "kernel:2", said), EX_OSERR);
        unsetenv("DUQ_CUDASIM_STREAMS");
        assert_one_line(said);
        assert_says(said, "an illegal memory access was encountered");
        assert_says(said, "or from work queued before it");
    }
}

int main(int argc, char **argv)
{
    self = argv[0];
    simulated = choose_cuda_plugin();
    if (argc > 1)
        return run_case(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_memory_names_what_was_asked_for_and_what_to_lower),
        cmocka_unit_test(a_device_too_small_for_itself_says_so),
        cmocka_unit_test(what_was_released_can_be_had_in_one_piece),
        cmocka_unit_test(a_gpu_that_is_not_there_is_unavailable),
        cmocka_unit_test(gpus_have_the_numbers_of_nvidia_smi),
        cmocka_unit_test(a_gpu_that_does_not_answer_leaves_the_others),
        cmocka_unit_test(a_driver_or_gpu_that_will_not_do_is_named),
        cmocka_unit_test(every_failing_call_ends_in_a_message),
        cmocka_unit_test(a_call_that_fails_where_memory_is_full_says_so),
        cmocka_unit_test(a_fault_that_is_found_late_is_named_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
