/* decide --apply: predictions to decisions. */
#include "cmd/decide/decide.h"

#include "common/decide/decide.h"
#include "common/eval/prediction_set.h"
#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/progress.h"

#include <math.h>
#include <stdlib.h>

/* What became of the texts of a stream. */
struct tally {
    unsigned long texts, answered, chosen;       /* chosen: classes in all sets */
    unsigned long labelled, judged, wrong, held; /* judged: answers to labelled texts */
};

static void count(struct tally *t, const struct decision *d)
{
    t->texts++;
    t->answered += d->answer != NO_LABEL;
    t->chosen += d->n_set;
    if (d->label == NO_LABEL)
        return;
    t->labelled++;
    if (d->answer != NO_LABEL) {
        t->judged++;
        t->wrong += d->answer != d->label;
    }
    for (size_t i = 0; i < d->n_set; i++)
        t->held += d->set[i] == d->label;
}

static void report(const struct rule *rule, const struct tally *t)
{
    inform("answered %lu of %lu texts (coverage %.4f)", t->answered, t->texts,
           (double)t->answered / (double)t->texts);
    if (t->judged)
        inform("%lu of %lu answers to labelled texts are wrong (risk %.4f)", t->wrong, t->judged,
               (double)t->wrong / (double)t->judged);
    if (rule->kind != RULE_SET)
        return;
    inform("sets have %.3f classes on average", (double)t->chosen / (double)t->texts);
    if (t->labelled)
        inform("%lu of %lu sets hold the label (%.4f)", t->held, t->labelled,
               (double)t->held / (double)t->labelled);
}

static void check_prediction(struct stream_reader *r, const struct rule *rule,
                             const struct prediction *p)
{
    prediction_check(r, p);
    if (rule->limits->label != NO_LABEL && rule->n_limits != p->n_classes)
        stream_bad_record(r, p->id, "%zu classes, but the rule has limits for %zu", p->n_classes,
                          rule->n_limits);
}

void apply_rule(const struct settings *s, struct stream_reader *r, int argc, char **argv)
{
    json_t *fit;
    struct rule rule = rule_read(s->apply, r, &fit);
    json_t *header = stream_header_from(stream_header(r), "decision", argc, argv);
    json_object_set_new(header, "rule", fit);
    struct stream_writer *w = stream_create(s->common.output, s->common.compress, header);
    struct prediction p;
    struct tally tally = {0};
    double *room = NULL;
    int32_t *set = NULL;
    progress_start("texts", 0);
    while (prediction_read(r, &p)) {
        check_prediction(r, &rule, &p);
        room = xreallocarray(room, p.n_classes, sizeof *room);
        set = xreallocarray(set, p.n_classes, sizeof *set);
        p = tempered_prediction(&p, rule.temperature, room);
        struct decision d = decide(&rule, &p, set);
        if (isnan(d.score))
            no_uncertainty(stream_name(r), rule.by);
        decision_write(w, &d);
        count(&tally, &d);
        progress_update(stream_written(w));
    }
    progress_end();
    closing_count(tally.texts, stream_written(w), 0);
    report(&rule, &tally);
    stream_finish(w);
    free(room);
    free(set);
    rule_free(&rule);
}
