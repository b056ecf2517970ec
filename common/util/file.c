#include "common/util/file.h"

#include "common/util/apart.h"
#include "common/util/diag.h"
#include "common/util/mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_exists(const char *path)
{
    if (!access(path, F_OK))
        return true;
    if (errno != ENOENT && errno != ENOTDIR)
        die_errno("%s", path);
    return false;
}

bool file_exists_in(const char *folder, const char *name)
{
    char *path = xasprintf("%s/%s", folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

FILE *file_open(const char *path)
{
    FILE *f = fopen(path, "rbe");
    if (!f)
        die_errno("%s", path);
    apart_read(fileno(f), path);
    return f;
}

void file_close(FILE *f, const char *path)
{
    if (ferror(f))
        die_errno("%s", path);
    fclose(f);
}

void file_read(const char *path, struct buf *out)
{
    enum { PIECE = 1 << 16 };
    FILE *f = file_open(path);
    size_t n;
    do {
        buf_reserve(out, PIECE);
        n = fread(out->data + out->len, 1, PIECE, f);
        out->len += n;
    } while (n);
    file_close(f, path);
}

struct file_map file_map(const char *path, const char *what)
{
    struct file_map map = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st))
        die_errno("%s", path);
    if (!S_ISREG(st.st_mode))
        die(EX_DATAERR, "%s: not %s, which lies in a regular file", path, what);
    map.use = apart_read(fd, path);
    map.size = (size_t)st.st_size;
    if (map.size)
        map.base = mmap(NULL, map.size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map.base == MAP_FAILED)
        die_errno("%s: cannot be mapped", path);
    close(fd);
    if (map.base)
        mapping_watch(map.base, map.size, path);
    return map;
}

void file_unmap(struct file_map *map)
{
    mapping_forget(map->base);
    if (map->base)
        munmap(map->base, map->size);
    apart_forget(map->use);
    *map = (struct file_map){0};
}

DIR *folder_open(const char *path)
{
    DIR *d = opendir(path);
    if (!d && errno != ENOENT && errno != ENOTDIR)
        die_errno("%s", path);
    return d;
}

const char *folder_next(DIR *d, const char *path)
{
    if (!d)
        return NULL;
    errno = 0;
    const struct dirent *e = readdir(d);
    if (!e && errno)
        die_errno("%s", path);
    return e ? e->d_name : NULL;
}

void folder_close(DIR *d)
{
    if (d)
        closedir(d);
}
