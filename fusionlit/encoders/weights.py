"""Loading weights into a torchvision network from a file."""

import re
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from fusionlit.errors import ConfigError

# Auxiliary classifiers of GoogLeNet and Inception, which are ignored like the classifier.
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
# DenseNet's published files use old layer names: `norm.1` is now `norm1`.
_OLD_DENSE_LAYER = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)")


def load_weights(network: nn.Module, path: Path, stem: str, classifier: str) -> None:
    """Load a state dict into `network`, whose `stem` may differ in input channels and whose `classifier` is removed.

    Raises:
        ConfigError: If the file does not exist, is not a state dict, or belongs to another network.
    """
    # In place: the dict carries version metadata of each module, which a new dict would lose.
    state = _read(path)
    for old in list(state):
        state[_OLD_DENSE_LAYER.sub(r"\1", old)] = state.pop(old)
    first, channels = f"{stem}.weight", network.get_parameter(f"{stem}.weight").shape[1]
    if first in state and state[first].ndim == 4 and state[first].shape[1] != channels:
        mean = state[first].mean(1, keepdim=True)
        state[first] = mean.expand(-1, channels, -1, -1) * (state[first].shape[1] / channels)
    mine = {name: tensor.shape for name, tensor in network.state_dict().items()}
    wrong = [
        f"{name} {tuple(x.shape)}, not {tuple(mine[name])}"
        for name, x in state.items()
        if x.shape != mine.get(name, x.shape)
    ]
    if wrong:
        raise ConfigError(
            f"`weights`={str(path)!r} does not fit this `backbone` and input: wrong shape of {_few(wrong)}. Give"
            " the state dict of the same network; for a vision transformer, also of the same image size."
        )
    result = network.load_state_dict(state, strict=False)
    unused = [key for key in result.unexpected_keys if not key.startswith((f"{classifier}.", *_AUXILIARY))]
    if result.missing_keys or unused:
        raise ConfigError(
            f"`weights`={str(path)!r} does not fit this `backbone`: missing {_few(result.missing_keys)}; unexpected"
            f" {_few(unused)}. Give the state dict of the same network."
        )


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(
            f"`weights` cannot be read: {error}. Nothing is downloaded automatically: download the file first."
        ) from error
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"`weights`={str(path)!r} cannot be loaded as plain tensors. Save it with"
            " `torch.save(network.state_dict(), path)`."
        ) from error
    if isinstance(state, dict) and "state_dict" in state:
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ConfigError(f"Expected `weights`={str(path)!r} to hold a state dict (names to tensors), but it does not.")
    return state


def _few(keys: Sequence[str]) -> str:
    return f"{len(keys)} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})" if keys else "none"
