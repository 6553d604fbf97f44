"""Plain implementation, as in the notebooks: one file per sample, a sequence of torch layers, a manual loop."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

from fusionlit.models import FusionModule


class Frames(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Image, points and target of a frame, read from its files on access.

    Args:
        folders: Folder of each class, or the single folder of the position task.
        targets: Target of every sample; sample i is frame `i // len(folders)` of folder `i % len(folders)`.
        rows: Samples to use.
    """

    def __init__(self, folders: Sequence[Path], targets: Tensor, rows: Sequence[int]) -> None:
        self.files = [(folders[row % len(folders)], f"{row // len(folders):04d}") for row in rows]
        self.targets = targets[list(rows)]
        self.transform = v2.Compose([v2.Resize(64), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
        self.azimuth = torch.from_numpy(np.load(folders[0] / "azimuth.npy"))
        self.zenith = torch.from_numpy(np.load(folders[0] / "zenith.npy"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Tensor]:
        folder, name = self.files[item]
        rgb = self.transform(Image.open(folder / "rgb" / f"{name}.png"))
        depth = torch.from_numpy(np.load(folder / "lidar" / f"{name}.npy")).to(torch.float32)
        x = depth * torch.sin(-self.azimuth[:, None]) * torch.cos(-self.zenith[None, :])
        y = depth * torch.cos(-self.azimuth[:, None]) * torch.cos(-self.zenith[None, :])
        z = depth * torch.sin(-self.zenith[None, :])
        a = torch.where(depth < 50.0, torch.ones_like(depth), torch.zeros_like(depth))
        return rgb, torch.stack((x, y, z, a)), self.targets[item]


class ConcatNet(nn.Module):
    """Two branches of convolution, ReLU and max-pool, joined before the dense layers."""

    def __init__(self, widths: Sequence[int], hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.rgb, self.lidar = self.branch(widths), self.branch(widths)
        sizes = [2 * widths[-1] * 8 * 8, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for size, width in zip(sizes, hidden, strict=False):
            layers += [nn.Linear(size, width), nn.ReLU()]
        self.head = nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    @staticmethod
    def branch(widths: Sequence[int]) -> nn.Sequential:
        """Layers from 4 x 64 x 64 to widths[-1] x 8 x 8."""
        layers: list[nn.Module] = []
        for channels, width in zip([4, *widths], widths, strict=False):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        return nn.Sequential(*layers)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Prediction, without unimodal ones."""
        return self.head(torch.cat([self.rgb(inputs[0]), self.lidar(inputs[1])], 1)), []


class CentralNet(nn.Module):
    """CentralNet by its equations: batch-normalised stages, then a dense one, with fusion after each.

    Args:
        shape: Shape of every modality.
        modalities: Number of modalities.
        widths: Output channels of the convolutions.
        kernel: Kernel size.
        dense: Width of the dense stage, 0 for none.
        hidden: Width of the heads' hidden layer, 0 for none.
        classes: Number of outputs.
        fuse_inputs: Whether the central network starts from the sum of the inputs.
        paper: Raw weights, as in the paper; otherwise a softmax of them over sources of unit rms.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        modalities: int,
        widths: Sequence[int],
        kernel: int,
        dense: int,
        hidden: int,
        classes: int,
        fuse_inputs: bool,
        paper: bool,
    ) -> None:
        super().__init__()
        conv, norm, pool = (
            (nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d) if len(shape) == 2 else (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d)
        )
        grid = int(np.prod([n // 2 ** len(widths) for n in shape[1:]]))

        def stages() -> list[nn.Module]:
            made: list[nn.Module] = []
            for channels, width in zip([shape[0], *widths], widths, strict=False):
                layers = conv(channels, width, kernel, padding=kernel // 2, bias=False), norm(width), nn.ReLU(), pool(2)
                made.append(nn.Sequential(*layers))
            if dense:
                made.append(nn.Sequential(nn.Flatten(), nn.Linear(widths[-1] * grid, dense), nn.ReLU()))
            return made

        def head() -> nn.Sequential:
            size = dense or widths[-1] * grid
            layers = [nn.Flatten(), nn.Linear(size, hidden), nn.ReLU()] if hidden else [nn.Flatten()]
            return nn.Sequential(*layers, nn.Linear(hidden or size, classes))

        self.nets = nn.ModuleList(nn.ModuleList(stages()) for _ in range(modalities))
        self.heads = nn.ModuleList(head() for _ in range(modalities))
        self.central = nn.ModuleList(stages()[0 if fuse_inputs else 1 :])
        self.central_head = head()
        depth = len(widths) + bool(dense)
        sources = (
            [modalities, *[modalities + 1] * (depth + 1)] if fuse_inputs else [modalities, *[modalities + 1] * depth]
        )
        self.weights = nn.ParameterList(torch.zeros(n) for n in sources)
        self.fuse_inputs, self.paper = fuse_inputs, paper

    def fuse(self, layer: int, sources: Sequence[Tensor], normalize: bool = True) -> Tensor:
        """The weighted sum."""
        alpha = self.weights[layer] if self.paper else torch.softmax(self.weights[layer], 0)
        if normalize and not self.paper:
            dims = tuple(range(1, sources[0].ndim))
            sources = [x / torch.sqrt(torch.mean(x**2, dim=dims, keepdim=True) + 1e-12) for x in sources]
        return sum(a * x for a, x in zip(alpha, sources, strict=True))  # type: ignore[return-value]

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Prediction, and the unimodal prediction of each modality."""
        h, layer, stages = list(inputs), 0, iter(self.central)
        central = None
        if self.fuse_inputs:
            central, layer = next(stages)(self.fuse(0, h, normalize=False)), 1
        for i in range(len(self.nets[0])):
            h = [net[i](x) for net, x in zip(self.nets, h, strict=True)]
            central = self.fuse(layer, h if central is None else [central, *h])
            layer += 1
            stage = next(stages, None)
            central = central if stage is None else stage(central)
        unimodal = [head(x) for head, x in zip(self.heads, h, strict=True)]
        return self.fuse(layer, [self.central_head(central), *unimodal], normalize=False), unimodal


def take_weights(net: nn.Module, model: FusionModule) -> None:
    """Copy the parameters of the same fusionlit model, whose convolutions are all two-dimensional, to a network."""
    with torch.no_grad():
        for mine, theirs in zip(net.parameters(), model.parameters(), strict=True):
            mine.copy_(theirs.reshape(mine.shape))


def train(
    net: nn.Module, optimizer: torch.optim.Optimizer, loss: nn.Module, batches: Iterable[tuple[list[Tensor], Tensor]]
) -> list[float]:
    """Manual training loop; returns the loss of every batch, including the unimodal losses, if any."""
    device = next(net.parameters()).device
    losses = []
    for inputs, target in batches:
        inputs, target = [x.to(device) for x in inputs], target.to(device)
        optimizer.zero_grad()
        prediction, unimodal = net(inputs)
        total = loss(prediction, target) + sum(loss(x, target) for x in unimodal)
        total.backward()
        optimizer.step()
        losses.append(total.item())
    return losses
