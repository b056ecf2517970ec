/* The task file: the classes, the instructions and the layout of a classification task's prompts.
 * man/duq-task.5 describes it, schemas/task.json defines it. */
#ifndef DUQ_TEXT_TASK_H
#define DUQ_TEXT_TASK_H

#include "common/stream/record.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* What a model writes to name a class: the first stands in worked examples, the others count for
 * the class as well. */
struct class_answers {
    const char **strings; /* [n], different, none empty */
    size_t n;             /* 1 or more */
};

/* Strings are NUL-terminated UTF-8 and live as long as the task. */
struct task {
    json_t *json; /* the file's contents, owner of the strings */
    const char *file;
    const char *name;
    const char **classes;
    size_t n_classes;              /* 2 or more */
    struct class_answers *answers; /* [n_classes], or NULL: the classes' names */
    const char **instructions;
    size_t n_instructions;               /* 1 or more */
    struct span before_text, after_text; /* the content template on both sides of {text} */
    size_t shots;                        /* worked examples in a few-shot prompt; 0 is zero-shot */
    size_t word_limit;                   /* words of a text that are kept; 0 is all */
    bool chat;                           /* in the model's own layout of a conversation, in which */
    const char *system;                  /* this comes first (NULL: nothing), */
    const char *reply;                   /* and this begins the assistant's turns; "": nothing */
    bool list, blank_line;               /* the classes under the instruction; before the content */
    struct span before_number, after_number; /* what an example begins with; its number between, */
    bool numbered;                           /* where it has one */
    const char *separator;                   /* what an example ends with */
};

/* Reads and checks a task file. Dies, naming the file and the key: EX_NOINPUT, or EX_DATAERR at
 * whatever schemas/task.json does not allow. */
struct task *task_read(const char *path);
void task_free(struct task *t);

/* From now on prompts are laid out as the task's "student" says; as before, where it has none. */
void task_for_student(struct task *t);

/* The task as its prompts are laid out now, with the worked examples that it asks for or without: a
 * task file's object of its own, in which nothing is left to defaults and a student's part has been
 * followed. Equal objects lay out the same prompts. */
json_t *task_as_asked(const struct task *t, bool shots);

/* What follows the content of a worked example of this class. */
const char *task_answer(const struct task *t, size_t label);
/* All answers as headers have them, an array of arrays of strings that the caller owns; NULL where
 * the task has none. */
json_t *task_answers_json(const struct task *t);

/* Dies with EX_DATAERR when a stream's header names a task's classes and these are others. */
void task_check_classes(const struct task *t, const struct stream_reader *r);

#endif
