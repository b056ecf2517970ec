#include "common/util/apart.h"

#include "common/util/diag.h"
#include "common/util/mem.h"
#include "common/util/outpath.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A file, or the place where there will be one. */
struct identity {
    dev_t device;
    ino_t inode;      /* the folder's where name is set */
    const char *name; /* in the folder, of a file that is not there; NULL: it is there */
};

struct apart {
    struct identity file;
    char *path; /* file.name points into it */
    char *name;
    bool named; /* the name is a path that leads to it */
    bool written;
    struct apart *next;
};

/* Threads that read ahead open files, too. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct apart *uses;

/* False for what is no regular file. */
static bool identify_open(int fd, struct identity *file)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return false;
    *file = (struct identity){st.st_dev, st.st_ino, NULL};
    return true;
}

static bool identify(const char *path, struct identity *file)
{
    struct stat st;
    if (!stat(path, &st)) {
        *file = (struct identity){st.st_dev, st.st_ino, NULL};
        return S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
    }
    const char *slash = strrchr(path, '/');
    char *folder = outpath_folder(path);
    bool there = !stat(folder, &st);
    free(folder);
    *file = (struct identity){st.st_dev, st.st_ino, slash ? slash + 1 : path};
    return there;
}

static bool same(const struct identity *a, const struct identity *b)
{
    if (a->device != b->device || a->inode != b->inode || !a->name != !b->name)
        return false;
    return !a->name || !strcmp(a->name, b->name);
}

/* Another file may have got the number of one that was removed since. */
static bool is_still_there(const struct apart *use)
{
    struct identity now;
    return !use->named || (identify(use->name, &now) && same(&now, &use->file));
}

/* Dies where the file has another use that does not go with this one. */
static void check(const struct identity *file, const char *name, bool written)
{
    pthread_mutex_lock(&lock);
    const struct apart *other = uses;
    while (other &&
           !((written || other->written) && same(&other->file, file) && is_still_there(other)))
        other = other->next;
    pthread_mutex_unlock(&lock);
    if (!other)
        return;
    if (strcmp(other->name, name))
        die(EX_CANTCREAT, "%s: the same file as %s; an output needs a file of its own", name,
            other->name);
    die(EX_CANTCREAT, "%s: would be read and written; an output needs a file of its own", name);
}

static struct apart *add(const struct identity *file, const char *name, bool written)
{
    check(file, name, written);
    struct apart *use = xcalloc(1, sizeof *use);
    struct identity by_name;
    bool named = identify(name, &by_name) && same(&by_name, file);
    *use = (struct apart){*file, NULL, xstrdup(name), named, written, NULL};
    if (file->name)
        use->file.name = use->path = xstrdup(file->name);
    pthread_mutex_lock(&lock);
    use->next = uses;
    uses = use;
    pthread_mutex_unlock(&lock);
    return use;
}

struct apart *apart_read(int fd, const char *name)
{
    struct identity file;
    return identify_open(fd, &file) ? add(&file, name, false) : NULL;
}

struct apart *apart_write(const char *path, const char *name)
{
    struct identity file;
    return identify(path, &file) ? add(&file, name, true) : NULL;
}

struct apart *apart_write_open(int fd, const char *name)
{
    struct identity file;
    return identify_open(fd, &file) ? add(&file, name, true) : NULL;
}

void apart_forget(struct apart *use)
{
    if (!use)
        return;
    pthread_mutex_lock(&lock);
    struct apart **at = &uses;
    while (*at != use)
        at = &(*at)->next;
    *at = use->next;
    pthread_mutex_unlock(&lock);
    free(use->path);
    free(use->name);
    free(use);
}

void apart_check(const char *path)
{
    struct identity file;
    if (identify(path, &file))
        check(&file, path, true);
}

bool apart_same(const char *a, const char *b)
{
    struct identity x, y;
    return identify(a, &x) && identify(b, &y) && same(&x, &y);
}
