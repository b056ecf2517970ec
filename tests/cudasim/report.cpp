/* What is said of a fault, and the end. Instructions are named by addr2line (binutils), which has
 * the lines of inlined functions too. */
#include "simulator.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

namespace cudasim
{

/* The first two lines that addr2line prints: a function's name, and file:line. */
static std::pair<std::string, std::string> symbol(const void *address)
{
    Dl_info info;
    if (!dladdr(address, &info) || !info.dli_fname)
        return {"?", "?"};
    uintptr_t offset = (uintptr_t)address - (uintptr_t)info.dli_fbase;
    char command[4200], function[1024] = "?", line[1024] = "?";
    /* An executable that is not position-independent has its addresses as they are. */
    snprintf(command, sizeof command, "addr2line -fCe '%s' 0x%zx 2>/dev/null",
             access(info.dli_fname, R_OK) == 0 ? info.dli_fname : "/proc/self/exe", offset);
    FILE *f = popen(command, "r");
    if (f) {
        if (fscanf(f, "%1023[^\n]\n%1023[^\n]", function, line) < 1)
            snprintf(function, sizeof function, "%s", info.dli_sname ? info.dli_sname : "?");
        pclose(f);
    }
    line[strcspn(line, " ")] = 0; /* "(discriminator 2)" */
    const char *from = line;
    while (strncmp(from, "./", 2) == 0)
        from += 2;
    return {function, from};
}

std::string source_line(const void *pc)
{
    return symbol((const char *)pc - 1).second;
}

/* "void rmsnorm<float>(float const*, ...)" -> "rmsnorm<float>" */
std::string kernel_name(const void *kernel)
{
    std::string name = symbol(kernel).first;
    if (name.compare(0, 5, "void ") == 0)
        name.erase(0, 5);
    int depth = 0;
    for (size_t i = 0; i < name.size(); i++) {
        depth += (name[i] == '<') - (name[i] == '>');
        if (name[i] == '(' && depth == 0 && i > 0)
            return name.substr(0, i);
    }
    return name;
}

[[noreturn]] static void die(const char *kind, const char *line, const char *format, va_list args)
{
    const struct launched *l = running;
    uint3 b = {}, t = {};
    if (l) {
        b = block_index();
        t = thread_index();
    }
    running = nullptr; /* a fault in here is not the kernel's */
    fflush(stdout);
    fprintf(stderr, "cudasim: %s: ", kind);
    if (l)
        fprintf(stderr, "kernel %s, block (%u,%u,%u), thread (%u,%u,%u), ",
                kernel_name(l->kernel).c_str(), b.x, b.y, b.z, t.x, t.y, t.z);
    if (line)
        fprintf(stderr, "%s: ", line);
    vfprintf(stderr, format, args);
    putc('\n', stderr);
    abort();
}

void report(const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    die(kind, nullptr, format, args);
}

void report_at(const void *pc, const char *kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    die(kind, source_line(pc).c_str(), format, args);
}

} // namespace cudasim
