"""Writes the golden checkpoints and their float64 logits (README.md), or checks the stored ones.

    python3 make_golden.py          write everything again (same bytes: seeds are fixed)
    python3 make_golden.py --check  the stored logits against a fresh pass over what is stored
    python3 make_golden.py --loss   the oracle against models/tiny-moe's own (1 minute)
"""
import importlib.util
import json
import os
import sys

import numpy as np

from checkpoint_writer import random_tensor, tensor_shapes, write_json, write_safetensors
from float64_forward import Forward, layer_windows, read_checkpoint

HERE = os.path.dirname(os.path.abspath(__file__))
TINY_MOE = os.path.join(HERE, "..", "..", "models", "tiny-moe")
PROMPT_TOKENS = 24
MIN_ROUTER_GAP = 2e-3  # of the k-th probability: no expert choice hangs on rounding
MIN_BITE = 0.02  # every reading in Case.wrong must move some logit by more than this


def common(family, architecture, **sizes):
    """Keys that transformers 4.x writes for every family here; `sizes` overrides and adds."""
    return {
        "architectures": [architecture], "attention_dropout": 0.0, "bos_token_id": 1,
        "eos_token_id": 2, "hidden_act": "silu", "initializer_range": 0.02,
        "max_position_embeddings": 256, "model_type": family, "rms_norm_eps": 1e-06,
        "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "torch_dtype": "float32", "transformers_version": "4.51.0", "use_cache": True, **sizes}


def mixtral(**sizes):
    return common("mixtral", "MixtralForCausalLM", **{
        "head_dim": None, "num_experts_per_tok": 2, "num_hidden_layers": 2, "num_local_experts": 8,
        "output_router_logits": False, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001, "router_jitter_noise": 0.0, "sliding_window": None, **sizes})


def qwen_moe(family, architecture, **sizes):
    return common(family, architecture, **{
        "decoder_sparse_step": 1, "max_window_layers": 28, "mlp_only_layers": [],
        "num_hidden_layers": 2, "output_router_logits": False, "router_aux_loss_coef": 0.001,
        "sliding_window": 4096, "use_sliding_window": False, **sizes})


def olmoe(**sizes):
    return common("olmoe", "OlmoeForCausalLM", **{
        "attention_bias": False, "clip_qkv": None, "norm_topk_prob": False, "num_hidden_layers": 2,
        "output_router_logits": False, "rms_norm_eps": 1e-05, "router_aux_loss_coef": 0.01,
        **sizes})


def llama(**sizes):
    return common("llama", "LlamaForCausalLM", **{
        "attention_bias": False, "mlp_bias": False, "num_hidden_layers": 2, "pretraining_tp": 1,
        **sizes})


def newer(config, dtype="float32"):
    """As transformers 5 writes it: one rope dictionary, `dtype`, Qwen3-MoE's experts renamed."""
    config = dict(config)
    if config["model_type"] == "qwen3_moe":
        config["num_local_experts"] = config.pop("num_experts")
        del config["max_window_layers"]
        config["sliding_window"] = None  # 5.x drops it where use_sliding_window is false
    scaling = config.pop("rope_scaling") or {"rope_type": "default"}
    config["rope_parameters"] = {"rope_theta": config.pop("rope_theta"), **scaling}
    config["dtype"] = dtype
    del config["torch_dtype"]
    config["transformers_version"] = "5.0.0"
    return config


def heads(hidden, query, key_value, vocab, **more):
    return {"hidden_size": hidden, "num_attention_heads": query, "num_key_value_heads": key_value,
            "vocab_size": vocab, **more}


def moe_sizes(experts, top_k, width, **more):
    return {"num_experts": experts, "num_experts_per_tok": top_k, "moe_intermediate_size": width,
            **more}


class Case:
    """A checkpoint to make. `wrong`: config changes that a wrong reader would amount to."""

    def __init__(self, config, wrong, dtype="F32", shards=1):
        self.config, self.wrong, self.dtype, self.shards = config, wrong, dtype, shards


LLAMA3 = {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
          "original_max_position_embeddings": 32, "rope_type": "llama3"}
YARN = {"factor": 4.0, "original_max_position_embeddings": 64, "rope_type": "yarn"}
NO_ROPE_SCALING = {"rope_scaling": None}
OTHER_THETA = {"rope_theta": 500000.0}


def mixtral_cases():
    return {
        "mixtral": Case(mixtral(**heads(32, 4, 2, 96), intermediate_size=8), [OTHER_THETA]),
        "mixtral_sliding": Case(
            mixtral(**heads(32, 4, 2, 97, head_dim=8), intermediate_size=8, sliding_window=9,
                    tie_word_embeddings=True),
            [{"sliding_window": None}, {"sliding_window": 8}, {"sliding_window": 10}]),
        "mixtral_bf16": Case(
            mixtral(**heads(48, 6, 3, 112), intermediate_size=12, torch_dtype="bfloat16"),
            [OTHER_THETA], dtype="BF16"),
        "mixtral_sharded": Case(mixtral(**heads(32, 4, 1, 100, head_dim=8), intermediate_size=8),
                                [OTHER_THETA], shards=3),
    }


def qwen_moe_cases():
    qwen2 = ("qwen2_moe", "Qwen2MoeForCausalLM")
    qwen3 = ("qwen3_moe", "Qwen3MoeForCausalLM")
    types = ["full_attention", "sliding_attention"]
    return {
        # No qkv_bias key: the published Qwen1.5-MoE configs predate it, and the biases are there.
        "qwen2_moe": Case(
            qwen_moe(*qwen2, **heads(32, 4, 2, 104), intermediate_size=40, mlp_only_layers=[1],
                     **moe_sizes(6, 3, 12, norm_topk_prob=False,
                                 shared_expert_intermediate_size=24)),
            [{"norm_topk_prob": True}, OTHER_THETA,
             {"use_sliding_window": True, "sliding_window": 4}]),
        "qwen2_moe_sparse_step": Case(
            qwen_moe(*qwen2, **heads(32, 4, 2, 98), intermediate_size=24, decoder_sparse_step=2,
                     num_hidden_layers=3, use_sliding_window=True, sliding_window=6,
                     max_window_layers=2, qkv_bias=True, tie_word_embeddings=True,
                     **moe_sizes(8, 2, 8, norm_topk_prob=True, shared_expert_intermediate_size=16)),
            [{"norm_topk_prob": False}, {"use_sliding_window": False},
             {"layer_types": [types[1]] * 3}, {"layer_types": [types[1], types[1], types[0]]},
             {"layer_types": [types[0], types[0], types[1]]}]),
        "qwen3_moe": Case(
            qwen_moe(*qwen3, **heads(32, 4, 1, 106, head_dim=16), intermediate_size=96,
                     attention_bias=False, rope_theta=1000000.0,
                     **moe_sizes(8, 4, 6, norm_topk_prob=True)),
            [{"norm_topk_prob": False}, OTHER_THETA]),
        "qwen3_moe_dense_first": Case(
            newer(qwen_moe(*qwen3, **heads(40, 6, 2, 101, head_dim=8), intermediate_size=24,
                           attention_bias=True, mlp_only_layers=[0],
                           **moe_sizes(8, 3, 8, norm_topk_prob=False))),
            [{"norm_topk_prob": True}, {"rope_parameters": OTHER_THETA}]),
    }


def olmoe_cases():
    return {
        "olmoe": Case(
            olmoe(**heads(32, 4, 2, 96), intermediate_size=4, num_experts=16,
                  num_experts_per_tok=4),
            [{"norm_topk_prob": True}, OTHER_THETA]),
        "olmoe_clip": Case(
            olmoe(**heads(32, 8, 4, 102), intermediate_size=6, num_experts=10,
                  num_experts_per_tok=3, clip_qkv=0.75, tie_word_embeddings=True),
            [{"clip_qkv": None}, {"clip_qkv": 1.0}]),
    }


def dense_cases():
    sliding = ["full_attention", "sliding_attention", "full_attention"]
    no_attention_factor = {"rope_scaling": {**YARN, "attention_factor": 1.0}}
    not_truncated = {"rope_scaling": {**YARN, "truncate": False}}
    return {
        "llama": Case(
            llama(**heads(48, 6, 2, 128, head_dim=8), intermediate_size=24, rope_theta=500.0,
                  rope_scaling=LLAMA3, tie_word_embeddings=True),
            [NO_ROPE_SCALING, {"rope_scaling": {"type": "linear", "factor": 8.0}},
             {"rope_scaling": {**LLAMA3, "low_freq_factor": 2.0}}]),
        "llama_bias": Case(
            llama(**heads(32, 4, 1, 97), intermediate_size=40, attention_bias=True, mlp_bias=True,
                  rope_scaling={"factor": 2.5, "type": "linear"}),
            [NO_ROPE_SCALING]),
        "llama_yarn": Case(
            llama(**heads(32, 4, 2, 99, head_dim=16), intermediate_size=24, rope_scaling=YARN),
            [NO_ROPE_SCALING, no_attention_factor, not_truncated,
             {"rope_scaling": {"type": "linear", "factor": 4.0}}]),
        "qwen3": Case(
            newer(common("qwen3", "Qwen3ForCausalLM", **heads(32, 4, 2, 110, head_dim=16),
                         attention_bias=False, intermediate_size=16, layer_types=sliding,
                         max_window_layers=1, num_hidden_layers=3, sliding_window=7,
                         tie_word_embeddings=True, use_sliding_window=True)),
            [{"layer_types": None}, {"use_sliding_window": False}, {"sliding_window": 8}]),
        "llama_f16": Case(
            newer(llama(**heads(48, 8, 2, 107, head_dim=8), intermediate_size=32), "float16"),
            [{"rope_parameters": OTHER_THETA}], dtype="F16"),
    }


CASES = {**mixtral_cases(), **qwen_moe_cases(), **olmoe_cases(), **dense_cases()}


def write_checkpoint(directory, case, seed):
    os.makedirs(directory, exist_ok=True)
    rng = np.random.default_rng(seed)
    tensors = {name: random_tensor(rng, name, shape) for name, shape in tensor_shapes(case.config)}
    write_json(os.path.join(directory, "config.json"), case.config)
    if case.shards == 1:
        write_safetensors(os.path.join(directory, "model.safetensors"), tensors, case.dtype)
    else:
        weight_map, total, names = {}, 0, list(tensors)
        for shard in range(case.shards):
            begin, end = (part * len(names) // case.shards for part in (shard, shard + 1))
            mine = names[begin:end]
            file = f"model-{shard + 1:05d}-of-{case.shards:05d}.safetensors"
            total += write_safetensors(os.path.join(directory, file),
                                       {name: tensors[name] for name in mine}, case.dtype)
            weight_map.update({name: file for name in mine})
        write_json(os.path.join(directory, "model.safetensors.index.json"),
                   {"metadata": {"total_size": total}, "weight_map": weight_map})
    ids = [1] + rng.integers(3, case.config["vocab_size"], PROMPT_TOKENS - 2).tolist()
    ids.append(case.config["vocab_size"] - 1)
    write_json(os.path.join(directory, "prompt.json"), {"ids": ids})
    return ids


def bites(case, weights, ids, logits):
    """For each wrong reading, the largest change of a logit."""
    return [float(np.abs(Forward({**case.config, **change}, weights).logits(ids) - logits).max())
            for change in case.wrong]


def make_case(number, name, case):
    """The first seed whose router choices are clear and whose wrong readings all show."""
    directory = os.path.join(HERE, name)
    for seed in range(1000 * number, 1000 * number + 200):
        ids = write_checkpoint(directory, case, seed)
        forward = Forward(*read_checkpoint(directory))  # the stored values, rounding included
        logits = forward.logits(ids)
        changes = bites(case, forward.weights, ids, logits)
        if forward.router_gap > MIN_ROUTER_GAP and min(changes) > MIN_BITE and 1 < logits.std() < 3:
            break
    else:
        raise RuntimeError(f"{name}: no seed has std 1..3, clear routing and visible mistakes")
    np.save(os.path.join(directory, "logits.npy"), logits.astype("<f4"))
    size = sum(os.path.getsize(os.path.join(directory, file)) for file in os.listdir(directory))
    print(f"{name:22} seed {seed} std {logits.std():.2f} router gap {forward.router_gap:.1e} "
          f"windows {layer_windows(case.config)} bites {[round(c, 2) for c in changes]} "
          f"{size / 1e3:.0f} kB")


def tiny_moe_tokens():
    return np.fromfile(os.path.join(TINY_MOE, "training", "valid.bin"), dtype="<u2").astype(int)


def make_tiny_moe():
    ids = tiny_moe_tokens()[:16].tolist()
    forward = Forward(*read_checkpoint(TINY_MOE))
    np.save(os.path.join(HERE, "tiny_moe_logits.npy"), forward.logits(ids).astype("<f4"))
    write_json(os.path.join(HERE, "tiny_moe_prompt.json"), {"ids": ids})
    print(f"tiny_moe router gap {forward.router_gap:.1e}")


def check_stored(checkpoint, prompt, logits):
    """The largest difference of the stored logits to a fresh pass over the stored checkpoint."""
    with open(prompt) as file:
        ids = json.load(file)["ids"]
    return float(np.abs(Forward(*read_checkpoint(checkpoint)).logits(ids) - np.load(logits)).max())


def check_all():
    worst = check_stored(TINY_MOE, os.path.join(HERE, "tiny_moe_prompt.json"),
                         os.path.join(HERE, "tiny_moe_logits.npy"))
    for name in CASES:
        directory = os.path.join(HERE, name)
        difference = check_stored(directory, os.path.join(directory, "prompt.json"),
                                  os.path.join(directory, "logits.npy"))
        worst = max(worst, difference)
        print(f"{name:22} {difference:.1e}")
    print(f"largest difference {worst:.1e} (float32 rounding of the stored logits)")
    return 0 if worst < 2e-6 else 1


def check_loss(windows=20, length=256):
    """The loss on held-out text, and the distance to the forward pass the weights came with."""
    path = os.path.join(TINY_MOE, "training", "oracle_float64.py")
    spec = importlib.util.spec_from_file_location("oracle_float64", path)
    theirs = importlib.util.module_from_spec(spec)
    sys.argv = [path, TINY_MOE]
    spec.loader.exec_module(theirs)
    config, weights = read_checkpoint(TINY_MOE)
    tokens, losses, worst = tiny_moe_tokens(), [], 0.0
    for window in range(windows):
        text = tokens[window * (length + 1):(window + 1) * (length + 1)]
        logits = Forward(config, weights).logits(text[:-1])
        worst = max(worst, float(np.abs(logits - theirs.fwd(text[:-1])[0]).max()))
        top = logits.max(axis=-1)
        normaliser = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
        losses.append((normaliser - logits[np.arange(length), text[1:]]).mean())
    print(f"{np.mean(losses):.4f} nats per token, largest difference to its own oracle {worst:.1e}")
    return 0 if worst < 1e-9 else 1


def main():
    if "--check" in sys.argv:
        return check_all()
    if "--loss" in sys.argv:
        return check_loss()
    for number, (name, case) in enumerate(CASES.items()):
        make_case(number, name, case)
    make_tiny_moe()
    return 0


if __name__ == "__main__":
    sys.exit(main())
