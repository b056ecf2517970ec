#include "common/plan/plan.h"

#include "common/util/diag.h"
#include "common/util/json.h"

#include <jansson.h>

static const char *const resource_names[RESOURCES] = {"compute", "memory", "link"};

static enum resource limiting(const struct operation_count *o)
{
    enum resource most = COMPUTE;
    for (enum resource r = MEMORY; r < RESOURCES; r++)
        if (o->limited[r] > o->limited[most])
            most = r;
    return most;
}

static double memory_taken(const struct plan *p)
{
    return p->weights + p->adapter + p->working;
}

/* ---- the table ---- */

static void print_operation(const struct operation_count *o, FILE *out)
{
    fprintf(out, "%-28s %9lu %9lu %11.4g %10.4g %10.4g %10.4g  %s\n", o->name, o->calls,
            o->launches, 1e-12 * o->flops, 1e-9 * o->bytes_read, 1e-9 * o->bytes_written,
            o->seconds, resource_names[limiting(o)]);
}

static void print_machine(const struct machine *m, FILE *out)
{
    fprintf(out,
            "machine    %s: %.4g TFLOP/s in bf16 products, %.4g in f32, %.5g GB/s, %.4g GB; link "
            "to the host %.4g GB/s\n"
            "           (%s)\n",
            m->title, 1e-12 * m->product_rate, 1e-12 * m->f32_rate, 1e-9 * m->bandwidth,
            1e-9 * m->memory, 1e-9 * m->link, m->source);
}

static void print_work(const struct plan *p, FILE *out)
{
    const struct plan_settings *s = &p->settings;
    fprintf(out, "work       %s", s->stage == PLAN_SCORE ? "score" : "train, one epoch");
    if (s->adapter.rank)
        fprintf(out, ", adapter of rank %d", s->adapter.rank);
    if (s->stage == PLAN_SCORE)
        fprintf(out, ", %d tokens a pass\n", s->score.batch_tokens);
    else
        fprintf(out, ", %d examples a pass, %d passes a step\n", s->batch, s->accumulate);
    fprintf(out, "           %lu records, %lu tokens; %lu computed (%.1f %%) in %lu passes",
            p->records, p->tokens, p->computed, 100.0 * (double)p->computed / (double)p->tokens,
            p->passes);
    if (s->stage == PLAN_SCORE)
        fprintf(out, ", %lu shared prefixes", p->prefixes);
    if (s->n_validation)
        fprintf(out, ", validation on %d records after it", s->n_validation);
    fprintf(out, "\n");
}

static void print_bound(const struct plan *p, FILE *out)
{
    double bound = plan_bound(p), launches = plan_with_launches(p), n = (double)p->records;
    fprintf(out,
            "bound      %.4g s: at most %.4g records/s (limited by compute %.0f %%, memory "
            "%.0f %%, link %.0f %%)\n",
            bound, n / bound, 100 * p->total.limited[COMPUTE] / bound,
            100 * p->total.limited[MEMORY] / bound, 100 * p->total.limited[LINK] / bound);
    fprintf(out,
            "           %.4g s, %.4g records/s, with launches of %.3g us each that nothing hides "
            "(assumed)\n",
            launches, n / launches, 1e6 * p->machine.launch);
    if (p->settings.stage == PLAN_TRAIN)
        fprintf(out, "           %g epochs: %.4g s, with launches %.4g s\n", p->settings.epochs,
                p->settings.epochs * bound, p->settings.epochs * launches);
}

static void print_memory(const struct plan *p, FILE *out)
{
    double taken = memory_taken(p), left = p->machine.memory - taken;
    fprintf(out, "memory     weights %.2f GB, adapter %.2f, working memory %.2f: %.2f of %.4g GB; ",
            1e-9 * p->weights, 1e-9 * p->adapter, 1e-9 * p->working, 1e-9 * taken,
            1e-9 * p->machine.memory);
    if (left >= 0)
        fprintf(out, "fits, %.2f GB left for the driver and libraries\n", 1e-9 * left);
    else
        fprintf(out, "DOES NOT FIT; lower %s\n",
                p->settings.stage == PLAN_SCORE ? "--batch-tokens" : "--batch");
}

void plan_print(const struct plan *p, FILE *out)
{
    fprintf(out, "model      %s, %.4g G weights in products, which take %s\n", p->architecture,
            1e-9 * p->products, dtype_name(p->settings.compute));
    print_machine(&p->machine, out);
    print_work(p, out);
    fprintf(out, "\n%-28s %9s %9s %11s %10s %10s %10s  %s\n", "operation", "calls", "launches",
            "TFLOP", "GB read", "written", "bound, s", "limit");
    for (size_t i = 0; i < p->n_operations; i++)
        print_operation(&p->operations[i], out);
    print_operation(&p->total, out);
    fprintf(out, "\n");
    print_bound(p, out);
    print_memory(p, out);
    fprintf(out,
            "computed from counts, not measured: every operation at full rate, no two at once\n");
}

/* ---- JSON ---- */

static json_t *operation_json(const struct operation_count *o)
{
    return json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:s}", "operation", o->name, "calls",
                     (json_int_t)o->calls, "launches", (json_int_t)o->launches, "flops", o->flops,
                     "bytes_read", o->bytes_read, "bytes_written", o->bytes_written, "seconds",
                     o->seconds, "limit", resource_names[limiting(o)]);
}

static json_t *machine_json(const struct machine *m)
{
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f}", "name", m->title, "source",
                     m->source, "product_flops", m->product_rate, "f32_flops", m->f32_rate,
                     "bandwidth", m->bandwidth, "link", m->link, "memory", m->memory, "launch",
                     m->launch);
}

void plan_print_json(const struct plan *p, FILE *out)
{
    const struct plan_settings *s = &p->settings;
    bool trains = s->stage == PLAN_TRAIN;
    json_t *operations = json_array();
    for (size_t i = 0; i < p->n_operations; i++)
        json_array_append_new(operations, operation_json(&p->operations[i]));
    json_t *j = json_pack(
        "{s:s, s:s, s:s, s:f, s:o, s:i, s:I, s:I, s:I, s:I, s:o, s:o}", "stage",
        trains ? "train" : "score", "architecture", p->architecture, "compute",
        s->compute == F32 ? "f32" : "bf16", "weights_in_products", p->products, "machine",
        machine_json(&p->machine), "rank", s->adapter.rank, "records", (json_int_t)p->records,
        "tokens", (json_int_t)p->tokens, "computed_tokens", (json_int_t)p->computed, "passes",
        (json_int_t)p->passes, "operations", operations, "total", operation_json(&p->total));
    if (trains) {
        json_object_set_new(j, "batch", json_integer(s->batch));
        json_object_set_new(j, "accumulate", json_integer(s->accumulate));
        json_object_set_new(j, "epochs", json_number(s->epochs));
        json_object_set_new(j, "validation_records", json_integer(s->n_validation));
    } else {
        json_object_set_new(j, "batch_tokens", json_integer(s->score.batch_tokens));
        json_object_set_new(j, "prefixes", json_integer((json_int_t)p->prefixes));
    }
    json_object_set_new(j, "bound_seconds", json_real(plan_bound(p)));
    json_object_set_new(j, "launched_seconds", json_real(plan_with_launches(p)));
    json_object_set_new(j, "memory",
                        json_pack("{s:f, s:f, s:f, s:f, s:b}", "weights", p->weights, "adapter",
                                  p->adapter, "working", p->working, "taken", memory_taken(p),
                                  "fits", memory_taken(p) <= p->machine.memory));
    json_write(j, JSON_COMPACT, out);
    json_decref(j);
}
