"""Readers of published kernel tables: each yields points of one operator on one GPU; needs numpy.

Shapes become the axes of src/predict/operators.cc: what is computed here must be what is computed
there. Known defects of the tables are dropped here, each with its reason.
"""
import csv
import gzip
import json
import re
from pathlib import Path

import numpy as np

from surface_fit import Points

AIC = "aiconfigurator"
BACKENDS = {"sglang": "sglang/0.5.14", "tensorrt-llm": "trtllm/1.3.0rc20", "vllm": "vllm/0.19.0"}
FORMATS = {"bfloat16": "bf16", "fp8": "fp8", "fp8_block": "fp8-block", "int4_wo": "int4",
           "w4a16_mxfp4": "mxfp4", "nvfp4": "nvfp4"}
WEIGHT_BYTES = {"bf16": 2, "fp8": 1, "fp8-block": 1 + 4 / 128 ** 2, "int4": 0.5 + 2 / 128,
                "mxfp4": 0.5 + 1 / 32, "nvfp4": 0.5 + 1 / 16}
PEAK_OF = {"bf16": "bf16", "fp8": "fp8", "fp8-block": "fp8", "int4": "bf16", "mxfp4": "bf16",
           "nvfp4": "fp4"}
UNITS = {"GB/s": 1e9, "TB/s": 1e12, "Gb/s": 1.25e8, "TFLOPS": 1e12, "TOPS": 1e12, "us": 1e-6}


def quantity(text):
    number, unit = re.fullmatch(r"([\d.]+)(\S+)", text).groups()
    return float(number) * UNITS[unit]


def read_gpus(path):
    """Peaks of the project's own catalog, so that fit and use agree."""
    out = {}
    for entry in Path(path).read_text().split("\n  - name: ")[1:]:
        gpu = {"name": entry.split("\n")[0].strip()}
        for key, value in re.findall(r"^    (bandwidth|bf16|fp8|fp4): (\S+)", entry, re.M):
            gpu[key] = quantity(value)
        gpu["links"] = [(quantity(b), quantity(t)) for b, t in
                        re.findall(r"bandwidth: (\S+), latency: (\S+)}", entry)]
        for wanted in ("fp8", "fp4"):
            gpu.setdefault(wanted, gpu["bf16"])
        out[gpu["name"]] = gpu
    return out


def rows_of(path):
    opener = gzip.open if str(path).endswith(".gz") else open
    with opener(path, "rt") as file:
        return list(csv.DictReader(file))


def columns(rows, names):
    return np.array([[float(r[n]) for n in names.split()] for r in rows]).reshape(
        len(rows), len(names.split())).T


def points(axes, work, traffic, extra, seconds, *shape):
    axes = np.log2(np.maximum(np.stack(axes, 1), 1e-9))
    zero = np.zeros(len(seconds))
    return Points(axes, zero + work, zero + traffic, zero + extra, seconds,
                  np.stack([zero + s for s in shape], 1))


def gemm_points(gpu, fmt, m, n, k, t):
    weight = WEIGHT_BYTES[fmt]
    value = 2 if fmt in ("bf16", "int4", "mxfp4") else 1
    band = gpu["bandwidth"]
    keep = (n >= 128) & (k >= 128) & (n <= 20000) & (k <= 20000)
    m, n, k, t = (x[keep] for x in (m, n, k, t))
    return points((m, n, k), 2 * m * n * k / gpu[PEAK_OF[fmt]], n * k * weight / band,
                  (m * k * value + 2 * m * n) / band, t, n, k)


def gemm(root, gpu, system):
    for backend, version in BACKENDS.items():
        rows = rows_of(root / AIC / system / "gemm" / version / "gemm_perf.csv.gz")
        for dtype in ("bfloat16", "fp8", "fp8_block"):
            # vLLM's fp8_block table ran a slow path at small m (aiconfigurator issue 1414).
            if (backend, dtype) == ("vllm", "fp8_block"):
                continue
            mine = [r for r in rows if r["gemm_dtype"] == dtype]
            m, n, k, t = columns(mine, "m n k latency")
            fmt = FORMATS[dtype]
            yield f"gemm-{fmt}", backend, gemm_points(gpu, fmt, m, n, k, t / 1e3)


def expert_points(gpu, fmt, tokens, h, i, topk, experts, tp, ep, products, t):
    """Balanced routing: a rank's rows and touched experts follow from the counts."""
    i = i / tp
    rows = np.maximum(1, tokens * topk / ep)
    touched = np.minimum(experts / ep, rows)
    params = products * h * i
    work = 2 * rows * params / gpu[PEAK_OF[fmt]]
    traffic = touched * params * WEIGHT_BYTES[fmt] / gpu["bandwidth"]
    out = points((rows / touched, touched, params), work, traffic,
                 tokens * topk * h * 2 / gpu["bandwidth"], t, h, i * tp, experts, ep, tp)
    # A shape that is faster than its roofline anywhere was not what it says (SGLang's fp8_block
    # 7168 x 2048 with 256 experts and ep 1 reads 5.9 TB/s on H100): the whole shape goes.
    fast = np.maximum(work, traffic) > 1.03 * t
    bad = {tuple(g) for g in out.group[fast]}
    keep = np.array([tuple(g) not in bad for g in out.group]) & (i >= 64)
    return out.take(keep)


EXPERT_COLUMNS = ("num_tokens hidden_size inter_size topk num_experts moe_tp_size moe_ep_size "
                  "latency")


def experts(root, gpu, system):
    for backend, version in BACKENDS.items():
        rows = [r for r in rows_of(root / AIC / system / "moe" / version / "moe_perf.csv.gz")
                if r["distribution"] == "balanced"]
        for kernel, dtype in sorted({(r["kernel_source"], r["moe_dtype"]) for r in rows}):
            # vLLM's int4 table reads weights at a quarter of SGLang's Marlin rate, which is what
            # unquantized ones would take. The "situ" kernel and FlashInfer's bf16 one serve single
            # models.
            if (backend, dtype) == ("vllm", "int4_wo") or "situ" in kernel or "flashinfer" in kernel:
                continue
            mine = [r for r in rows if (r["kernel_source"], r["moe_dtype"]) == (kernel, dtype)]
            if (backend, dtype) == ("vllm", "w4a16_mxfp4"):
                # Its times are the same for ep 1 and 16.
                mine = [r for r in mine if r["moe_ep_size"] == "1"]
            *shape, t = columns(mine, EXPERT_COLUMNS)
            fmt = FORMATS[dtype]
            products = 2 if "nongated" in kernel else 3
            yield f"experts-{fmt}", backend, expert_points(gpu, fmt, *shape, products, t / 1e3)


def published_experts(root, gpu, label):
    chosen = {}
    for r in rows_of(root / "published_kernels.csv.gz"):
        if not (r["gpu"].startswith(label) and r["op"].startswith("fused_moe (")):
            continue
        p = json.loads(r["params"])
        if p["distribution"] != "balanced":
            continue
        backend = {"sglang": "sglang", "vllm": "vllm", "trtllm": "tensorrt-llm"}[
            r["engine_or_lib"].split()[0]]
        shape = tuple(p[n] for n in "num_tokens hidden inter topk experts moe_tp moe_ep".split())
        times = chosen.setdefault((FORMATS[r["dtype"]], backend), {})
        # Of several kernels of an engine the fastest for the shape: that is what it would pick.
        times[shape] = min(times.get(shape, np.inf), float(r["value"]) * 1e-6)
    for (fmt, backend), times in sorted(chosen.items()):
        shape, t = np.array(list(times), float).T, np.array(list(times.values()))
        yield f"experts-{fmt}", backend, expert_points(gpu, fmt, *shape, 3, t)


def prefill_points(gpu, peak, rows, pairs, heads, dims, row_bytes, t, *shape):
    work = 4 * pairs * heads * dims
    return points((pairs / rows, work, dims), work / gpu[peak], rows * row_bytes / gpu["bandwidth"],
                  0, t, *shape)


def decode_points(gpu, batch, context, token_bytes, pair_flops, t, *shape):
    tokens = batch * context
    return points((batch, context, token_bytes), tokens * pair_flops / gpu["bf16"],
                  tokens * token_bytes / gpu["bandwidth"], 0, t, *shape)


def attention(root, gpu, system):
    for backend, version in BACKENDS.items():
        folder = root / AIC / system / "attention" / version
        # H200's vLLM prefill beats its roofline up to 260 times; SGLang runs the same
        # FlashAttention-3.
        swap = (backend, system) == ("vllm", "h200_sxm")
        asked = root / AIC / system / "attention" / BACKENDS["sglang"] if swap else folder
        rows = [r for r in rows_of(asked / "context_attention_perf.csv.gz")
                if r.get("attn_dtype", "bfloat16") == "bfloat16" and r["window_size"] == "0"
                and r["kv_cache_dtype"] == "bfloat16" and int(r["isl"]) >= 16
                and int(r["head_dim"]) <= 256]
        b, isl, h, kv, hd, t = columns(
            rows, "batch_size isl num_heads num_key_value_heads head_dim latency")
        yield "prefill", backend, prefill_points(
            gpu, "bf16", b * isl, b * isl * (isl + 1) / 2, h, hd, 4 * hd * (h + kv), t / 1e3,
            h, kv, hd)
        rows = rows_of(folder / "generation_attention_perf.csv.gz")
        for cache, width in (("bfloat16", 2), ("fp8", 1)):
            # TensorRT-LLM leaves its tensor-core path above 16 heads a cached one.
            mine = [r for r in rows if r["kv_cache_dtype"] == cache and r["window_size"] == "0"
                    and int(r["step"]) >= 15 and int(r["head_dim"]) <= 256
                    and int(r["num_heads"]) <= 16 * int(r["num_key_value_heads"])]
            b, step, h, kv, hd, t = columns(
                mine, "batch_size step num_heads num_key_value_heads head_dim latency")
            name = "decode" if width == 2 else "decode-fp8"
            yield name, backend, decode_points(gpu, b, step + 1, 2 * kv * hd * width, 4 * h * hd,
                                               t / 1e3, h, kv, hd)


# DeepSeek's latent attention: 128 + 64 key and 128 value dims a head, 512 + 64 cached.
def latent(root, gpu, system):
    for backend in ("sglang", "tensorrt-llm"):
        folder = root / AIC / system / "mla" / BACKENDS[backend]
        rows = [r for r in rows_of(folder / "context_mla_perf.csv.gz")
                if r["kv_cache_dtype"] == "bfloat16" and int(r["isl"]) >= 16]
        b, isl, h, t = columns(rows, "batch_size isl num_heads latency")
        yield "mla-prefill", backend, prefill_points(
            gpu, "bf16", b * isl, b * isl * (isl + 1) / 2, h, 160 + 0 * h, 2 * h * (2 * 192 + 256),
            t / 1e3, h, b)
        rows = rows_of(folder / "generation_mla_perf.csv.gz")
        for cache, width in (("bfloat16", 2), ("fp8", 1)):
            mine = [r for r in rows if r["kv_cache_dtype"] == cache and int(r["step"]) >= 15]
            if not mine:
                continue
            b, step, h, t = columns(mine, "batch_size step num_heads latency")
            name = "mla-decode" if width == 2 else "mla-decode-fp8"
            yield name, backend, decode_points(gpu, b, step + 1, 576 * width + 0 * b,
                                               2 * h * (576 + 512), t / 1e3, h, b)


def elementwise(root, gpu, system):
    folder = root / AIC / system / "quantize" / BACKENDS["tensorrt-llm"]
    m, k, t = columns(rows_of(folder / "scale_matrix_perf.csv.gz"), "m k latency")
    moved = 3 * m * k  # bf16 in, fp8 out
    yield "elementwise", "any", points((moved, moved, moved), 0, moved / gpu["bandwidth"], 0,
                                       t / 1e3, m)


WIRE = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}


def comm_points(gpu, op, ranks, size, t):
    wire = WIRE[op] * (ranks - 1) / ranks * size / gpu["links"][0][0]
    return points((ranks, size, size), 0, wire, 0, t, size)


def collectives(root, gpu, system):
    """message_size counts elements: 134217728 halves on 8 H100 take 1.09 ms, which as 268 MB is the
    rate of apex_plus and nccl-tests; taken as bytes it would be half of it."""
    names = {"all_reduce": "all-reduce", "all_gather": "all-gather",
             "reduce_scatter": "reduce-scatter", "alltoall": "all-to-all"}
    found = {}
    for path in sorted((root / AIC / system / "comm" / "nccl").glob("*/*.csv.gz")):
        if system.startswith("h") and path.parent.name == "2.23":
            continue  # superseded
        for r in rows_of(path):
            if r["nccl_dtype"] == "half":
                found.setdefault(names[r["op_name"]], []).append(
                    [float(r["num_gpus"]), 2 * float(r["message_size"]), float(r["latency"]) / 1e3])
    for op, rows in sorted(found.items()):
        yield op, "any", comm_points(gpu, op, *np.array(rows).T)
    for backend, name in (("sglang", "sglang"), ("vllm", "vllm"), ("tensorrt-llm", "trtllm")):
        rows = []
        for path in sorted((root / AIC / system / "comm" / name).glob("*/custom_allreduce*.gz"))[-1:]:
            # What a CUDA graph replays; eager launches cost the engine, not the link.
            rows += [[float(r["num_gpus"]), 2 * float(r["message_size"]), float(r["latency"]) / 1e3]
                     for r in rows_of(path) if "eager" not in r.get("backend", "")]
        if rows:
            yield "custom-all-reduce", backend, comm_points(gpu, "all-reduce", *np.array(rows).T)


def published_collectives(root, gpu, label):
    found = {}
    for r in rows_of(root / "published_kernels.csv.gz"):
        if r["gpu"] == label and r["op"].startswith("nccl_") and r["metric"] == "latency" and \
                r["source"].startswith("NVIDIA aiconfigurator"):
            op = {"all_reduce": "all-reduce", "all_gather": "all-gather", "alltoall": "all-to-all",
                  "reduce_scatter": "reduce-scatter"}[r["op"][5:]]
            size = 2 * float(json.loads(r["params"])["bytes"])  # elements, as above
            found.setdefault(op, []).append([float(r["gpus"]), size, float(r["value"]) * 1e-6])
    for op, rows in sorted(found.items()):
        yield op, "any", comm_points(gpu, op, *np.array(rows).T)


def sends(root, gpu, folder):
    rows = rows_of(root / "apex_plus/profile/comm" / folder / "sendrecv.csv")
    size, t = columns(rows, "size(kb) time(us)")
    size = size * 1024
    keep = size > 0
    size, t = size[keep], t[keep] * 1e-6
    yield "send", "any", points((size, size, size), 0, size / gpu["links"][0][0], 0, t, size)


def exchange_points(gpu, nodes, tokens, width, topk, value_bytes, low_latency, t):
    """DeepEP: a token goes once to each rank that holds one of its experts, crossing to another
    node once; in low-latency mode once for each expert."""
    ranks = 8 * nodes
    if low_latency:
        within, across = topk / nodes * 7 / 8, topk * (nodes - 1) / nodes
    else:
        within = ranks * (1 - (1 - 1 / ranks) ** topk) * 7 / 8
        across = nodes * (1 - (1 - 1 / nodes) ** topk) * (nodes - 1) / nodes
    moved = tokens * width * value_bytes
    return points((nodes, tokens, width), across * moved / gpu["links"][1][0],
                  within * moved / gpu["links"][0][0], 0, t, width, topk, tokens)


def exchanges(root, gpu, system):
    folder = root / AIC / system / "comm/sglang"
    for mode, stem in (("", "wideep_deepep_normal_perf"), ("-low-latency", "wideep_deepep_ll_perf")):
        parts = {"dispatch": [], "combine": []}
        for version in ("0.5.12", "0.5.6.post2"):
            path = folder / version / f"{stem}.csv.gz"
            # 0.5.6's low-latency rows under H200 are a copy of H100's.
            if not path.exists() or (mode and system == "h200_sxm" and version == "0.5.6.post2"):
                continue
            for r in rows_of(path):
                # DeepEP's default of about 20 of the SMs; more tokens than an engine sends at once
                # do not matter.
                if int(r.get("dispatch_sms", 20)) != 20 or int(r["num_token"]) > 16384:
                    continue
                shape = [float(r.get("node_num", 1)), float(r["num_token"]),
                         float(r.get("hidden_size", 7168)), float(r.get("num_topk", 8))]
                for op in parts:
                    us = float(r[f"{op}_avg_t_us" if mode else f"{op}_transmit_us"])
                    if not mode and op == "dispatch":
                        us += float(r.get("dispatch_notify_us", 0))
                    parts[op].append(shape + [us * 1e-6])
        for op, rows in parts.items():
            if rows:
                nodes, tokens, width, topk, t = np.array(rows).T
                yield f"{op}{mode}", "any", exchange_points(
                    gpu, nodes, tokens, width, topk, 1 + 4 / 128 if op == "dispatch" else 2,
                    bool(mode), t)


def blackwell_workstation(root, gpu):
    """LLMServingSim's profile of Qwen3-30B-A3B under vLLM 0.19: 2048 wide, 32 heads of 128, 4 of
    them cached, experts of 768."""
    folder = (root / "llmservingsim/profiler/perf/RTXPRO6000/Qwen/Qwen3-30B-A3B-Instruct-2507/bf16")
    shapes = []
    for tp in (1, 2):
        for r in rows_of(folder / f"tp{tp}" / "dense.csv"):
            shape = {"qkv_proj": (5120 / tp, 2048), "o_proj": (2048, 4096 / tp)}.get(r["layer"])
            if shape:
                shapes.append([float(r["tokens"]), *shape, float(r["time_us"]) * 1e-6])
    yield "gemm-bf16", "any", gemm_points(gpu, "bf16", *np.array(shapes).T)
    tokens, touched, t = columns(rows_of(folder / "tp1/moe.csv"), "tokens activated_experts time_us")
    params = 3 * 2048 * 768 + 0 * t
    rows = tokens * 8 / touched
    keep = rows >= 1
    yield "experts-bf16", "any", points(
        (rows, touched, params), 2 * tokens * 8 * params / gpu["bf16"],
        touched * params * 2 / gpu["bandwidth"], tokens * 8 * 2048 * 2 / gpu["bandwidth"],
        t * 1e-6, tokens).take(keep)
    prefill, decode = [], []
    for tp in (1, 2):
        chunk, before, batch, context, t = columns(
            rows_of(folder / f"tp{tp}" / "attention.csv"),
            "prefill_chunk kv_prefill n_decode kv_decode time_us")
        # Chunks of fewer rows fill no tile of queries, whatever they look back on.
        only = (batch == 0) & (chunk >= 128)
        prefill.append(np.stack([chunk, before, tp + 0 * t, t * 1e-6], 1)[only])
        only = (chunk == 0) & (batch > 0) & (context > 0)
        decode.append(np.stack([batch, context, tp + 0 * t, t * 1e-6], 1)[only])
    rows, before, tp, t = np.concatenate(prefill).T
    yield "prefill", "any", prefill_points(
        gpu, "bf16", rows, rows * (before + (rows + 1) / 2), 32 / tp, 128 + 0 * t,
        4 * 128 * 36 / tp + before / rows * 2 * 2 * 4 / tp * 128, t, rows, before)
    batch, context, tp, t = np.concatenate(decode).T
    yield "decode", "any", decode_points(gpu, batch, context, 2 * 2 * 4 / tp * 128,
                                         4 * 32 / tp * 128, t, batch)


def infersim(root, gpu, folder):
    """DeepGEMM in fp8 with 128 x 128 blocks, on H20 and H800."""
    base = root / "infersim/bench_data"
    m, k, n, t = columns(rows_of(base / "gemm" / folder / "data.csv"), "m k n latency_us")
    yield "gemm-fp8-block", "any", gemm_points(gpu, "fp8-block", m, n, k, t * 1e-6)
    parts = []
    for phase, count in (("decode", "batch_size_per_gpu"), ("prefill", "seq_len_per_gpu")):
        parts.append(columns(
            rows_of(base / "grouped_gemm" / phase / folder / "data.csv"),
            f"{count} hidden_size intermediate_size topk num_gpus num_local_experts "
            "up_proj_us down_proj_us"))
    tokens, h, i, topk, ranks, local, up, down = np.concatenate(parts, 1)
    rows = tokens * topk  # of this rank: every rank sends as many as it gets
    touched = np.minimum(local, rows)
    params = 3 * h * i
    yield "experts-fp8-block", "any", points(
        (rows / touched, touched, params), 2 * rows * params / gpu["fp8"],
        touched * params * WEIGHT_BYTES["fp8-block"] / gpu["bandwidth"],
        rows * h * 2 / gpu["bandwidth"], (up + down) * 1e-6, h, i, local, ranks)
