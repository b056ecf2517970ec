"""llama.cpp (llama-cpp-python) on a Hugging Face folder of Llama's architecture: the folder as GGUF in bf16, prompts
one at a time, and prompts that share a prefix, whose keys and values are copied to as many sequences as fit."""

import json
import os

import gguf
import llama_cpp as ll
import numpy as np

SEQUENCES = 32


def tensors(folder):
    """name: uint16 array of bf16, of model.safetensors or its shards."""
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".safetensors"):
            continue
        raw = np.memmap(os.path.join(folder, file), dtype=np.uint8, mode="r")
        length = int(raw[:8].view("<u8")[0])
        for name, t in json.loads(bytes(raw[8:8 + length])).items():
            if name != "__metadata__":
                first, end = (8 + length + o for o in t["data_offsets"])
                yield name, np.frombuffer(bytes(raw[first:end]), "<u2").reshape(t["shape"])


def interleaved(w, heads):
    """llama.cpp rotates neighbours, Hugging Face's layout halves."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def write_gguf(folder, path):
    with open(os.path.join(folder, "config.json")) as f:
        c = json.load(f)
    heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(c["max_position_embeddings"])
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_freq_base(c["rope_theta"])
    w.add_rope_dimension_count(c.get("head_dim", c["hidden_size"] // heads))
    w.add_vocab_size(c["vocab_size"])
    w.add_tokenizer_model("none")
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    parts = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for name, t in tensors(folder):
        stem = name.removesuffix(".weight")
        if stem.startswith("model.layers."):
            _, _, layer, part = stem.split(".", 3)
            to = f"blk.{layer}.{parts[part]}.weight"
            t = interleaved(t, heads) if part.endswith("q_proj") else t
            t = interleaved(t, kv) if part.endswith("k_proj") else t
        else:
            to = names[stem] + ".weight"
        if t.ndim == 1:
            w.add_tensor(to, (t.astype("<u4") << 16).view("<f4"))
        else:
            w.add_tensor(to, np.ascontiguousarray(t).view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Llama:
    def __init__(self, path, classes, context=8192):
        self.log = ll.llama_log_callback(lambda *_: None)  # kept, for llama.cpp goes on calling it
        ll.llama_log_set(self.log, None)
        ll.llama_backend_init()
        self.model = ll.llama_model_load_from_file(path.encode(), ll.llama_model_default_params())
        p = ll.llama_context_default_params()
        p.n_ctx, p.n_batch, p.n_ubatch, p.n_seq_max = context, 2048, 2048, SEQUENCES + 1
        p.n_threads = p.n_threads_batch = 1
        if hasattr(p, "kv_unified"):
            p.kv_unified = True
        self.context = ll.llama_init_from_model(self.model, p)
        self.memory = ll.llama_get_memory(self.context)
        self.batch = ll.llama_batch_init(2048, 0, 1)
        self.classes = classes

    def decode(self, sequences):
        """sequences: (number, first position, tokens). The class logits after each one's last token."""
        b, n, last = self.batch, 0, []
        for number, first, tokens in sequences:
            for i, token in enumerate(tokens):
                b.token[n], b.pos[n], b.n_seq_id[n], b.seq_id[n][0] = token, first + i, 1, number
                b.logits[n] = i + 1 == len(tokens)
                n += 1
            last.append(n - 1)
        b.n_tokens = n
        if ll.llama_decode(self.context, b):
            raise RuntimeError("llama_decode failed")
        return [[ll.llama_get_logits_ith(self.context, i)[c] for c in self.classes] for i in last]

    def one_by_one(self, prompts):
        out = []
        for tokens in prompts:
            ll.llama_memory_clear(self.memory, True)
            out += self.decode([(0, 0, tokens)])
        return out

    def prefix_shared(self, prefix, rests):
        out = []
        ll.llama_memory_clear(self.memory, True)
        self.decode([(0, 0, prefix)])
        for i in range(0, len(rests), SEQUENCES):
            part = rests[i:i + SEQUENCES]
            for k in range(len(part)):
                ll.llama_memory_seq_cp(self.memory, 0, k + 1, -1, -1)
            out += self.decode([(k + 1, len(prefix), t) for k, t in enumerate(part)])
            for k in range(len(part)):
                ll.llama_memory_seq_rm(self.memory, k + 1, -1, -1)
        return out
