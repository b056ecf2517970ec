#include "common/uq/newton.h"

#include <math.h>

void newton_factor(double *a, size_t k, double floor)
{
    for (size_t i = 0; i < k; i++) {
        double *row = a + i * k;
        for (size_t j = 0; j <= i; j++) {
            const double *other = a + j * k;
            double s = row[j];
            for (size_t l = 0; l < j; l++)
                s -= row[l] * other[l];
            row[j] = i == j ? sqrt(fmax(s, floor)) : s / other[j];
        }
    }
}

void newton_solve(const double *l, size_t k, double *x)
{
    for (size_t i = 0; i < k; i++) {
        double s = x[i];
        for (size_t j = 0; j < i; j++)
            s -= l[i * k + j] * x[j];
        x[i] = s / l[i * k + i];
    }
    for (size_t i = k; i-- > 0;) {
        x[i] /= l[i * k + i];
        for (size_t j = 0; j < i; j++)
            x[j] -= l[i * k + j] * x[i];
    }
}
