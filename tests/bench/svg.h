/* SPDX-License-Identifier: Apache-2.0 */
/* Pictures of lines over an axis, as SVG. Both axes are logarithmic: equal ratios have equal
 * heights, so that a cliff is seen wherever it is. */
#ifndef TESTS_BENCH_SVG_H
#define TESTS_BENCH_SVG_H

#include <stdio.h>

#define SVG_POINTS_MAX 16u
#define SVG_SERIES_MAX 2u

struct svg_series {
    const char *name;
    /* The line, and between what it is shaded. All are above 0. */
    double y[SVG_POINTS_MAX], low[SVG_POINTS_MAX], high[SVG_POINTS_MAX];
};

/* One panel; the panels of a picture stand one below the other over the same axis. */
struct svg_panel {
    const char *title, *unit;
    unsigned int series_count;
    struct svg_series series[SVG_SERIES_MAX];
};

struct svg_picture {
    const char *title, *subtitle;
    const char *axis; /* its name and unit */
    unsigned int point_count;
    double x[SVG_POINTS_MAX];
    const char *const *x_names; /* as many as points */
};

void svg_write(FILE *file, const struct svg_picture *picture, const struct svg_panel *panels,
               unsigned int panel_count);

#endif
