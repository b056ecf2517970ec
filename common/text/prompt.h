/* Prompts: a text under an instruction, with worked examples ("shots") before it or without.
 *
 * The layout is that of Bayesian prompt ensembles (Tonolini et al. 2024) as published in
 * amzn/BayesPE and Harsha1969/BPE-KD. With
 *
 *   - BLOCK = INSTRUCTION "\n" "1. CLASS\n" "2. CLASS\n" ...
 *     (of a task whose list is false INSTRUCTION "\n"),
 *   - CONTENT(text) the task's template with the text in place of {text} and
 *   - ANSWER the class's first answer, or where the task has none the class's name:
 *
 *   - zero-shot: BLOCK "\n" CONTENT(text)
 *   - few-shot: "EXAMPLE i:\n" BLOCK "\n" CONTENT(shot i) ANSWER "\n\n" for i = 1 .. shots,
 *     then "EXAMPLE shots+1:\n" BLOCK "\n" CONTENT(text)
 *
 * A task may do without the "\n" after BLOCK, and have another heading than "EXAMPLE i:\n" and
 * another separator than "\n\n". Everything before the text is the same for all texts of one
 * instruction, so it is laid out once.
 */
#ifndef DUQ_TEXT_PROMPT_H
#define DUQ_TEXT_PROMPT_H

#include "common/stream/id_index.h"
#include "common/text/task.h"
#include "common/util/mem.h"

#include <stdbool.h>

/* Labelled examples: instruction j of a task with k shots has examples j*k up to (j+1)*k. */
struct shots {
    struct id_index *ids;
    struct buf *texts; /* cut to the task's word limit */
    int *labels;
    size_t count;
};

/* Reads the instructions * shots examples that a task needs, the first of the stream, in order.
 * Dies with EX_DATAERR at too few of them, at one without a label, at text that is not UTF-8 and at
 * an id that comes twice. */
struct shots *shots_read(const char *path, const struct task *t);
void shots_free(struct shots *s);

/* Dies (EX_DATAERR) where an answer stands right behind a word, of the content in a shot or of a
 * chat's reply: two words that run into one are a blank forgotten. */
void prompt_check_seam(const struct task *t);

/* Appends BLOCK "\n" and the content up to the text. */
void prompt_opening(struct buf *out, const struct task *t, size_t instruction);

/* Appends all that stands before the text in an instruction's prompts; shots NULL is zero-shot. */
void prompt_before(struct buf *out, const struct task *t, size_t instruction,
                   const struct shots *shots);

/* Appends a text, cut to limit words (0: all of them), as Python's " ".join(text.split()[:limit])
 * does it when there are more words than that; otherwise as it is. The text is UTF-8. */
void limit_words(struct buf *out, struct span text, size_t limit);

/* The instruction with the highest weight in a "weights" stream, the first of several such. Dies
 * with EX_DATAERR at no weights, another task's, or a number that is none of its instructions. */
size_t best_instruction(const char *path, const struct task *t);

#endif
