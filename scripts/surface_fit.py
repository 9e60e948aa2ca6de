"""Robust fit of one efficiency surface (src/predict/efficiency.h) to measured times; needs numpy.

A surface is floor + ((work / ec)^p + (traffic / eb)^p)^(1/p) + stream x extra, all in seconds, with
log2 ec and log2 eb sums of piecewise linear curves over log2 axes. Slopes are bounded so that time
is monotone, and each sum of curves is at most 0, so that time is never below the roofline. Fitted
by Levenberg-Marquardt on log residuals, reweighted towards least absolute ones, because the tables
hold isolated outliers.
"""
import numpy as np

LEAST_EFFICIENCY = -12.0


class Axis:
    """Knots of one curve over axis `index`, slopes within [low, high]."""

    def __init__(self, index, first, step, count, low=-0.3, high=1.0):
        self.index, self.first, self.step, self.count = index, first, step, count
        self.low, self.high = low, high


class Points:
    """Rows of one table: axes (n x 3, log2), work, traffic, extra (seconds at peak), seconds."""

    def __init__(self, axes, work, traffic, extra, seconds, group):
        self.axes = np.asarray(axes, float)
        self.work, self.traffic = np.asarray(work, float), np.asarray(traffic, float)
        self.extra, self.seconds = np.asarray(extra, float), np.asarray(seconds, float)
        self.group = np.asarray(group)

    def __len__(self):
        return len(self.seconds)

    def take(self, index):
        return Points(self.axes[index], self.work[index], self.traffic[index], self.extra[index],
                      self.seconds[index], self.group[index])

    def thin(self, most, seed=1):
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(seed).choice(len(self), most, False)))


def joined(parts):
    parts = [p for p in parts if len(p)]
    return Points(*(np.concatenate([getattr(p, name) for p in parts])
                    for name in ("axes", "work", "traffic", "extra", "seconds", "group")))


def sigmoid(u):
    return 1 / (1 + np.exp(-np.clip(u, -30, 30)))


class Form:
    """Which curves an operator has, and the map from free numbers to them."""

    def __init__(self, compute, memory, floor=None, p_bounds=(1.0, 8.0), stream=True):
        self.compute, self.memory = compute, memory
        self.floor = floor or Axis(0, 0, 1, 1)
        self.p_bounds, self.stream = p_bounds, stream

    def start(self):
        size = self.floor.count + 2
        for curves in (self.compute, self.memory):
            size += (1 + sum(a.count - 1 for a in curves)) if curves else 0
        free = np.zeros(size)
        free[0] = np.log2(4e-6)
        free[1:self.floor.count] = -2.0
        free[self.floor.count + 1] = -2.0
        return free

    def unpack(self, free):
        at = self.floor.count
        # The floor never falls: its first value, then rises of at most 2 a knot.
        floor = np.concatenate([[free[0]], free[0] + np.cumsum(2 * sigmoid(free[1:at]))])
        p = self.p_bounds[0] + (self.p_bounds[1] - self.p_bounds[0]) * sigmoid(free[at])
        stream = np.exp(np.clip(free[at + 1], -12, 6)) if self.stream else 0.0
        at += 2
        sides = []
        for curves in (self.compute, self.memory):
            values = []
            if curves:
                top = -np.log1p(np.exp(np.clip(free[at], -30, 30)))
                at += 1
                for axis in curves:
                    n = axis.count - 1
                    slopes = axis.low + (axis.high - axis.low) * sigmoid(free[at:at + n])
                    at += n
                    curve = np.concatenate([[0], np.cumsum(slopes * axis.step)])
                    values.append(curve - curve.max())
                values[0] = np.maximum(values[0] + top, LEAST_EFFICIENCY)
            sides.append(values)
        return floor, p, stream, sides

    def log_time(self, free, points):
        floor, p, stream, sides = self.unpack(free)
        fixed = 2.0 ** interpolate(self.floor, floor, points.axes)
        terms = []
        for curves, values, work in ((self.compute, sides[0], points.work),
                                     (self.memory, sides[1], points.traffic)):
            if curves:
                log = np.log2(np.maximum(work, 1e-30))
                for axis, v in zip(curves, values):
                    log = log - interpolate(axis, v, points.axes)
                terms.append(log)
        if len(terms) == 2:
            big, small = np.maximum(*terms), np.minimum(*terms)
            log = big + np.log2(1 + 2.0 ** (p * (small - big))) / p
        else:
            log = terms[0]
        return np.log(fixed + 2.0 ** log + stream * points.extra)


def interpolate(axis, values, axes):
    if axis.count == 1:
        return np.full(len(axes), values[0])
    x = np.clip((axes[:, axis.index] - axis.first) / axis.step, 0, axis.count - 1)
    i = np.minimum(x.astype(int), axis.count - 2)
    return values[i] + (values[i + 1] - values[i]) * (x - i)


def fit(form, points, rounds=60, start=None, tries=4, prior=None):
    """The best of several starts: the loss has shallow side valleys. `prior`: free numbers of a like
    device, kept where a small table says nothing."""
    if prior is not None:
        return descend(form, points, rounds, prior if start is None else start, prior)[0]
    if start is not None:
        return descend(form, points, rounds, start)[0]
    random = np.random.default_rng(3)
    begins = [form.start()]
    for _ in range(tries - 1):
        shaken = form.start() + random.normal(0, 1.0, len(begins[0]))
        shaken[0] = begins[0][0] + random.normal(0, 0.7)
        begins.append(shaken)
    found = [descend(form, points, 12, begin) for begin in begins]
    best = min(found, key=lambda f: f[1])[0]
    return descend(form, points, rounds, best)[0]


def descend(form, points, rounds, free, prior=None):
    free = free.copy()
    target = np.log(points.seconds)
    damping = 1e-2
    ridge = 1e-3 * len(points) / len(free) if prior is None else 1.0
    centre = np.zeros(len(free)) if prior is None else np.clip(prior, -6, 6)
    centre[0] = free[0]

    def loss(u):
        r = form.log_time(u, points) - target
        return r, np.abs(r).sum() + 0.5 * ridge * (((u - centre)[1:] / 6) ** 2).sum()

    residual, value = loss(free)
    stalls = 0
    for _ in range(rounds):
        jacobian = np.empty((len(points), len(free)))
        for j in range(len(free)):
            step = free.copy()
            step[j] += 1e-4
            jacobian[:, j] = (form.log_time(step, points) - target - residual) / 1e-4
        weight = 1 / np.maximum(np.abs(residual), 0.05)
        hold = np.full(len(free), ridge / 36)
        hold[0] = 0
        hessian = jacobian.T @ (jacobian * weight[:, None]) + np.diag(hold)
        gradient = jacobian.T @ (residual * weight) + hold * (free - centre)
        before = value
        for _ in range(10):
            lifted = hessian + damping * np.diag(np.diag(hessian) + 1e-3)
            trial = free - np.clip(np.linalg.solve(lifted, gradient), -2, 2)
            trial_residual, trial_value = loss(trial)
            if trial_value < value:
                free, residual, value = trial, trial_residual, trial_value
                damping = max(damping / 4, 1e-7)
                break
            damping = min(damping * 4, 1e7)
        stalls = stalls + 1 if value > before * (1 - 1e-4) else 0
        if stalls == 3:
            break
    return free, value


def errors(form, free, points):
    return form.log_time(free, points) - np.log(points.seconds)


def held_out(form, points, free, prior=None, folds=3, most=2000):
    """Residuals of every fold under a fit to the others, begun at `free`, a fit to all; whole groups
    (shapes) are left out."""
    names, which = np.unique(points.group, return_inverse=True, axis=0)
    order = np.random.default_rng(7).permutation(len(names))
    fold = order[which.ravel()] % folds
    out = np.empty(len(points))
    for i in range(folds):
        other = fit(form, points.take(fold != i).thin(most), 20, free, prior=prior)
        out[fold == i] = errors(form, other, points.take(fold == i))
    return out
