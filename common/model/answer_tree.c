#include "common/model/answer_tree.h"

#include "common/util/diag.h"
#include "common/util/mem.h"

#include <stdlib.h>

/* What no task has, and a damaged header may. */
enum { MOST_TOKENS = 256, MOST_EDGES = 1 << 16 };

/* An answer. */
struct path {
    int32_t *tokens;
    int n, class;
};

/* ---- reading ---- */

static _Noreturn void bad_token(const char *where, const char *key)
{
    die(EX_DATAERR, "%s: '%s' holds something that is no token", where, key);
}

static int32_t token_of(const json_t *v, const char *where, const char *key)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > INT32_MAX)
        bad_token(where, key);
    return (int32_t)json_integer_value(v);
}

/* An answer's tokens, or a single one where the list is of class tokens. */
static struct path path_of(const json_t *entry, int class, const char *where, const char *key)
{
    bool list = json_is_array(entry);
    size_t n = list ? json_array_size(entry) : 1;
    if (n == 0)
        bad_token(where, key);
    if (n > MOST_TOKENS)
        die(EX_DATAERR, "%s: '%s' holds an answer of %zu tokens, more than %d", where, key, n,
            MOST_TOKENS);
    struct path p = {xcalloc(n, sizeof *p.tokens), (int)n, class};
    for (size_t i = 0; i < n; i++)
        p.tokens[i] = token_of(list ? json_array_get(entry, i) : entry, where, key);
    return p;
}

/* All answers, [*count], in the order of the classes. */
static struct path *paths_of(const json_t *list, const char *where, const char *key, size_t *count)
{
    bool single = !json_is_array(json_array_get(list, 0));
    struct path *paths = NULL;
    size_t c, edges = 0;
    const json_t *own;
    *count = 0;
    json_array_foreach(list, c, own)
    {
        size_t n = single ? 1 : json_array_size(own);
        if (n == 0)
            bad_token(where, key);
        paths = xreallocarray(paths, *count + n, sizeof *paths);
        for (size_t i = 0; i < n; i++) {
            paths[*count] = path_of(single ? own : json_array_get(own, i), (int)c, where, key);
            edges += (size_t)paths[(*count)++].n;
            if (edges > MOST_EDGES)
                die(EX_DATAERR, "%s: '%s' holds more than %d tokens", where, key, MOST_EDGES);
        }
    }
    return paths;
}

/* ---- growing ---- */

static int number_of_token(struct answer_tree *t, int32_t token)
{
    for (int i = 0; i < t->n_tokens; i++)
        if (t->tokens[i] == token)
            return i;
    t->tokens = xreallocarray(t->tokens, (size_t)t->n_tokens + 1, sizeof *t->tokens);
    t->tokens[t->n_tokens] = token;
    return t->n_tokens++;
}

static int add_node(struct answer_tree *t, int parent, int edge)
{
    t->nodes = xreallocarray(t->nodes, (size_t)t->n_nodes + 1, sizeof *t->nodes);
    t->nodes[t->n_nodes] =
        (struct answer_node){.first = t->n_edges, .edge = edge, .parent = parent};
    return t->n_nodes++;
}

/* Adds to the node, the last one, an edge for each token that paths have at this depth. */
static void add_edges(struct answer_tree *t, int node, const struct path *paths, size_t count,
                      int depth)
{
    for (size_t i = 0; i < count; i++) {
        int token = number_of_token(t, paths[i].tokens[depth]), e = t->nodes[node].first;
        while (e < t->n_edges && t->edges[e].token != token)
            e++;
        if (e < t->n_edges)
            continue;
        t->edges = xreallocarray(t->edges, (size_t)t->n_edges + 1, sizeof *t->edges);
        t->edges[t->n_edges++] = (struct answer_edge){.token = token, .node = -1, .class = -1};
        t->nodes[node].n++;
    }
}

/* The node at this depth of paths that are the same up to there, and all below it; before a node's
 * children comes the node, before a child's next sibling all below the child. */
static int grow(struct answer_tree *t, const struct path *paths, size_t count, int depth,
                int parent, int edge, const char *where, const char *key)
{
    int node = add_node(t, parent, edge);
    add_edges(t, node, paths, count, depth);
    struct path *same = xreallocarray(NULL, count, sizeof *same);
    for (int e = t->nodes[node].first, end = e + t->nodes[node].n; e < end; e++) {
        size_t n = 0;
        bool ends = false;
        for (size_t i = 0; i < count; i++)
            if (paths[i].tokens[depth] == t->tokens[t->edges[e].token]) {
                same[n++] = paths[i];
                ends = ends || paths[i].n == depth + 1;
            }
        if (ends && n > 1)
            die(EX_DATAERR,
                "%s: '%s': an answer of class %d is one of class %d, or its beginning: they cannot "
                "be told apart",
                where, key, same[0].class, same[1].class);
        if (ends) {
            t->edges[e].class = same[0].class;
        } else {
            int below = grow(t, same, n, depth + 1, node, e, where, key);
            t->edges[e].node = below;
        }
    }
    free(same);
    return node;
}

/* ---- branches ---- */

static bool has_nodes_below(const struct answer_tree *t, int node)
{
    const struct answer_node *x = &t->nodes[node];
    for (int e = x->first; e < x->first + x->n; e++)
        if (t->edges[e].node >= 0)
            return true;
    return false;
}

static void add_branch(struct answer_tree *t, int end)
{
    struct answer_branch b = {0};
    for (int i = end; t->nodes[i].parent >= 0; i = t->nodes[i].parent)
        b.n++;
    b.tokens = xcalloc((size_t)b.n + 1, sizeof *b.tokens);
    int at = b.n;
    for (int i = end; i >= 0; i = t->nodes[i].parent) {
        if (at > 0)
            b.tokens[--at] = t->tokens[t->edges[t->nodes[i].edge].token];
        b.read += !t->nodes[i].passed;
        t->nodes[i].passed = true;
    }
    t->branches = xreallocarray(t->branches, (size_t)t->n_branches + 1, sizeof *t->branches);
    t->branches[t->n_branches++] = b;
    t->depth = b.n > t->depth ? b.n : t->depth;
}

struct answer_tree *answer_tree_from_json(const json_t *list, const char *key, const char *where)
{
    struct answer_tree *t = xcalloc(1, sizeof *t);
    size_t count;
    struct path *paths = paths_of(list, where, key, &count);
    t->key = key;
    t->json = json_deep_copy(list);
    t->n_classes = (int)json_array_size(list);
    grow(t, paths, count, 0, -1, -1, where, key);
    for (int i = 0; i < t->n_nodes; i++)
        if (!has_nodes_below(t, i))
            add_branch(t, i);
    t->plain = t->n_nodes == 1 && t->n_edges == t->n_classes;
    for (size_t i = 0; i < count; i++)
        free(paths[i].tokens);
    free(paths);
    return t;
}

struct answer_tree *answer_tree_read(const struct stream_reader *r)
{
    const json_t *header = stream_header(r);
    const json_t *single = json_object_get(header, "class_tokens");
    const json_t *several = json_object_get(header, "answer_tokens");
    const json_t *list = single ? single : several;
    size_t n = json_array_size(list), classes = json_array_size(json_object_get(header, "classes"));
    if (n == 0)
        die(EX_DATAERR, "%s: the header has no 'class_tokens'; make the stream with tok",
            stream_name(r));
    if (classes && n != classes)
        die(EX_DATAERR, "%s: %zu class tokens in the header for %zu classes", stream_name(r), n,
            classes);
    if (single && several)
        die(EX_DATAERR,
            "%s: both 'class_tokens' and 'answer_tokens' in the header; make the "
            "stream with tok",
            stream_name(r));
    return answer_tree_from_json(list, single ? "class_tokens" : "answer_tokens", stream_name(r));
}

struct answer_tree *answer_tree_plain(const int32_t *tokens, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_integer(tokens[i]));
    struct answer_tree *t = answer_tree_from_json(list, "class_tokens", "class tokens");
    json_decref(list);
    return t;
}

void answer_tree_free(struct answer_tree *t)
{
    for (int i = 0; i < t->n_branches; i++)
        free(t->branches[i].tokens);
    free(t->tokens);
    free(t->edges);
    free(t->nodes);
    free(t->branches);
    json_decref(t->json);
    free(t);
}

int answer_tree_positions(const struct answer_tree *t)
{
    int n = 0;
    for (int i = 0; i < t->n_branches; i++)
        n += t->branches[i].n;
    return n;
}
