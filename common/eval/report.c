#include "common/eval/report.h"

#include "common/eval/abstention.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static json_t *real_or_null(double v)
{
    return isnan(v) ? json_null() : json_real(v);
}

static json_t *result_json(const struct result *x)
{
    json_t *o = json_pack("{s:o, s:I}", "value", real_or_null(x->value), "n", (json_int_t)x->n);
    if (isnan(x->value))
        json_object_set_new(o, "reason", json_string(x->reason));
    if (!isnan(x->low)) {
        json_object_set_new(o, "low", json_real(x->low));
        json_object_set_new(o, "high", json_real(x->high));
    }
    if (x->seeds) {
        json_object_set_new(o, "seeds", json_integer((json_int_t)x->seeds));
        json_object_set_new(o, "deviation", real_or_null(x->deviation));
    }
    if (!isnan(x->p))
        json_object_set_new(o, "p", json_real(x->p));
    if (x->definition)
        json_object_set_new(o, "definition", json_string(x->definition));
    return o;
}

static json_t *abstention_json(const struct report *r, const struct prediction_set *s)
{
    struct risk_point points[N_COVERAGES];
    size_t n = abstain(s, r->abstain_by, points);
    json_t *list = json_array();
    for (int c = 0; n && c < N_COVERAGES; c++)
        json_array_append_new(
            list, json_pack("{s:f, s:f, s:I, s:f, s:f}", "at_least", abstention_coverages[c],
                            "coverage", (double)points[c].answered / (double)n, "answered",
                            (json_int_t)points[c].answered, "risk", risk_of(&points[c]),
                            "threshold", points[c].threshold));
    return json_pack("{s:s, s:o}", "uncertainty", uncertainty_name(r->abstain_by), "thresholds",
                     list);
}

static bool says(const json_t *entry, const char *key, const char *value)
{
    return !strcmp(json_string_value(json_object_get(entry, key)), value);
}

/* The set's own entry among the sets, made on first use. */
static json_t *entry_for(json_t *sets, const struct report *r, const char *name)
{
    size_t n;
    json_t *entry;
    json_array_foreach(sets, n, entry)
    {
        if (says(entry, "name", name))
            return entry;
    }
    entry = json_pack("{s:s}", "name", name);
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        const struct prediction_set *s = r->settings->sets[i];
        if (strcmp(s->name, name))
            continue;
        json_object_set_new(entry, "file", json_lossy(s->file));
        json_object_set_new(entry, "texts", json_integer((json_int_t)s->n));
        if (r->abstention)
            json_object_set_new(entry, "abstention", abstention_json(r, s));
    }
    json_object_set_new(entry, "metrics", json_object());
    json_array_append_new(sets, entry);
    return entry;
}

/* The list's entry that compares the same, made on first use; of detection or differences. */
static json_t *comparison_entry(json_t *list, const struct result *x)
{
    size_t n;
    json_t *entry;
    json_array_foreach(list, n, entry)
    {
        if (says(entry, "set", x->set) && says(entry, "against", x->against))
            return entry;
    }
    entry = json_pack("{s:s, s:s, s:{}}", "set", x->set, "against", x->against, "metrics");
    json_array_append_new(list, entry);
    return entry;
}

/* Takes the list over; without entries it is left out. */
static void set_list(json_t *all, const char *key, json_t *list, bool wanted)
{
    if (wanted)
        json_object_set_new(all, key, list);
    else
        json_decref(list);
}

json_t *report_json(const struct report *r)
{
    const struct evaluation_settings *e = r->settings;
    json_t *sets = json_array(), *detection = json_array(), *differences = json_array();
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        json_t *entry = x->difference ? comparison_entry(differences, x)
                        : x->against  ? comparison_entry(detection, x)
                                      : entry_for(sets, r, x->set);
        json_object_set_new(json_object_get(entry, "metrics"), x->metric, result_json(x));
    }
    json_t *all = json_pack("{s:o, s:I, s:b}", "sets", sets, "bins", (json_int_t)e->binning.bins,
                            "own_bin_for_1", e->binning.own_bin_for_1);
    set_list(all, "detection", detection, e->n_oods > 0);
    set_list(all, "differences", differences, e->baseline != NULL);
    if (e->replicates)
        json_object_set_new(all, "bootstrap",
                            json_pack("{s:I, s:I, s:f}", "replicates", (json_int_t)e->replicates,
                                      "seed", (json_int_t)e->seed, "level", 0.95));
    return all;
}

static void stream_abstention(const struct report *r, struct stream_writer *w)
{
    for (size_t i = 0; i < r->settings->n_sets; i++) {
        struct risk_point points[N_COVERAGES];
        const struct prediction_set *s = r->settings->sets[i];
        size_t n = abstain(s, r->abstain_by, points);
        for (int c = 0; n && c < N_COVERAGES; c++) {
            const double values[] = {(double)points[c].answered / (double)n, risk_of(&points[c]),
                                     points[c].threshold};
            static const char *const names[] = {"coverage", "risk", "threshold"};
            for (size_t v = 0; v < 3; v++) {
                char *metric = xasprintf("%s_at_%.2f", names[v], abstention_coverages[c]);
                measurement_write(w, &(struct measurement){.set = s->name,
                                                           .metric = metric,
                                                           .value = values[v],
                                                           .n = n,
                                                           .low = NAN,
                                                           .high = NAN,
                                                           .p = NAN,
                                                           .deviation = NAN});
                free(metric);
            }
        }
    }
}

void report_stream(const struct report *r, struct stream_writer *w)
{
    for (size_t i = 0; i < r->n_results; i++) {
        const struct result *x = &r->results[i];
        measurement_write(w, &(struct measurement){.set = x->set,
                                                   .metric = x->metric,
                                                   .against = x->against,
                                                   .value = x->value,
                                                   .reason = isnan(x->value) ? x->reason : NULL,
                                                   .n = x->n,
                                                   .low = x->low,
                                                   .high = x->high,
                                                   .p = x->p,
                                                   .deviation = x->deviation,
                                                   .seeds = x->seeds,
                                                   .definition = x->definition});
    }
    if (r->abstention)
        stream_abstention(r, w);
}
