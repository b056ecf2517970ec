#include "common/util/foreign_file.h"

#include "common/util/diag.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static bool begins(const char *bytes, size_t n, const char *with)
{
    size_t len = strlen(with);
    return n >= len && !memcmp(bytes, with, len);
}

static bool is_git_lfs_pointer(const char *bytes, size_t n)
{
    return begins(bytes, n, "version https://git-lfs");
}

static bool is_web_page(const char *bytes, size_t n)
{
    while (n && isspace((unsigned char)*bytes)) {
        bytes++;
        n--;
    }
    return begins(bytes, n, "<!DOCTYPE") || begins(bytes, n, "<!doctype") ||
           begins(bytes, n, "<html");
}

/* A line of base64, a space and a rank: "IQ== 0". */
static bool is_tiktoken(const char *bytes, size_t n)
{
    size_t i = 0, digits = 0;
    while (i < n && (isalnum((unsigned char)bytes[i]) || strchr("+/=", bytes[i])) && bytes[i])
        i++;
    if (i < 4 || i % 4 || i == n || bytes[i] != ' ')
        return false;
    while (++i < n && isdigit((unsigned char)bytes[i]))
        digits++;
    return digits && i < n && (bytes[i] == '\n' || bytes[i] == '\r');
}

static bool is_tekken(const char *bytes, size_t n)
{
    static const char key[] = "\"token_bytes\"";
    return n && *bytes == '{' && memmem(bytes, n < 8192 ? n : 8192, key, strlen(key));
}

/* A zip file, as torch.save() writes one, or a pickle of its own. */
static bool is_pytorch(const char *bytes, size_t n)
{
    return begins(bytes, n, "PK\003\004") || begins(bytes, n, "\x80\x02") ||
           begins(bytes, n, "\x80\x04");
}

static const struct {
    bool (*is)(const char *bytes, size_t n);
    const char *message;
} kinds[] = {
    {is_git_lfs_pointer, "a Git LFS pointer, not the file itself: 'git lfs pull' in its folder "
                         "fetches that"},
    {is_web_page, "a web page, not the file itself: download it again, with the name of a file"},
    {is_tiktoken, "a tiktoken vocabulary (base64 and ranks), which is not read for want of its "
                  "pattern and special tokens: the model's tokenizer.json has them"},
    {is_tekken, "Mistral's tekken format, which is not read: the tokenizer.json of the same model "
                "is"},
    {is_pytorch, "a PyTorch pickle, which can run code when read: *.safetensors files are read"},
};

void foreign_file_refuse(const char *path, const char *bytes, size_t n)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i].is(bytes, n))
            die(EX_DATAERR, "%s: %s", path, kinds[i].message);
}
