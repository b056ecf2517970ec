/* What stands beside a tokenizer.model: a BOS or none, and tokens that the model does not have. */
#include "common/text/json_parts.h"
#include "common/text/tokenizer_folder.h"
#include "common/text/tokenizer_parts.h"
#include "common/util/diag.h"
#include "common/util/file.h"
#include "common/util/json.h"
#include "common/util/mem.h"

#include <stdlib.h>
#include <string.h>

bool sentencepiece_wants_bos(const char *model_path)
{
    static const char name[] = "tokenizer_config.json";
    const char *slash = strrchr(model_path, '/');
    char *path = xasprintf("%.*s%s", slash ? (int)(slash + 1 - model_path) : 0, model_path, name);
    bool wanted = true;
    if (file_exists(path)) {
        json_t *config = json_read_file(path);
        wanted = json_part_flag(config, "add_bos_token", true, name, path);
        if (json_part_flag(config, "add_eos_token", false, name, path))
            die(EX_DATAERR, "%s: 'add_eos_token' is not supported beside a tokenizer.model", path);
        json_decref(config);
    }
    free(path);
    return wanted;
}

void sentencepiece_check_folder(const struct tokenizer *t, const char *folder)
{
    json_t *vocabulary = json_object(), *token;
    for (int32_t id = 0; id < t->size; id++)
        json_object_set_new(vocabulary, tokenizer_token(t, id), json_integer(id));
    json_t *file = json_pack("{s{so}s[]}", "model", "vocab", vocabulary, "added_tokens");
    tokenizer_folder_add_tokens(folder, file, t->path);
    size_t i;
    json_array_foreach(json_object_get(file, "added_tokens"), i, token)
    {
        json_int_t id = json_integer_value(json_object_get(token, "id"));
        const char *content = json_string_value(json_object_get(token, "content"));
        if (id >= t->size || sentencepiece_is_word(t->sentencepiece, (int32_t)id))
            die(EX_DATAERR,
                "%s: the files beside it add the token '%s', which is not supported without a "
                "tokenizer.json: AutoTokenizer.from_pretrained('%s').save_pretrained('%s') in "
                "Python writes one",
                t->path, content, folder, folder);
    }
    json_decref(file);
}
