/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/svg.h"

#include <math.h>
#include <stdbool.h>

#define WIDTH 760.0
#define TOP 64.0 /* for the title */
#define LEFT 76.0
#define RIGHT 24.0
#define PANEL 208.0 /* height with title and gap */
#define PLOT 150.0  /* height of the plot itself */
#define PANEL_TITLE 32.0
#define BOTTOM 28.0 /* for the axis' name */

static const char *const colours[SVG_SERIES_MAX] = {"#1f5fa8", "#c2571a"};

/* The range of a panel, to which a value's height is relative. */
struct range {
    double low, high; /* logarithms */
};

static double at_x(const struct svg_picture *picture, unsigned int point)
{
    const double first = log(picture->x[0]), last = log(picture->x[picture->point_count - 1]);
    return LEFT + (WIDTH - LEFT - RIGHT) * (log(picture->x[point]) - first) / (last - first);
}

static double at_y(const struct range *range, double top, double value)
{
    return top + PLOT * (1 - (log10(value) - range->low) / (range->high - range->low));
}

static struct range range_of(const struct svg_panel *panel, unsigned int points)
{
    double low = INFINITY, high = 0;
    for (unsigned int s = 0; s < panel->series_count; s++) {
        for (unsigned int i = 0; i < points; i++) {
            low = fmin(low, panel->series[s].low[i]);
            high = fmax(high, panel->series[s].high[i]);
        }
    }
    /* Never less than a factor of 4, so that noise does not look like a cliff. */
    const double middle = (log10(low) + log10(high)) / 2;
    const double half = fmax((log10(high) - log10(low)) / 2 * 1.1, log10(4) / 2);
    return (struct range){middle - half, middle + half};
}

/* 0.05, 20, 3 k, 2 M. */
static void print_number(FILE *file, double value)
{
    if (value >= 1e6)
        fprintf(file, "%g M", value / 1e6);
    else if (value >= 1e3)
        fprintf(file, "%g k", value / 1e3);
    else
        fprintf(file, "%g", value);
}

static void line(FILE *file, double x1, double y1, double x2, double y2, const char *colour)
{
    fprintf(file, "<path d='M%.1f %.1fL%.1f %.1f' stroke='%s' fill='none'/>\n", x1, y1, x2, y2,
            colour);
}

static void text(FILE *file, double x, double y, const char *more, const char *words)
{
    fprintf(file, "<text x='%.1f' y='%.1f' %s>%s</text>\n", x, y, more, words);
}

static void print_y_axis(FILE *file, const struct range *range, double top)
{
    static const double coarse[] = {1, 2, 5}, fine[] = {1, 1.5, 2, 3, 4, 5, 7};
    const bool narrow = range->high - range->low < 0.9; /* decades */
    const double *steps = narrow ? fine : coarse;
    const unsigned int step_count = narrow ? 7 : 3;
    for (int power = (int)floor(range->low); power <= (int)ceil(range->high); power++) {
        for (unsigned int i = 0; i < step_count; i++) {
            const double value = steps[i] * pow(10, power);
            if (log10(value) < range->low || log10(value) > range->high)
                continue;
            const double y = at_y(range, top, value);
            line(file, LEFT, y, WIDTH - RIGHT, y, "#e4e4e4");
            fprintf(file, "<text x='%.1f' y='%.1f' text-anchor='end'>", LEFT - 8, y + 4);
            print_number(file, value);
            fprintf(file, "</text>\n");
        }
    }
}

static void print_x_axis(FILE *file, const struct svg_picture *picture, double top)
{
    line(file, LEFT, top + PLOT, WIDTH - RIGHT, top + PLOT, "#888");
    for (unsigned int i = 0; i < picture->point_count; i++) {
        const double x = at_x(picture, i);
        line(file, x, top + PLOT, x, top + PLOT + 4, "#888");
        text(file, x, top + PLOT + 17, "text-anchor='middle'", picture->x_names[i]);
    }
}

static void print_series(FILE *file, const struct svg_picture *picture,
                         const struct svg_series *series, const struct range *range, double top,
                         const char *colour)
{
    const unsigned int count = picture->point_count;
    fprintf(file, "<path fill='%s' fill-opacity='.15' d='", colour);
    for (unsigned int i = 0; i < count; i++)
        fprintf(file, "%s%.1f %.1f", i == 0 ? "M" : "L", at_x(picture, i),
                at_y(range, top, series->high[i]));
    for (unsigned int i = count; i-- > 0;)
        fprintf(file, "L%.1f %.1f", at_x(picture, i), at_y(range, top, series->low[i]));
    fprintf(file, "Z'/>\n<path fill='none' stroke='%s' stroke-width='2' d='", colour);
    for (unsigned int i = 0; i < count; i++)
        fprintf(file, "%s%.1f %.1f", i == 0 ? "M" : "L", at_x(picture, i),
                at_y(range, top, series->y[i]));
    fprintf(file, "'/>\n");
    for (unsigned int i = 0; i < count; i++)
        fprintf(file, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", at_x(picture, i),
                at_y(range, top, series->y[i]), colour);
}

static void print_legend(FILE *file, const struct svg_panel *panel, double y)
{
    double x = WIDTH - RIGHT - 120.0 * panel->series_count;
    for (unsigned int s = 0; s < panel->series_count; s++, x += 120) {
        line(file, x, y - 4, x + 22, y - 4, colours[s]);
        fprintf(file, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'/>\n", x + 11, y - 4, colours[s]);
        text(file, x + 28, y, "", panel->series[s].name);
    }
}

static void print_panel(FILE *file, const struct svg_picture *picture,
                        const struct svg_panel *panel, double top)
{
    const struct range range = range_of(panel, picture->point_count);
    const double plot = top + PANEL_TITLE;
    fprintf(file, "<text x='%.1f' y='%.1f'><tspan font-weight='bold'>%s</tspan> (%s)</text>\n",
            LEFT, top + 20, panel->title, panel->unit);
    print_legend(file, panel, top + 20);
    print_y_axis(file, &range, plot);
    print_x_axis(file, picture, plot);
    for (unsigned int s = 0; s < panel->series_count; s++)
        print_series(file, picture, &panel->series[s], &range, plot, colours[s]);
}

void svg_write(FILE *file, const struct svg_picture *picture, const struct svg_panel *panels,
               unsigned int panel_count)
{
    const double height = TOP + PANEL * panel_count + BOTTOM;
    fprintf(file,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f' width='%.0f' "
            "height='%.0f' font-family='sans-serif' font-size='12' fill='#222'>\n"
            "<rect width='100%%' height='100%%' fill='#fff'/>\n",
            WIDTH, height, WIDTH, height);
    text(file, LEFT, 30, "font-size='18' font-weight='bold'", picture->title);
    text(file, LEFT, 50, "fill='#555'", picture->subtitle);
    for (unsigned int i = 0; i < panel_count; i++)
        print_panel(file, picture, &panels[i], TOP + PANEL * i);
    text(file, WIDTH - RIGHT, height - 14, "text-anchor='end'", picture->axis);
    text(file, LEFT, height - 14, "fill='#555'",
         "line: median of the turns; shaded: their middle half");
    fprintf(file, "</svg>\n");
}
