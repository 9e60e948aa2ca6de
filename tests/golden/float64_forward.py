"""Plain float64 forward pass of the model families Pentafold runs, and a safetensors reader.

An oracle that shares nothing with the C++: numpy only, no cache, no batching, one matrix at a time,
the whole prompt at once. README.md lists the semantics and the public files that confirm them.
"""
import json
import math
import os
import struct

import numpy as np

MOE_FAMILIES = ("mixtral", "qwen2_moe", "qwen3_moe", "olmoe")


def read_safetensors(path):
    """Name -> float64 array, for F32, F16 and BF16 tensors."""
    with open(path, "rb") as file:
        raw = file.read()
    (header_bytes,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + header_bytes])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + header_bytes + offset for offset in entry["data_offsets"])
        data = raw[begin:end]
        if entry["dtype"] == "BF16":
            bits = np.frombuffer(data, dtype="<u2").astype(np.uint32) << 16
            values = bits.view(np.float32)
        else:
            values = np.frombuffer(data, dtype={"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"]).astype(np.float64)
    return tensors


def read_checkpoint(directory):
    """(config, weights) of a directory with one model.safetensors or an index of shards."""
    with open(os.path.join(directory, "config.json")) as file:
        config = json.load(file)
    index = os.path.join(directory, "model.safetensors.index.json")
    if not os.path.exists(index):
        return config, read_safetensors(os.path.join(directory, "model.safetensors"))
    with open(index) as file:
        weight_map = json.load(file)["weight_map"]
    weights = {}
    for shard in sorted(set(weight_map.values())):
        tensors = read_safetensors(os.path.join(directory, shard))
        assert set(tensors) == {name for name, home in weight_map.items() if home == shard}
        weights.update(tensors)
    return config, weights


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def kv_heads(config):
    return config.get("num_key_value_heads") or config["num_attention_heads"]


def layer_windows(config):
    """Keys each layer sees, the token itself included; 0: all."""
    family, layers = config["model_type"], config["num_hidden_layers"]
    window = config.get("sliding_window") or 0
    if family in ("llama", "olmoe"):
        return [0] * layers
    if family == "mixtral":
        return [window] * layers
    if not config.get("use_sliding_window", False):
        return [0] * layers
    if family == "qwen3_moe":
        return [window] * layers
    types = config.get("layer_types")
    if types:
        sliding = [kind == "sliding_attention" for kind in types]
    elif family == "qwen3":
        sliding = [i >= config.get("max_window_layers", 28) for i in range(layers)]
    else:  # qwen2_moe: every other layer from the first, below max_window_layers
        sliding = [i % 2 == 0 and i < config.get("max_window_layers", 28) for i in range(layers)]
    return [window if slides else 0 for slides in sliding]


def is_moe_layer(config, layer):
    family = config["model_type"]
    if family in ("mixtral", "olmoe"):
        return True
    if family not in MOE_FAMILIES:
        return False
    return (layer not in (config.get("mlp_only_layers") or [])
            and (layer + 1) % config.get("decoder_sparse_step", 1) == 0)


def rope_parameters(config):
    """(theta, scaling dict): the older two keys, or the newer one that holds both."""
    default = 1e6 if config["model_type"] == "mixtral" else 1e4
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return scaling.get("rope_theta", config.get("rope_theta", default)), scaling


def yarn_frequencies(base, theta, dim, scaling, max_positions):
    original = scaling.get("original_max_position_embeddings") or max_positions
    factor = scaling["factor"]

    def pair_with_rotations(rotations):  # index of the pair that turns so often
        return dim * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(theta))

    low = pair_with_rotations(scaling.get("beta_fast") or 32)
    high = pair_with_rotations(scaling.get("beta_slow") or 1)
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    interpolated = np.clip((np.arange(dim // 2) - low) / (high - low), 0, 1)
    attention = scaling.get("attention_factor")
    if attention is None:
        attention = 0.1 * math.log(factor) + 1 if factor > 1 else 1.0
    return base / factor * interpolated + base * (1 - interpolated), attention


def llama3_frequencies(base, scaling):
    factor, original = scaling["factor"], scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = original * base / (2 * math.pi)  # rotations within the original context
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return base / factor * (1 - kept) + base * kept


def rope_tables(config, positions):
    """(cos, sin), each (positions, head_dim / 2)."""
    dim = head_dim(config)
    theta, scaling = rope_parameters(config)
    frequencies, attention = theta ** (-np.arange(0, dim, 2) / dim), 1.0
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "linear":
        frequencies = frequencies / scaling["factor"]
    elif kind == "llama3":
        frequencies = llama3_frequencies(frequencies, scaling)
    elif kind == "yarn":
        frequencies, attention = yarn_frequencies(frequencies, theta, dim, scaling,
                                                  config["max_position_embeddings"])
    elif kind != "default":
        raise ValueError(f"rope type {kind}")
    angles = np.outer(np.arange(positions), frequencies)
    return attention * np.cos(angles), attention * np.sin(angles)


def rotate(x, cos, sin):
    """x (heads, tokens, head_dim): element i pairs with i + head_dim / 2."""
    first, second = np.split(x, 2, axis=-1)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Forward:
    """Logits of a prompt; then `router_gap` is the smallest relative gap (p_k - p_k+1) / p_k."""

    def __init__(self, config, weights):
        assert config.get("hidden_act", "silu") == "silu"
        self.config, self.weights = config, weights
        self.eps = config["rms_norm_eps"]
        self.router_gap = math.inf

    def linear(self, x, name):
        """x W^T, plus the bias where the checkpoint has one."""
        y = x @ self.weights[name + ".weight"].T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias

    def norm(self, x, name):
        return rms_norm(x, self.weights[name + ".weight"], self.eps)

    def project_qkv(self, x, prefix):
        """q (heads, tokens, head_dim) and k, v (kv heads, ...), ready for the rotation."""
        family, dim = self.config["model_type"], head_dim(self.config)
        q, k, v = (self.linear(x, prefix + name) for name in ("q_proj", "k_proj", "v_proj"))
        if family == "olmoe":  # over all heads together, before the clip
            q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
            clip = self.config.get("clip_qkv")
            if clip is not None:
                q, k, v = (np.clip(t, -clip, clip) for t in (q, k, v))
        q, k, v = (t.reshape(len(x), -1, dim).transpose(1, 0, 2) for t in (q, k, v))
        if family in ("qwen3", "qwen3_moe"):  # each head by itself
            q, k = self.norm(q, prefix + "q_norm"), self.norm(k, prefix + "k_norm")
        return q, k, v

    def attention(self, x, layer):
        prefix, tokens = f"model.layers.{layer}.self_attn.", len(x)
        q, k, v = self.project_qkv(x, prefix)
        cos, sin = rope_tables(self.config, tokens)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        group = len(q) // len(k)
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(head_dim(self.config))
        query, key = np.arange(tokens)[:, None], np.arange(tokens)[None, :]
        seen = key <= query
        window = layer_windows(self.config)[layer]
        if window:
            seen &= key > query - window
        mixed = softmax(np.where(seen, scores, -np.inf)) @ v
        return self.linear(mixed.transpose(1, 0, 2).reshape(tokens, -1), prefix + "o_proj")

    def mlp(self, x, prefix, names=("gate_proj", "up_proj", "down_proj")):
        gate, up, down = (prefix + name for name in names)
        a = self.linear(x, gate)
        return self.linear(a * sigmoid(a) * self.linear(x, up), down)

    def experts(self, x, layer):
        config, mixtral = self.config, self.config["model_type"] == "mixtral"
        prefix = f"model.layers.{layer}." + ("block_sparse_moe." if mixtral else "mlp.")
        names = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
        top_k = config["num_experts_per_tok"]
        probability = softmax(self.linear(x, prefix + "gate"))
        order = np.argsort(-probability, axis=-1, kind="stable")
        ranked = np.take_along_axis(probability, order, axis=-1)
        if top_k < ranked.shape[1]:
            gaps = (ranked[:, top_k - 1] - ranked[:, top_k]) / ranked[:, top_k - 1]
            self.router_gap = min(self.router_gap, gaps.min())
        weight = ranked[:, :top_k]
        if mixtral or config.get("norm_topk_prob", False):
            weight = weight / weight.sum(axis=-1, keepdims=True)
        y = np.zeros_like(x)
        for token in range(len(x)):
            for rank in range(top_k):
                expert = f"{prefix}experts.{order[token, rank]}."
                y[token] += weight[token, rank] * self.mlp(x[token], expert, names)
        if config["model_type"] == "qwen2_moe":
            gate = sigmoid(self.linear(x, prefix + "shared_expert_gate"))
            y += gate * self.mlp(x, prefix + "shared_expert.")
        return y

    def logits(self, ids):
        """(tokens, vocab) float64."""
        config = self.config
        x = self.weights["model.embed_tokens.weight"][np.asarray(ids)]
        for layer in range(config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, prefix + "input_layernorm"), layer)
            h = self.norm(x, prefix + "post_attention_layernorm")
            x = x + (self.experts(h, layer) if is_moe_layer(config, layer)
                     else self.mlp(h, prefix + "mlp."))
        x = self.norm(x, "model.norm")
        tied = config.get("tie_word_embeddings", False)
        head = self.weights["model.embed_tokens.weight" if tied else "lm_head.weight"]
        return x @ head.T
