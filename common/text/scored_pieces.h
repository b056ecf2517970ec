/* Vocabularies whose merges are told by the scores of what they make: SentencePiece's BPE. */
#ifndef DUQ_TEXT_SCORED_PIECES_H
#define DUQ_TEXT_SCORED_PIECES_H

#include "common/text/bpe.h"

/* Numbers are those of sentencepiece_model.proto, and of GGUF. */
enum piece_type {
    PIECE_NORMAL = 1,
    PIECE_UNKNOWN = 2,
    PIECE_CONTROL = 3,
    PIECE_USER_DEFINED = 4,
    PIECE_UNUSED = 5,
    PIECE_BYTE = 6
};

struct scored_piece {
    const char *s; /* into the file's bytes while it is read */
    size_t len;
    float score;
    enum piece_type type;
};

/* Adds every way to put a normal piece together from two others, ranked by its score; equal scores
 * share a rank. A piece's place is its id in bpe, where all are. Dies (EX_DATAERR), naming path and
 * piece, at a normal piece with a character that is no piece. */
void scored_pieces_merge(struct bpe *bpe, const struct scored_piece *pieces, size_t n,
                         const char *path);

#endif
