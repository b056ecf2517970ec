/* Text that others wrote, as a terminal may be shown it: spelt out is what a terminal would obey.
 */
#ifndef DUQ_UTIL_PRINTABLE_H
#define DUQ_UTIL_PRINTABLE_H

#include <stddef.h>

enum { PRINTABLE_SIZE = 16 };

/* Takes the first character of a text that is not empty, and returns how many bytes that is. In
 * shown, NUL-terminated, it stands as it is; or spelt out ("\n", "\x1b", "\u202e") where it is a
 * control or format character, a separator of lines, or a byte that is not UTF-8. Joiners, which
 * words and emoji of several parts need, stay. */
size_t printable(const char *text, size_t len, char shown[PRINTABLE_SIZE]);

#endif
