/* The folder of a model, and what people hand in instead. */
#ifndef DUQ_UTIL_MODEL_FOLDER_H
#define DUQ_UTIL_MODEL_FOLDER_H

/* What --model names: path itself or, of a hub's cache folder ("models--ORGANISATION--NAME"), the
 * snapshot in it. Dies (EX_NOINPUT) where there is none, or several without a main one, and at a
 * name of the hub that is no folder here. The caller frees it. */
char *model_folder_find(const char *path);

/* Where a folder holds a model or its tokenizer in another form than is read, these die
 * (EX_DATAERR) with what it is and what to do. Else they return. */
void model_folder_without_config(const char *folder);
void model_folder_without_weights(const char *folder);
void model_folder_without_tokenizer(const char *folder);

#endif
