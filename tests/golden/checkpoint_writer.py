"""Tensor names, shapes and random values of a checkpoint for a config, and a safetensors writer."""
import json
import struct

import numpy as np

from float64_forward import head_dim, is_moe_layer, kv_heads


def has_bias(config, part):
    if config["model_type"] == "qwen2_moe":
        return part == "qkv" and config.get("qkv_bias", True)
    return bool(config.get("mlp_bias" if part == "mlp" else "attention_bias", False))


def mlp_matrices(prefix, width, hidden, bias=False, names=("gate_proj", "up_proj", "down_proj")):
    for name, shape in zip(names, ((width, hidden), (width, hidden), (hidden, width))):
        yield f"{prefix}{name}.weight", shape
        if bias:
            yield f"{prefix}{name}.bias", shape[:1]


def attention_tensors(config, prefix):
    hidden, dim, family = config["hidden_size"], head_dim(config), config["model_type"]
    q, kv = config["num_attention_heads"] * dim, kv_heads(config) * dim
    for name, shape in (("q_proj", (q, hidden)), ("k_proj", (kv, hidden)), ("v_proj", (kv, hidden)),
                        ("o_proj", (hidden, q))):
        yield f"{prefix}{name}.weight", shape
        if has_bias(config, "o" if name == "o_proj" else "qkv"):
            yield f"{prefix}{name}.bias", shape[:1]
    if family in ("olmoe", "qwen3", "qwen3_moe"):
        yield prefix + "q_norm.weight", (q if family == "olmoe" else dim,)
        yield prefix + "k_norm.weight", (kv if family == "olmoe" else dim,)


def moe_tensors(config, layer):
    family, hidden = config["model_type"], config["hidden_size"]
    mixtral_names = family == "mixtral"
    prefix = f"model.layers.{layer}." + ("block_sparse_moe." if mixtral_names else "mlp.")
    names = ("w1", "w3", "w2") if mixtral_names else ("gate_proj", "up_proj", "down_proj")
    experts = config.get("num_local_experts") or config["num_experts"]
    width = config.get("moe_intermediate_size") or config["intermediate_size"]
    yield prefix + "gate.weight", (experts, hidden)
    for expert in range(experts):
        yield from mlp_matrices(f"{prefix}experts.{expert}.", width, hidden, names=names)
    if family == "qwen2_moe":
        yield from mlp_matrices(prefix + "shared_expert.",
                                config["shared_expert_intermediate_size"], hidden)
        yield prefix + "shared_expert_gate.weight", (1, hidden)


def tensor_shapes(config):
    """(name, shape) of every stored tensor; a tied head is not stored."""
    hidden, vocab = config["hidden_size"], config["vocab_size"]
    yield "model.embed_tokens.weight", (vocab, hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield from attention_tensors(config, prefix + "self_attn.")
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        if is_moe_layer(config, layer):
            yield from moe_tensors(config, layer)
        else:
            yield from mlp_matrices(prefix + "mlp.", config["intermediate_size"], hidden,
                                    has_bias(config, "mlp"))
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocab, hidden)


def random_tensor(rng, name, shape):
    """Scaled so that activations stay near 1, routers choose clearly and logits have std 1 to 3."""
    values = rng.standard_normal(shape)
    if len(shape) == 1:
        return 0.4 * values if name.endswith(".bias") else 1 + 0.25 * values
    gain = 1.7 if "down_proj" in name or ".w2." in name or ".gate." in name else 1.3
    if name == "model.embed_tokens.weight":
        return 0.3 * values
    return values * gain / np.sqrt(shape[1])


def encode(values, dtype):
    if dtype != "BF16":
        return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()
    bits = values.astype("<f4").view("<u4")
    nearest_even = bits + 0x7FFF + ((bits >> 16) & 1)
    return (nearest_even >> 16).astype("<u2").tobytes()


def write_safetensors(path, tensors, dtype):
    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        blob = encode(tensors[name], dtype)
        header[name] = {"dtype": dtype, "shape": list(tensors[name].shape),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    return offset


def write_json(path, value):
    with open(path, "w") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.write("\n")
