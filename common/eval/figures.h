/* dir-eval's figures, each as SVG and PNG in a folder. man/dir-eval.1 says what they show. */
#ifndef DUQ_EVAL_FIGURES_H
#define DUQ_EVAL_FIGURES_H

#include "common/eval/evaluation.h"
#include "common/eval/training_log.h"

/* A usage error where two sets' figures would have one name. */
void check_figure_names(const struct evaluation_settings *e);

/* reliability: accuracy over confidence, a panel per set. */
void draw_reliability(const char *folder, const struct evaluation_settings *e,
                      const struct result *results, size_t n_results);
/* uncertainty-SET, one figure per set: histograms, a row per data set (the set's own and the
 * out-of-distribution ones compared with it), a column per kind of uncertainty. */
void draw_uncertainty(const char *folder, const struct evaluation_settings *e,
                      const struct result *results, size_t n_results);
/* risk-coverage: a line per set, a panel per kind of uncertainty. */
void draw_risk_coverage(const char *folder, const struct evaluation_settings *e,
                        const struct result *results, size_t n_results);
/* training: loss and learning rate over steps, a panel per log. */
void draw_training(const char *folder, const struct training_log *logs, size_t n);

#endif
