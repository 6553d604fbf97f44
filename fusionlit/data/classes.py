"""Checks that every split has every class, and that training batches are shuffled."""

import math
from collections.abc import Sequence

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from fusionlit.data.assignment import some
from fusionlit.errors import DataError
from fusionlit.types import Split

FIRST_BATCHES = 20
CHANCE = 1e-6
"""If a run of single-class batches has a lower probability than this, the loader is assumed not to shuffle."""


def check_classes(source: str, split: Split, samples: int, counts: Tensor, names: Sequence[str]) -> None:
    """Raise DataError if the training split lacks a class; warn if another split does.

    Args:
        source: Name of the source, for messages.
        split: Name of the split.
        samples: Number of samples in the split; an empty split is not checked.
        counts: Number of samples per class, `(size,)`.
        names: Class names.

    Raises:
        DataError: If the training split lacks a class.
    """
    missing = [name for name, count in zip(names, counts.tolist(), strict=True) if not count]
    if not missing or not samples:
        return
    found = f"{source}: the {split} split ({samples} samples) has no samples of these classes: {some(missing)}"
    if split == "train":
        raise DataError(
            f"{found}. They cannot be learned. Choose another `split` (larger fractions, another seed), or remove these"
            " classes."
        )
    rank_zero_warn(f"{found}. Its metrics do not cover them.")


def check_split_balance(split: str, counts: Tensor, names: Sequence[str], max_ratio: float) -> None:
    """Raise DataError if the largest class of a split has more than `max_ratio` times the samples of its smallest.

    Missing classes are not considered: see `check_classes`.

    Args:
        split: Name of the split.
        counts: Number of samples per class, `(size,)`.
        names: Class names.
        max_ratio: Largest accepted ratio.

    Raises:
        DataError: The message contains the counts.
    """
    present = counts[counts > 0]
    if len(present) and present.max() > max_ratio * present.min():
        found = ", ".join(f"{name} {int(count)}" for name, count in zip(names, counts, strict=True))
        raise DataError(
            f"The {split} split is not balanced: {found} samples. Restore the missing files or choose another `split`;"
            f" if the classes really are this unequal, increase `max_class_ratio` (now {max_ratio:g}) and use class"
            " weights in the task."
        )


class BatchBalance:
    """Checks the first training batches for a loader that does not shuffle.

    A batch of b samples drawn without replacement from class counts n_c contains a single class with probability
    sum_c C(n_c, b) / C(n, b). Small batches may do so by chance; an error is raised only for a run of them that is too
    unlikely.

    Args:
        counts: Number of training samples per class, `(size,)`.
        names: Class names.
    """

    def __init__(self, counts: Tensor, names: Sequence[str]) -> None:
        self.counts = [int(count) for count in counts]
        self.names = names
        self.seen = 0
        self.run = 0
        self.chance = 1.0

    def check(self, labels: Tensor) -> None:
        """Check the labels `(B,)` of the next batch.

        Raises:
            DataError: If it extends a run of single-class batches that is too unlikely with shuffling.
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
                f"Expected shuffled training batches, but {self.run} in a row ({size} samples each) contain only one"
                f" class (the last: {self.names[int(labels[0])]!r}); with shuffling, the probability of this is"
                f" {self.chance:.0g}. Use the data module's loader, or `shuffle=True` in your own."
            )
