/* Where the parts of duq lie that are opened only when they are needed: shared objects that use the
 * program's own common/util. */
#ifndef DUQ_UTIL_PLUGIN_H
#define DUQ_UTIL_PLUGIN_H

/* The file that the environment's `variable` names, else ../lib/duq/NAME beside the folder of the
 * program. The caller frees it. */
char *plugin_path(const char *variable, const char *name);

#endif
