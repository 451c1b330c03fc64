"""The same networks, losses and training step in plain PyTorch, on CPUs: python benchmarks/train_step.py --peers torch

A worker process of `train_step.py` runs this file, with the weights and the batch that `keras_peers.py` wrote down.
Padding is TensorFlow's ("same" pads a convolution of stride 2 at the bottom and right only), so that equal weights
give equal losses; beyond that it is ordinary PyTorch: the teacher under `no_grad`, SGD with momentum in its fused form,
as many threads as cores, and the faster of the two memory formats, which is found out first.
"""

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import workers
from torch import nn

GROUPS = ("group1", "group2", "group3")
TEMPERATURE, ALPHA = 4.0, 0.9
DROPOUT, LEARNING_RATE = 0.4, 1e-3  # as in `keras_peers.py`
PARAMETERS = {(16, 2): 691_674, (40, 2): 2_243_546}
TRIAL_STEPS = 4  # of each memory format, the first of which is not timed


class Conv(nn.Conv2d):
    """A convolution without bias that pads as TensorFlow's "same" does, for sides that the stride divides."""

    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(inputs, outputs, size, stride, padding=size // 2 if stride == 1 else 0, bias=False)
        self.bottom_right = size - stride if stride > 1 and size > 1 else 0

    def forward(self, x):
        if self.bottom_right:
            x = F.pad(x, (0, self.bottom_right, 0, self.bottom_right))
        return super().forward(x)


def norm(channels):
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)


class Block(nn.Module):
    """BN-ReLU-conv-BN-ReLU-dropout-conv; where the shape changes, the shortcut sees the pre-activated input."""

    def __init__(self, inputs, outputs, stride, dropout):
        super().__init__()
        self.norm1, self.norm2 = norm(inputs), norm(outputs)
        self.conv1, self.conv2 = Conv(inputs, outputs, 3, stride), Conv(outputs, outputs, 3)
        self.shortcut = Conv(inputs, outputs, 1, stride) if inputs != outputs else None
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x):
        out = F.relu_(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        out = F.relu_(self.norm2(self.conv1(out)))
        out = self.conv2(self.dropout(out))
        out += shortcut
        return out


class WideResNet(nn.Module):
    """Images (batch, 3, height, width) -> mapping of the features' names, and "logits", to tensors."""

    def __init__(self, depth, width, dropout=0.0, num_classes=10):
        super().__init__()
        self.stem, channels = Conv(3, 16, 3), 16
        for group, outputs in zip(GROUPS, (16 * width, 32 * width, 64 * width), strict=True):
            blocks = nn.ModuleDict()
            for number in range(1, (depth - 4) // 6 + 1):
                stride = 2 if group != "group1" and number == 1 else 1
                blocks[f"block{number}"] = Block(channels, outputs, stride, dropout)
                channels = outputs
            self.add_module(group, blocks)
        self.final, self.logits = norm(channels), nn.Linear(channels, num_classes)
        expected = PARAMETERS.get((depth, width))
        assert expected in (None, sum(parameter.numel() for parameter in self.parameters()))

    def forward(self, x):
        x, features = self.stem(x), {}
        for group in GROUPS:
            for block in self.get_submodule(group).values():
                x = block(x)
            features[group] = x
        features["embedding"] = F.relu_(self.final(x)).mean((2, 3))
        return {**features, "logits": self.logits(features["embedding"])}


def convert_weights(weights):
    """Keras's variables (mapping of path -> array) as a PyTorch state: kernels HWIO -> OIHW, dense ones transposed."""
    names = {"kernel": "weight", "gamma": "weight", "bias": "bias", "beta": "bias"}
    names.update(moving_mean="running_mean", moving_variance="running_var")
    axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
    state = {}
    for path, array in weights.items():
        layer, kind = path.split("/")
        layer = re.sub(r"^(group\d)_(block\d+)_", r"\1.\2.", layer).removesuffix("_bn")
        layer = re.sub(r"\.([12])$", r".norm\1", layer)
        array = np.ascontiguousarray(array.transpose(axes[array.ndim]))
        state[f"{layer}.{names[kind]}"] = torch.from_numpy(array)
        if kind == "gamma":
            state[f"{layer}.num_batches_tracked"] = torch.tensor(0)
    return state


def hinton(teacher, student):
    teacher, student = (F.log_softmax(each["logits"] / TEMPERATURE, dim=1) for each in (teacher, student))
    return TEMPERATURE**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)


def attention_transfer(teacher, student):
    def attention(features):
        return F.normalize(features.square().mean(1).flatten(1))

    return sum(F.mse_loss(attention(student[group]), attention(teacher[group])) for group in GROUPS)


def similarity_preserving(teacher, student):
    def similarities(features):
        # The order of the numbers within an example is of no matter: as they lie in memory, nothing is copied.
        rows = features.permute(0, 2, 3, 1).flatten(1) if features.stride(1) == 1 else features.flatten(1)
        return F.normalize(rows @ rows.T)

    return F.mse_loss(similarities(student["group3"]), similarities(teacher["group3"]))


def rkd(teacher, student):
    """25 times the loss of distances plus 50 times that of angles."""

    def relations(rows):
        differences = rows[:, None] - rows
        distances = differences.square().sum(-1).clamp_min(1e-12).sqrt()
        distances = distances * (1 - torch.eye(len(rows)))
        directions = F.normalize(differences, dim=-1)
        return distances / distances[distances > 0].mean(), directions @ directions.mT

    (t_distances, t_angles), (s_distances, s_angles) = (relations(each["embedding"]) for each in (teacher, student))
    return 25 * F.huber_loss(s_distances, t_distances) + 50 * F.huber_loss(s_angles, t_angles)


# Method -> (weight of the cross-entropy, weight of the loss, loss).
LOSSES = {
    "hinton": (1 - ALPHA, ALPHA, hinton),
    "ft": (1 - ALPHA, ALPHA, hinton),
    "at": (1.0, 1000.0, attention_transfer),
    "sp": (1.0, 3000.0, similarity_preserving),
    "rkd": (1.0, 1.0, rkd),
}


class Peers(workers.Peers):
    """The steps of PyTorch ("torch").

    Args:
        setting: Mapping with "teacher", "student" (each (depth, width)) and "cores".
        folder: Where `start.npz` lies.
    """

    def __init__(self, setting, folder):
        torch.set_num_threads(setting["cores"])
        self.setting = setting
        with np.load(Path(folder) / "start.npz") as start:
            self.images = torch.from_numpy(start["images"]).permute(0, 3, 1, 2).contiguous()
            self.labels = torch.from_numpy(start["labels"]).long()
            self.states = {
                role: convert_weights({key[len(role) + 1 :]: start[key] for key in start if key.startswith(f"{role}:")})
                for role in ("teacher", "student")
            }
        formats = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
        trials = {name: self.try_format(formats[name]) for name in formats}
        best = min(trials, key=trials.get)
        self.format = formats[best]
        self.info = {"versions": {"torch": torch.__version__}, "memory_format": best, "trial_cpu_seconds": trials}

    def try_format(self, memory_format):
        """Least processor time of a Hinton step in a memory format: as good a measure on a busy machine."""
        self.format = memory_format
        self.prepare("hinton")
        return min(self.step("torch")["cpu_seconds"] for _ in range(TRIAL_STEPS - 1))

    def make_model(self, role, dropout=0.0):
        model = WideResNet(*self.setting[role], dropout)
        model.load_state_dict(self.states[role], strict=True)
        return model.to(memory_format=self.format)

    def make_steps(self, method):
        torch.manual_seed(0)
        teacher = self.make_model("teacher", DROPOUT if method == "ft" else 0.0).eval().requires_grad_(False)
        student = self.make_model("student").train()
        for module in teacher.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        images = self.images.contiguous(memory_format=self.format)
        optimizer = torch.optim.SGD(student.parameters(), LEARNING_RATE, momentum=0.9, fused=True)
        label_weight, weight, distillation = LOSSES[method]

        def step():
            with torch.no_grad():
                known = teacher(images)
            features = student(images)
            loss = label_weight * F.cross_entropy(features["logits"], self.labels)
            loss = loss + weight * distillation(known, features)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()

        return {"torch": (step, variance(teacher, images) if method == "ft" else None)}


@torch.no_grad()
def variance(model, images):
    """Variance of the logits over two draws, averaged over classes and examples."""
    first, second = (model(images)["logits"] for _ in range(2))
    return float((first - second).square().mean() / 2)
