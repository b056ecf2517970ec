/* usage: selftest CASE...   runs the named cases; without any, lists them */
#include "selftest.h"

#include <string.h>

static struct test_case *cases;

test_case::test_case(const char *name_, void (*run_)()) : name(name_), run(run_), next(cases)
{
    cases = this;
}

static const struct test_case *find(const char *name)
{
    for (const struct test_case *c = cases; c; c = c->next)
        if (strcmp(c->name, name) == 0)
            return c;
    fprintf(stderr, "selftest: there is no case %s\n", name);
    exit(64);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        for (const struct test_case *c = cases; c; c = c->next)
            puts(c->name);
    for (int i = 1; i < argc; i++)
        find(argv[i])->run();
    return 0;
}
