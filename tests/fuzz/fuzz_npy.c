/* Arrays of probabilities. A first byte w: their weights are the file itself; m: members are kept.
 */
#include "common/stream/npy_predictions.h"
#include "tests/fuzz/harness.h"

void fuzz_start(void)
{
}

void fuzz_one(const char *data, size_t size)
{
    if (!size)
        return;
    const char *path = fuzz_file("in.npy", data + 1, size - 1);
    struct npy_options o = {.path = path, .keep_members = *data == 'm'};
    if (*data == 'w')
        o.weights = path;
    struct npy_predictions *p = npy_predictions_open(&o);
    struct prediction out;
    for (size_t i = 0; i < npy_texts(p); i++)
        npy_next(p, "id", &out);
    npy_predictions_close(p);
}
