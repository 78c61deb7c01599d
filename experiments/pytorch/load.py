"""Checkpoints in PyTorch: what their policies say of a few rows of features, as JSON.

python load.py FOLDER OUT.json
"""

import json
import math
import sys
from pathlib import Path

import torch
from safetensors import safe_open

NAMES = ["dqn", "gru", "ppo"]
ROWS = 6


class Policy(torch.nn.Module):
    """The policy of a checkpoint, with its normalisation and what it remembers."""

    def __init__(self, path):
        super().__init__()
        with safe_open(path, framework="pt") as file:
            self.manifest = json.loads(file.metadata()["autoscale.manifest"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}
        if self.manifest["version"] != 2:
            raise ValueError(f"{path} has another layout")
        net = self.manifest["net"]
        self.features = len(self.manifest["feature_names"])
        self.actions = len(self.manifest["action_table"])

        def layer(name):
            """Weight, transposed into PyTorch's `[outputs, inputs]`, and bias."""
            return arrays[f"policy.{name}.weight"].T, arrays[f"policy.{name}.bias"]

        def linear(name, inputs, outputs):
            module = torch.nn.Linear(inputs, outputs)
            weight, bias = layer(name)
            module.load_state_dict({"weight": weight, "bias": bias})
            return module

        width = self.features
        hidden = []
        for k, outputs in enumerate(net["hidden"]):
            hidden += [linear(f"hidden.{k}", width, outputs), torch.nn.ReLU()]
            width = outputs
        self.hidden = torch.nn.Sequential(*hidden)
        self.gru, self.state = None, None
        if net.get("gru"):
            self.gru = torch.nn.GRUCell(width, net["gru"])
            (weight_ih, bias_ih), (weight_hh, bias_hh) = layer("gru.input"), layer("gru.hidden")
            self.gru.load_state_dict(
                {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
            )
            width = net["gru"]
        self.output = linear("output", width, self.manifest["outputs"])

        # Behind the features' moments are those of what only the critic sees.
        self.mean = arrays["normalizer.mean"][: self.features].float()
        variance = arrays["normalizer.variance"][: self.features]
        self.deviation = (variance + 1e-4).sqrt().float()

    def forward(self, row):
        """Preferences, one an action: `[features] -> [actions]`."""
        x = ((row - self.mean) / self.deviation).clamp(-10, 10)
        x = self.hidden(x)
        if self.gru is not None:
            self.state = self.gru(x, self.state)
            x = self.state
        return self.output(x)[: self.actions]


def row(number, features):
    """Made-up features; three decimals, so that every program reads the same numbers."""
    return [round(2 * math.sin(1.3 * number + 0.7 * k), 3) for k in range(features)]


def lines(rows):
    return ",\n".join(json.dumps(row) for row in rows)


def main():
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    policies = {name: Policy(folder / f"{name}.safetensors") for name in NAMES}
    (features,) = {policy.features for policy in policies.values()}
    inputs = [row(number, features) for number in range(ROWS)]
    outputs = []
    for name, policy in policies.items():
        with torch.no_grad():
            answers = [policy(torch.tensor(numbers)).tolist() for numbers in inputs]
        # Nine digits are all that a number of 32 bits has.
        answers = [[float(f"{x:.9g}") for x in answer] for answer in answers]
        outputs.append(f'"{name}": [\n{lines(answers)}\n]')
    joined = ",\n".join(outputs)
    out.write_text(
        f'{{\n"torch": "{torch.__version__}",\n"inputs": [\n{lines(inputs)}\n],\n'
        f'"outputs": {{\n{joined}\n}}\n}}\n'
    )


main()
