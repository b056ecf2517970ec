/* Running gnuplot: one script, drawn as SVG and as PNG. */
#ifndef DUQ_EVAL_GNUPLOT_H
#define DUQ_EVAL_GNUPLOT_H

#include "common/util/mem.h"

#include <stdbool.h>

/* Dies with EX_UNAVAILABLE when there is no gnuplot, and with EX_CANTCREAT when the folder is not
 * there and cannot be made. Call before work that would be lost. */
void gnuplot_prepare(const char *folder);

/* A figure in the making. */
struct figure {
    int width, height; /* points; the PNG has twice as many pixels */
    struct buf data;   /* data blocks and definitions */
    struct buf draw;   /* the commands that draw, run once for each kind of file; the variable
                        * title_font names the font of titles */
};

/* Draws FOLDER/NAME.svg and FOLDER/NAME.png, each there when it is whole, and frees the buffers.
 * Dies with EX_SOFTWARE and gnuplot's own words when it fails. */
void gnuplot_draw(const char *folder, const char *name, struct figure *f);

/* Appends text as a single-quoted gnuplot string; control characters become spaces. */
void gnuplot_quote(struct buf *script, const char *text);

#endif
