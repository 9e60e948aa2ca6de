#!/usr/bin/env python3
"""Fits specs/operators/<gpu>.txt to published kernel tables; needs numpy.

usage: fit_operators.py TABLES [GPU ...]   (TABLES: a folder with copies of the tables, as named in
docs/operators.md)

Prints held-out errors by operator: whole shapes are left out, a third at a time.
"""
import datetime
import sys
from pathlib import Path

import numpy as np

import operator_tables as tables
from surface_fit import Axis, Form, errors, fit, held_out, joined

ROOT = Path(__file__).resolve().parent.parent


def form_of(op):
    if op.startswith("gemm"):
        return Form([Axis(0, 0, 2, 8), Axis(1, 7, 1.5, 6), Axis(2, 7, 1.5, 6)],
                    [Axis(0, 0, 4, 4, -1, 0), Axis(1, 7, 1.5, 6), Axis(2, 7, 1.5, 6)])
    if op.startswith("experts"):
        return Form([Axis(0, 0, 2, 8), Axis(1, 0, 2, 5), Axis(2, 18, 2, 6)],
                    [Axis(0, 0, 4, 4, -1, 0), Axis(1, 0, 2, 5), Axis(2, 18, 2, 6)])
    if "prefill" in op:
        # Flops grow with the context and with the width: slopes share what they may sum to.
        head = Axis(2, 6, 1, 3, -0.3, 0.5) if op == "prefill" else Axis(2, 7, 1, 1)
        return Form([Axis(0, 3, 2, 6, 0, 0.5), Axis(1, 20, 3, 8, -0.2, 0.5), head],
                    [Axis(1, 20, 1, 1)], stream=False)
    if "decode" in op:
        width = [Axis(2, 8, 2, 6)] if "mla" not in op else []
        side = [Axis(0, 0, 2, 6), Axis(1, 4, 2, 7)]
        return Form(side, side + width, stream=False)
    if op == "elementwise":
        return Form([], [Axis(1, 14, 2, 8)], stream=False)
    if op == "send":
        return Form([], [Axis(1, 10, 2, 10)], stream=False)
    if op.startswith(("dispatch", "combine")):
        return Form([Axis(1, 0, 2, 8)], [Axis(1, 0, 2, 8), Axis(2, 11, 1, 3)],
                    floor=Axis(0, 0, 1, 4, 0, 2), stream=False)
    return Form([], [Axis(1, 10, 2, 10), Axis(0, 1, 1, 3, -1, 1)], floor=Axis(0, 1, 1, 3, 0, 2),
                stream=False)


def is_wide(op):
    return op.startswith(("gemm", "experts")) or "prefill" in op or "decode" in op


def readers(root, gpus):
    """(gpu, system folder or label, readers) of everything that has tables."""
    wide = [tables.gemm, tables.experts, tables.attention, tables.latent, tables.elementwise,
            tables.collectives, tables.exchanges]
    apex = {"h100-sxm": "H100-SXM-80GB", "h200-sxm": "H200-SXM-141GB"}
    for name, system in (("h100-sxm", "h100_sxm"), ("h200-sxm", "h200_sxm")):
        yield name, [r(root, gpus[name], system) for r in wide] + [
            tables.sends(root, gpus[name], apex[name])]
    for name, system, label in (("b200-sxm", "b200_sxm", "B200"), ("gb200", "gb200", "GB200")):
        yield name, [tables.collectives(root, gpus[name], system),
                     tables.exchanges(root, gpus[name], system),
                     tables.published_experts(root, gpus[name], label)]
    yield "a100-sxm", [tables.published_experts(root, gpus["a100-sxm"], "A100 SXM"),
                       tables.published_collectives(root, gpus["a100-sxm"], "A100 SXM 80GB")]
    yield "rtx-pro-6000", [
        tables.published_collectives(root, gpus["rtx-pro-6000"], "RTX PRO 6000"),
        tables.blackwell_workstation(root, gpus["rtx-pro-6000"])]
    yield "h20", [tables.infersim(root, gpus["h20"], "h20")]
    yield "h800-sxm", [tables.infersim(root, gpus["h800-sxm"], "h800")]


def number(x):
    return f"{x:.3f}".rstrip("0").rstrip(".") if abs(x) >= 5e-4 else "0"


def curve_text(axis, values):
    """Rounded so that no slope passes its bound and none that may not fall does."""
    rounded = [round(float(values[0]), 3)]
    for value in values[1:]:
        low = rounded[-1] + np.ceil(axis.low * axis.step * 1000 - 1e-6) / 1000
        high = rounded[-1] + np.floor(axis.high * axis.step * 1000 + 1e-6) / 1000
        rounded.append(round(float(np.clip(round(float(value), 3), low, high)), 3))
    return f"{axis.first} {axis.step} " + " ".join(number(v) for v in rounded)


def surface_text(op, backend, form, free, points, residuals):
    floor, p, stream, sides = form.unpack(free)
    low, high = points.axes.min(0), points.axes.max(0)
    lines = [f"surface {op} {backend}", f"  points {len(points)}",
             f"  error {number(np.quantile(np.abs(residuals), 0.8))}",
             f"  blend {number(p)}", f"  stream {number(stream)}",
             f"  from {' '.join(number(x) for x in low)}",
             f"  to {' '.join(number(x) for x in high)}",
             f"  floor {curve_text(form.floor, floor)}"]
    for name, curves, values in (("compute", form.compute, sides[0]),
                                 ("memory", form.memory, sides[1])):
        lines += [f"  {name} {a.index} {curve_text(a, v)}" for a, v in zip(curves, values)]
    return "\n".join(lines)


SOURCES = """\
# Utilisation surfaces of {name}; what they mean: src/predict/efficiency.h, docs/operators.md.
# Written by scripts/fit_operators.py on {date}; do not edit. Fitted to
#   ai-dynamo/aiconfigurator 095f58a51c4ca8e61b66ec108d86f223f8d559ce (Apache-2.0), kernel tables
#   measured with SGLang 0.5.14, TensorRT-LLM 1.3.0rc20, vLLM 0.19.0 and NCCL;
#   microsoft/apex_plus 8769096536a34e8b3010fd444021f13858663a93 (MIT), send;
#   casys-kaist/LLMServingSim 5daddb21a545658d5150b535712d0494584b5278 (MIT), RTX PRO 6000;
#   alibaba/InferSim f2293dab6d23fe2780356eb71e0ffc3b4baf61dd (Apache-2.0), H20 and H800.
"""


SMALL = 1000  # points below which a table keeps what H100 says where it says nothing


def fit_gpu(name, streams, gpus, kept):
    """Adds (form, free numbers, points) by (gpu, operator, kernels) to `kept`."""
    by_op = {}
    for stream in streams:
        for op, backend, points in stream:
            by_op.setdefault(op, {}).setdefault(backend, []).append(points)
    texts = []
    for op, backends in sorted(by_op.items()):
        form = form_of(op)
        merged = {backend: joined(parts) for backend, parts in backends.items()}
        if len(merged) > 1:
            merged["any"] = joined([p.thin(2500) for p in merged.values()])
        elif "any" not in merged:
            merged["any"] = merged.pop(next(iter(merged)))
        for backend, points in sorted(merged.items()):
            like = kept.get(("h100-sxm", op, backend), kept.get(("h100-sxm", op, "any")))
            prior = like[1] if like and len(points) < SMALL and is_wide(op) else None
            free = fit(form, points.thin(3000), prior=prior)
            residuals = held_out(form, points, free, prior)
            kept[name, op, backend] = form, free, points.thin(4000)
            texts.append(surface_text(op, backend, form, free, points, residuals))
            fitted = errors(form, free, points)
            print(f"| {name} | {op} | {backend} | {len(points)} | "
                  f"{100 * np.median(np.abs(fitted)):.1f} | "
                  f"{100 * np.median(np.abs(residuals)):.1f} | "
                  f"{100 * np.quantile(np.abs(residuals), 0.8):.1f} | "
                  f"{100 * np.median(residuals):+.1f} |", flush=True)
    head = SOURCES.format(name=name, date=datetime.date.today().isoformat())
    latency = gpus[name]["links"][0][1]
    body = f"gpu {name}\nlink_latency_us {number(latency * 1e6)}\n"
    out = ROOT / "specs/operators" / f"{name}.txt"
    out.write_text(head + body + "\n".join(texts) + "\n")


def show_transfers(kept):
    """H100's utilisation on other devices' peaks, against what was measured there."""
    print("\n| operator | kernels | on | points | median, % | 80 % below, % | bias, % |")
    print("|---|---|---|---|---|---|---|")
    for (gpu, op, backend), (_, _, points) in kept.items():
        source = kept.get(("h100-sxm", op, backend))
        if gpu == "h100-sxm" or source is None or not is_wide(op):
            continue
        off = errors(source[0], source[1], points)
        print(f"| {op} | {backend} | {gpu} | {len(points)} | {100 * np.median(np.abs(off)):.0f} | "
              f"{100 * np.quantile(np.abs(off), 0.8):.0f} | {100 * np.median(off):+.0f} |")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    gpus = tables.read_gpus(ROOT / "specs/gpus.yaml")
    wanted = sys.argv[2:]
    kept = {}
    print("| GPU | operator | kernels | points | fitted, % | held out, % | 80 % below, % | bias, % |")
    print("|---|---|---|---|---|---|---|---|")
    for name, streams in readers(Path(sys.argv[1]), gpus):
        if not wanted or name in wanted:
            fit_gpu(name, streams, gpus, kept)
    show_transfers(kept)


if __name__ == "__main__":
    main()
