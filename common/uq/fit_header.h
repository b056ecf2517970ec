/* What the header of a weights stream tells of the fit that made it. */
#ifndef DUQ_UQ_FIT_HEADER_H
#define DUQ_UQ_FIT_HEADER_H

#include "common/uq/held_out.h"
#include "common/uq/published_solver.h"

#include <jansson.h>

/* "fit": the objective, its optimum, gap and trace; "calibration" and "top" within it where s says
 * so. New references. */
json_t *fit_header(const struct ensemble_settings *s, const struct ensemble_fit *f, size_t n_texts);
/* The same for weights of the published steps; optimum: what the objective could have been. */
json_t *published_fit_header(double entropy_weight, const struct published_weights *w,
                             double optimum, size_t n_texts);
json_t *held_out_header(const struct held_out *h);

#endif
