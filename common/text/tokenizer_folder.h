/* The tokenizer.json of a model's folder as transformers' AutoTokenizer (5.24) reads it: it asks
 * the files beside it too. tokenizer_class.c has the class that reads the folder,
 * tokenizer_tokens.c the tokens that the folder adds. */
#ifndef DUQ_TEXT_TOKENIZER_FOLDER_H
#define DUQ_TEXT_TOKENIZER_FOLDER_H

#include <jansson.h>
#include <stdint.h>

/* A class of transformers that keeps a tokenizer.json's vocabulary, merges and post-processor, and
 * has the other parts from its own code. */
struct tokenizer_class {
    const char *name;
    const char *model;  /* JSON: what it sets in "model" */
    const char *parts;  /* JSON: normalizer, pre_tokenizer, decoder */
    const char *tokens; /* JSON: its special tokens, where tokenizer_config.json names no others */
};

/* What stands beside tokenizer.json, as objects; an absent file is an empty one. */
struct tokenizer_folder {
    char *config_path;                   /* tokenizer_config.json, for messages */
    json_t *config;                      /* tokenizer_config.json */
    json_t *added, *special;             /* added_tokens.json, special_tokens_map.json */
    const struct tokenizer_class *class; /* NULL: tokenizer.json's parts hold as they stand */
};

/* Makes of a parsed tokenizer.json what AutoTokenizer makes of it in its folder. 0: the same
 * tokenizer; else a digest of what is another. Dies (EX_DATAERR) where a file beside it is damaged
 * or asks for what is not supported, the key named. path: tokenizer.json. */
uint64_t tokenizer_folder_apply(const char *folder, json_t *file, const char *path);

/* The same, of "added_tokens" alone: file needs these and the vocabulary. */
void tokenizer_folder_add_tokens(const char *folder, json_t *file, const char *path);

/* The class that reads a folder. config: tokenizer_config.json; model: config.json; file:
 * tokenizer.json; path: for messages. */
const struct tokenizer_class *tokenizer_class_of(const json_t *config, const json_t *model,
                                                 const json_t *file, const char *path);

/* Puts the class's parts into a parsed tokenizer.json. */
void tokenizer_class_apply(const struct tokenizer_folder *f, json_t *file);

/* Gives each of tokenizer.json's own tokens all its flags. */
void tokenizer_tokens_write_out(json_t *file, const char *path);

/* Puts every token that the folder adds into "added_tokens", with the ids that AutoTokenizer gives
 * them. Dies (EX_DATAERR) where a file names another id. path: tokenizer.json. */
void tokenizer_tokens_apply(const struct tokenizer_folder *f, json_t *file, const char *path);

#endif
