/* Signals that end a program: what is done before they do, and a time in which they wait. */
#ifndef DUQ_UTIL_SIGNALS_H
#define DUQ_UTIL_SIGNALS_H

/* From now on every signal that ends a program and can be caught calls last, which may only do what
 * a handler may, and then does what it did before. Ignored ones stay ignored. */
void signals_catch(void (*last)(void));

/* After signals_catch(): from now on SIGHUP, SIGINT and SIGTERM wait for the program to end where
 * nothing is lost. One more than a second after the first ends it at once; what comes sooner is the
 * same wish, which launchers and terminals tell twice. */
void signals_hold(void);
/* The first that came; 0: none has. */
int signals_held(void);
/* They wait no longer: the one that was held, if any, ends the program now. */
void signals_release(void);
/* Ends the program as that signal does. */
_Noreturn void signals_end_by(int number);

#endif
