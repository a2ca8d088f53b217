"""torchvision networks with weights from a file."""

from pathlib import Path

import torch
import torchvision
from safetensors.torch import load_file


def pretrained(architecture: str, weights: Path, classes: int | None = None) -> torch.nn.Module:
    """An f32 network in channels_last memory; `classes` replaces the head by a new one from the global random state."""
    state = load_file(weights) if weights.suffix == ".safetensors" else torch.load(weights, weights_only=True)
    model = torchvision.models.get_model(architecture, weights=None)
    model.load_state_dict(state)  # copies into f32 parameters, whatever the file's type
    if classes is not None:
        # The last linear layer, whatever the family calls it.
        name, head = [(n, m) for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)][-1]
        model.set_submodule(name, torch.nn.Linear(head.in_features, classes))
    return model.to(memory_format=torch.channels_last)
