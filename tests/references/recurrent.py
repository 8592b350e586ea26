"""Recurrent layers one number at a time, including what a fused layer hides, from the equations in torch's docs."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def unrolled(mode, weights, inputs, start, *, backwards=False):
    """Run one layer in one direction over one sequence.

    `weights` are by name (`weight_ih`, `weight_hh`, `bias_ih`, `bias_hh`, `weight_hr`); the last three may be missing.
    `start` is `(h,)` or `(h, c)`. Returns the states, `(steps, size)`, and the sigmoid gates by name, each `(steps,
    units)`.
    """
    h, c = start[0], start[-1]
    states, gates = [None] * len(inputs), [None] * len(inputs)
    for t in reversed(range(len(inputs))) if backwards else range(len(inputs)):
        x = weights["weight_ih"] @ inputs[t] + weights.get("bias_ih", 0.0)
        r = weights["weight_hh"] @ h + weights.get("bias_hh", 0.0)
        if mode == "LSTM":
            i, f, g, o = np.split(x + r, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            h = weights["weight_hr"] @ h if "weight_hr" in weights else h
            gates[t] = {"input": sigmoid(i), "forget": sigmoid(f), "output": sigmoid(o)}
        elif mode == "GRU":
            (x_r, x_z, x_n), (r_r, r_z, r_n) = np.split(x, 3), np.split(r, 3)
            reset, update = sigmoid(x_r + r_r), sigmoid(x_z + r_z)
            h = (1 - update) * np.tanh(x_n + reset * r_n) + update * h
            gates[t] = {"reset": reset, "update": update}
        else:
            h = np.tanh(x + r) if mode == "RNN_TANH" else np.maximum(x + r, 0)
            gates[t] = {}
        states[t] = h
    return np.array(states), {name: np.array([gate[name] for gate in gates]) for name in gates[0]}


def shares(mode, layers, sequences, starts):
    """Statistics of units and gates in a stack of layers over whole sequences.

    `layers[depth][direction]` are weights, and `starts[depth][direction][sequence]` are states before the first step.
    Returns one dictionary for each depth and direction, in this order.
    """
    found = []
    for directions, begun in zip(layers, starts, strict=True):
        runs = [
            [
                unrolled(mode, weights, inputs, start, backwards=position == 1)
                for inputs, start in zip(sequences, begun[position], strict=True)
            ]
            for position, weights in enumerate(directions)
        ]
        found += [_shares(mode, run) for run in runs]
        sequences = [np.concatenate([states for states, _ in both], axis=1) for both in zip(*runs, strict=True)]
    return found


def _shares(mode, run):
    states = np.concatenate([states for states, _ in run])
    if mode == "RNN_TANH":
        return {"saturated_fraction": np.mean(np.abs(states) > 0.95)}
    if mode == "RNN_RELU":
        return {"dead_fraction": np.mean(np.all(states <= 0, axis=0))}
    kept = "forget" if mode == "LSTM" else "update"
    gates = {name: np.concatenate([gates[name] for _, gates in run]) for name in run[0][1]}
    decided = np.concatenate(list(gates.values()))
    return {
        f"{kept}_gate_mean": gates[kept].mean(),
        f"{kept}_gate_max": gates[kept].mean(axis=0).max(),
        "saturated_gate_fraction": np.mean((decided < 0.05) | (decided > 0.95)),
    }
