"""Whether every split, and the first training batches, hold every class."""

import math
from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fusionlit.data.assignment import some
from fusionlit.errors import DataError
from fusionlit.types import Split

FIRST_BATCHES = 20
CHANCE = 1e-6
"""A run of single-class batches rarer than this under shuffling is taken for a loader that does not shuffle."""


def check_classes(source: str, split: Split, samples: int, counts: Tensor, names: Sequence[str]) -> None:
    """Refuse a training split that lacks a class, and warn of another that does.

    Args:
        source: For messages.
        split: Name of the split.
        samples: Its number of samples; an empty split is no matter here.
        counts: Samples of each class, `(size,)`.
        names: Class names.

    Raises:
        DataError: If nothing could be learned of a class.
    """
    lacking = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if not lacking or not samples:
        return
    found = f"{source}: the {split} split ({samples} samples) has none of the classes {some(lacking)}"
    if split == "train":
        raise DataError(
            f"{found}, of which nothing could be learned. Choose another `split` (larger fractions, another seed), or"
            " leave out these classes."
        )
    rank_zero_warn(f"{found}: its metrics say nothing of them.")


def check_split_balance(split: str, counts: Tensor, names: Sequence[str], max_ratio: float) -> None:
    """Refuse a split whose largest class has more than `max_ratio` times the samples of its smallest.

    Classes that it lacks do not count: see `check_classes`.

    Args:
        split: Name of the split.
        counts: Samples of each class, `(size,)`.
        names: Class names.
        max_ratio: Largest ratio that is accepted.

    Raises:
        DataError: With the counts.
    """
    there = counts[counts > 0]
    if len(there) and there.max() > max_ratio * there.min():
        found = ", ".join(f"{name} {int(count)}" for name, count in zip(names, counts, strict=True))
        raise DataError(
            f"The {split} split is not balanced: {found} samples. Restore the missing files or choose another `split`;"
            f" if the classes really are that uneven, raise `max_class_ratio` (now {max_ratio:g}) and let the task"
            " weigh the classes."
        )


class BatchBalance:
    """Watches the first training batches for a loader that does not shuffle the classes.

    A batch of b samples drawn without replacement from class counts n_c holds one class with probability
    sum_c C(n_c, b) / C(n, b). Small batches do so by chance; only a run of them that chance does
    not explain is refused.

    Args:
        counts: Training samples of each class, `(size,)`.
        names: Class names.
    """

    def __init__(self, counts: Tensor, names: Sequence[str]) -> None:
        self.counts = [int(count) for count in counts]
        self.names = names
        self.seen = 0
        self.run = 0
        self.chance = 1.0

    def check(self, labels: Tensor) -> None:
        """Look at the labels `(B,)` of the next batch.

        Raises:
            DataError: If it ends a run of single-class batches that shuffling would hardly ever give.
        """
        if self.seen >= FIRST_BATCHES:
            return
        self.seen += 1
        if (labels != labels[0]).any():
            self.run, self.chance = 0, 1.0
            return
        self.run += 1
        size = len(labels)
        self.chance *= sum(math.comb(count, size) for count in self.counts) / math.comb(sum(self.counts), size)
        if self.chance < CHANCE:
            raise DataError(
                f"Expected shuffled training batches, but {self.run} in a row ({size} samples each) hold one class only"
                f" (the last: {self.names[int(labels[0])]!r}), which chance would give once in {1 / self.chance:.0g}"
                " times. Train with the data module's own loader, which shuffles, or give your loader `shuffle=True`."
            )
