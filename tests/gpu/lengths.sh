# shellcheck shell=bash
# Tokens that a prompt shares with its texts' others, and of its own: few-shot, zero-shot. Those of
# SST-2 and YouTube are measured means under Mistral's tokenizer, those of Amazon and Yahoo assume
# texts of 100 and 130 tokens in their task files' prompts. Then texts to test and to train on, and
# the published batch.
lengths() { # SET
    case $1 in
    Amazon) echo "791 105 36 105 5000 10000 16" ;;
    SST-2) echo "433 28 21 28 872 10000 16" ;;
    Yahoo) echo "1141 136 69 136 5000 10000 1" ;;
    YouTube) echo "467 36 27 33 711 1100 16" ;;
    esac
}
