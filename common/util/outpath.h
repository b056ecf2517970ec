/* Where a path leads that is to be written to. */
#ifndef DUQ_UTIL_OUTPATH_H
#define DUQ_UTIL_OUTPATH_H

/* The path with symbolic links followed to what they lead to, which need not be there; the caller
 * frees it. NULL where that is a descriptor of this program (/dev/stdout, /dev/fd/3,
 * /proc/self/fd/3): *descriptor receives its number. Dies (EX_CANTCREAT) where links lead in a
 * circle. */
char *outpath_follow(const char *path, int *descriptor);

/* The folder that a path's file is in, "FOLDER/." or ".", which the caller frees. */
char *outpath_folder(const char *path);

#endif
