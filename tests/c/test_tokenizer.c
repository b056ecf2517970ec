/* Tokenizers: each id and each decoded line as `tokenizers` and `sentencepiece` have them, recorded
 * by tests/oracle/tok_record.py in tests/data/tok; their parts for themselves. */
#include "common/stream/record.h"
#include "common/text/added_tokens.h"
#include "common/text/bpe.h"
#include "common/text/regex_dialect.h"
#include "common/text/tokenizer.h"
#include "common/text/unicode.h"
#include "common/text/unicode_forms.h"
#include "common/text/word_cache.h"

#include <glob.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include <cmocka.h>

#define DATA "tests/data/tok/"

/* ---- recorded ---- */

static struct stream_reader *open_recorded(const char *name, const char *what, const char *schema)
{
    char *path = xasprintf(DATA "%s.%s.mp.zst", name, what);
    struct stream_reader *r = stream_open(path, schema);
    free(path);
    return r;
}

/* Every recorded line has its recorded ids; lines without a record have none. */
static void check_ids(struct tokenizer *t, const char *name)
{
    struct stream_reader *lines = stream_open(DATA "lines.mp.zst", "prompt");
    struct stream_reader *recorded = open_recorded(name, "tokens", "tokens");
    struct prompt line;
    struct tokens wanted;
    struct ids ids = {0};
    bool more = tokens_read(recorded, &wanted);
    while (prompt_read(lines, &line)) {
        ids.len = 0;
        tokenizer_encode(t, line.text.data, line.text.len, true, &ids);
        bool has_ids = more && !strcmp(wanted.id, line.id);
        if (ids.len != (has_ids ? wanted.n_tokens : 0) ||
            (has_ids && memcmp(ids.data, wanted.tokens, ids.len * sizeof *ids.data)))
            fail_msg("%s: line %s: other ids than recorded", name, line.id);
        if (has_ids)
            more = tokens_read(recorded, &wanted);
    }
    assert_false(more);
    ids_free(&ids);
    stream_close(lines);
    stream_close(recorded);
}

static void check_decoding(struct tokenizer *t, const char *name)
{
    struct stream_reader *recorded = open_recorded(name, "tokens", "tokens");
    struct stream_reader *texts = open_recorded(name, "back", "prompt");
    struct prompt wanted;
    struct tokens line;
    struct buf text = {0};
    while (tokens_read(recorded, &line)) {
        assert_true(prompt_read(texts, &wanted));
        text.len = 0;
        tokenizer_trim(t, &line.tokens, &line.n_tokens);
        tokenizer_decode(t, line.tokens, line.n_tokens, false, &text);
        if (text.len != wanted.text.len ||
            (text.len && memcmp(text.data, wanted.text.data, text.len)))
            fail_msg("%s: line %s: decoded to another text than recorded", name, line.id);
    }
    buf_free(&text);
    stream_close(recorded);
    stream_close(texts);
}

static void recorded_lines_have_their_ids_and_come_back(void **state)
{
    (void)state;
    glob_t files;
    assert_int_equal(glob(DATA "*.json", 0, NULL, &files), 0);
    assert_int_equal(glob(DATA "*.model", GLOB_APPEND, NULL, &files), 0);
    assert_true(files.gl_pathc >= 15);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        const char *start = files.gl_pathv[i] + strlen(DATA), *dot = strrchr(start, '.');
        char *name = xasprintf("%.*s", (int)(dot - start), start);
        struct tokenizer *t = tokenizer_open(files.gl_pathv[i]);
        check_ids(t, name);
        check_decoding(t, name);
        tokenizer_free(t);
        free(name);
    }
    globfree(&files);
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check_long(const char *file, const char *hex, size_t count, size_t n_ids,
                       uint64_t digest)
{
    char *path = xasprintf(DATA "%s", file);
    struct tokenizer *t = tokenizer_open(path);
    struct buf piece = {0}, text = {0};
    for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += 2)
        buf_addc(&piece, (char)byte);
    for (size_t i = 0; i < count; i++)
        buf_add(&text, piece.data, piece.len);
    struct ids ids = {0};
    double start = processor_seconds();
    tokenizer_encode(t, text.data, text.len, true, &ids);
    /* Quadratic time would take hours, an interpreter under sanitizers some seconds. */
    assert_true(processor_seconds() - start < 20);
    assert_int_equal(ids.len, n_ids);
    assert_true(XXH64(ids.data, ids.len * sizeof *ids.data, 0) == digest);
    ids_free(&ids);
    buf_free(&piece);
    buf_free(&text);
    tokenizer_free(t);
    free(path);
}

static void lines_of_a_megabyte_have_their_ids_in_time(void **state)
{
    (void)state;
    FILE *f = fopen(DATA "long.tsv", "r");
    assert_non_null(f);
    char line[256], file[64], hex[64];
    size_t count, n_ids, checked = 0;
    uint64_t digest;
    while (fgets(line, sizeof line, f)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(
            sscanf(line, "%63s %63s %zu %zu %" SCNx64, file, hex, &count, &n_ids, &digest), 5);
        check_long(file, hex, count, n_ids, digest);
        checked++;
    }
    fclose(f);
    assert_true(checked >= 20);
}

static void a_class_is_its_first_token_without_bos(void **state)
{
    (void)state;
    struct tokenizer *t = tokenizer_open(DATA "sp-identity.model");
    struct ids ids = {0};
    tokenizer_encode(t, "positive", 8, true, &ids);
    assert_string_equal(tokenizer_token(t, ids.data[0]), "<s>");
    assert_int_equal(tokenizer_first_token(t, "positive"), ids.data[1]);
    ids_free(&ids);
    tokenizer_free(t);
}

/* ---- byte-pair encoding ---- */

enum { LETTERS = 4, MERGES = 60 };

struct random_bpe {
    struct bpe *model;
    struct {
        int32_t left, right, merged;
        uint32_t rank;
    } merges[MERGES];
    size_t n_merges;
};

/* Letters a to d, and the tokens that random merges of them make. */
static struct random_bpe random_bpe(void)
{
    struct random_bpe r = {.model = bpe_new()};
    char tokens[LETTERS + MERGES][64] = {"a", "b", "c", "d"};
    int32_t n = LETTERS;
    for (int32_t i = 0; i < n; i++)
        bpe_add_token(r.model, tokens[i], 1, i);
    bpe_set_options(r.model, &(struct bpe_options){.unknown = NO_TOKEN});
    for (uint32_t rank = 0; rank < MERGES; rank++) {
        int32_t left = rand() % n, right = rand() % n;
        char joined[2 * sizeof tokens[0]];
        size_t len = (size_t)snprintf(joined, sizeof joined, "%s%s", tokens[left], tokens[right]);
        if (len >= sizeof tokens[0])
            continue;
        int32_t merged = bpe_find(r.model, joined, len);
        if (merged == NO_TOKEN) {
            merged = n++;
            memcpy(tokens[merged], joined, len + 1);
            bpe_add_token(r.model, joined, len, merged);
        }
        bpe_add_merge(r.model, left, right, merged, rank);
        r.merges[r.n_merges].left = left;
        r.merges[r.n_merges].right = right;
        r.merges[r.n_merges].merged = merged;
        r.merges[r.n_merges++].rank = rank;
    }
    bpe_ready(r.model);
    return r;
}

/* By the definition: the lowest rank of all neighbours, of those the leftmost, one at a time; of
 * two merges of one pair the last holds. */
static size_t merge_by_definition(const struct random_bpe *r, int32_t *ids, size_t n)
{
    for (;;) {
        size_t best = 0, merge = MERGES;
        for (size_t i = 0; i + 1 < n; i++) {
            size_t k = r->n_merges;
            while (k > 0 &&
                   !(r->merges[k - 1].left == ids[i] && r->merges[k - 1].right == ids[i + 1]))
                k--;
            if (k > 0 && k - 1 < merge) {
                merge = k - 1;
                best = i;
            }
        }
        if (merge == MERGES)
            return n;
        ids[best] = r->merges[merge].merged;
        memmove(&ids[best + 1], &ids[best + 2], (n - best - 2) * sizeof *ids);
        n--;
    }
}

static void words_of_any_length_merge_by_the_definition(void **state)
{
    (void)state;
    enum { LONGEST = 200 };
    srand(1);
    for (int round = 0; round < 100; round++) {
        struct random_bpe r = random_bpe();
        for (int i = 0; i < 10; i++) {
            char word[LONGEST];
            int32_t wanted[LONGEST];
            size_t n = 1 + (size_t)rand() % LONGEST;
            for (size_t k = 0; k < n; k++) {
                wanted[k] = rand() % LETTERS;
                word[k] = (char)('a' + wanted[k]);
            }
            size_t n_wanted = merge_by_definition(&r, wanted, n);
            struct ids got = {0};
            bpe_encode(r.model, word, n, &got);
            bpe_encode(r.model, word, n, &got); /* once more, from the cache if it is short */
            assert_int_equal(got.len, 2 * n_wanted);
            assert_memory_equal(got.data, wanted, n_wanted * sizeof *wanted);
            assert_memory_equal(got.data + n_wanted, wanted, n_wanted * sizeof *wanted);
            ids_free(&got);
        }
        bpe_free(r.model);
    }
}

static void a_full_word_cache_starts_again(void **state)
{
    (void)state;
    enum { WORDS = 600000 };
    struct word_cache *c = word_cache_new();
    size_t found = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int32_t i = 0; i < WORDS; i++) {
            char word[16];
            size_t len = (size_t)snprintf(word, sizeof word, "%d", i % (WORDS / 2 - 7));
            int32_t ids[2] = {i % (WORDS / 2 - 7), -1}, n = 1 + i % 2;
            struct ids got = {0};
            uint64_t hash = word_cache_hash(word, len);
            if (word_cache_find(c, hash, word, len, &got)) {
                found++;
                assert_int_equal(got.data[0], ids[0]);
            } else {
                word_cache_add(c, hash, word, len, ids, (size_t)n);
            }
            ids_free(&got);
        }
    }
    assert_true(found > 0);
    word_cache_free(c);
}

/* ---- patterns ---- */

static void patterns_are_said_in_pcre2s_words(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"a\\x41\\u00e9\\x{1f600}", "a\\x{41}\\x{e9}\\x{1f600}"},
        {"\\h\\v", "[0-9a-fA-F]\\x0b"},
        {"(?m:.)(?i:x)", "(?s:.)(?i:x)"},
        {"(?i)x", "(?i)x"},
        {"a{,3}b{2,}c{d}", "a{0,3}b{2,}c\\{d}"},
        {"\\p{L}\\P{Lu}\\p{^N}", "\\p{L}\\P{Lu}\\P{N}"},
        {"[]a]|[^\\]]", "[\\]a]|[^\\]]"},
        {"\\d{1,3}+|[ab]{2}+c", "(?:\\d{1,3})+|(?:[ab]{2})+c"},
        {"a++b?+(?>c)(?<=d)(?!e)", "a++b?+(?>c)(?<=d)(?!e)"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct buf b = {0};
        assert_null(regex_from_oniguruma(pairs[i][0], &b));
        assert_string_equal(buf_str(&b), pairs[i][1]);
        buf_free(&b);
    }
}

static void patterns_that_pcre2_cannot_say_are_refused(void **state)
{
    (void)state;
    static const char *const patterns[] = {
        "[a[bc]]", "[[:alpha:]]", "[a&&b]", "(a){2}+", "a{2}?", "a(?i)b", "(?~a)",  "\\K",
        "[\\W]",   "[a",          "\\",     "\\k<a>",  "\\pL",  "\\xff",  "(*FAIL)"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        struct buf b = {0};
        assert_non_null(regex_from_oniguruma(patterns[i], &b));
        buf_free(&b);
    }
}

/* ---- Unicode ---- */

static void the_byte_alphabet_goes_both_ways(void **state)
{
    (void)state;
    assert_int_equal(byte_to_char(' '), 0x120);  /* GPT-2's "G with a dot" */
    assert_int_equal(byte_to_char('\n'), 0x10A); /* and its "C with a dot" */
    for (int b = 0; b < 256; b++)
        assert_int_equal(char_to_byte(byte_to_char((unsigned char)b)), b);
    assert_int_equal(char_to_byte(' '), -1);
    assert_int_equal(char_to_byte(0x144), -1);
}

static void check_form(enum unicode_form form, const char *text, const char *wanted)
{
    struct buf b = {0};
    unicode_to_form(form, text, strlen(text), &b);
    assert_string_equal(buf_str(&b), wanted);
    buf_free(&b);
}

static void normal_forms_order_and_compose(void **state)
{
    (void)state;
    check_form(FORM_NFC, "e\xCC\x81", "\xC3\xA9");
    check_form(FORM_NFD, "\xC3\xA9", "e\xCC\x81");
    check_form(FORM_NFD, "a\xCC\x81\xCC\xA3", "a\xCC\xA3\xCC\x81"); /* U+0301 after U+0323 */
    check_form(FORM_NFKC, "\xEF\xAC\x81\xC2\xB2", "fi2");
    check_form(FORM_NFC, "\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81");
    /* U+1133B came with Unicode 11: it keeps its place, and U+0301 does not pass it. */
    check_form(FORM_NFC, "e\xF0\x91\x8C\xBB\xCC\x81", "e\xF0\x91\x8C\xBB\xCC\x81");
}

static void broken_bytes_become_replacement_characters(void **state)
{
    (void)state;
    struct buf b = {0};
    utf8_add_lossy(&b, "a\xE2\x82z\xFF\xF0\x9F\x98", 8);
    assert_string_equal(buf_str(&b), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
    buf_free(&b);
}

/* The parts of "a<s>>b<s>" by their tokens, with a literal part. */
static void check_split(const struct added_tokens *a, int32_t from, int32_t to, const char *wanted)
{
    const char *text = "a<s>>b<s>";
    struct piece whole = {text, strlen(text), NO_TOKEN, true};
    struct pieces parts = {0};
    struct buf found = {0};
    int32_t offsets[] = {from, to};
    added_tokens_split(a, &whole, &(struct literal_parts){offsets, from < to ? 2 : 0}, &parts);
    for (size_t i = 0; i < parts.len; i++)
        buf_addf(&found, "%.*s%s ", (int)parts.data[i].len, parts.data[i].s,
                 parts.data[i].token == NO_TOKEN ? "" : "!");
    assert_string_equal(buf_str(&found), wanted);
    buf_free(&found);
    pieces_free(&parts);
}

static void no_added_token_reaches_into_a_literal_part(void **state)
{
    (void)state;
    struct added_tokens *a = added_tokens_new();
    added_tokens_add(a, "<s>", 3, (struct added_token){.id = 1});
    added_tokens_add(a, "<s>>", 4, (struct added_token){.id = 2});
    check_split(a, 0, 0, "a <s>>! b <s>! ");
    check_split(a, 0, 1, "a <s>>! b <s>! ");
    check_split(a, 4, 5, "a <s>! >b <s>! ");
    check_split(a, 3, 4, "a<s>>b <s>! ");
    check_split(a, 1, 4, "a<s>>b <s>! ");
    check_split(a, 0, 9, "a<s>>b<s> ");
    check_split(a, 6, 9, "a <s>>! b<s> ");
    check_split(a, 8, 9, "a <s>>! b<s> ");
    added_tokens_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_lines_have_their_ids_and_come_back),
        cmocka_unit_test(lines_of_a_megabyte_have_their_ids_in_time),
        cmocka_unit_test(a_class_is_its_first_token_without_bos),
        cmocka_unit_test(words_of_any_length_merge_by_the_definition),
        cmocka_unit_test(a_full_word_cache_starts_again),
        cmocka_unit_test(patterns_are_said_in_pcre2s_words),
        cmocka_unit_test(patterns_that_pcre2_cannot_say_are_refused),
        cmocka_unit_test(the_byte_alphabet_goes_both_ways),
        cmocka_unit_test(normal_forms_order_and_compose),
        cmocka_unit_test(no_added_token_reaches_into_a_literal_part),
        cmocka_unit_test(broken_bytes_become_replacement_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
