"""Laws of the splits of a data module with groups."""

from pathlib import Path
from tempfile import TemporaryDirectory

from fusionlit.data import FileSplit, GroupedDataModule
from fusionlit.testing.datasets import DataCase, order, repeats_validation, splits_of
from fusionlit.types import SPLITS


def no_group_is_torn_apart(case: DataCase) -> str | None:
    """Where samples have groups, no group is in two splits."""
    data = case.ready()
    if not isinstance(data, GroupedDataModule):
        return None
    groups = data.samples().groups
    train, *others = ({groups[row] for row in order(data, split)} for split in splits_of(data))
    pairs = [(train, other) for other in others]
    if len(others) == 2 and not repeats_validation(data):
        pairs.append((others[0], others[1]))
    torn = sorted(set().union(*(a & b for a, b in pairs)))
    return f"{torn[:5]} are. Leave the splitting to GroupedDataModule." if torn else None


def a_written_split_is_read(case: DataCase) -> str | None:
    """Where samples have groups, `write_split` writes a file with which `FileSplit` makes the same splits."""
    writer, reader = case.make(), case.make()
    if not isinstance(writer, GroupedDataModule) or not isinstance(reader, GroupedDataModule) or not writer.validates:
        return None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "split.json"
        writer.write_split = path
        writer.setup("fit")
        if not path.is_file():
            return "`setup` wrote none. Leave it to GroupedDataModule."
        reader.write_split = None
        reader.split = FileSplit(path)
        reader.setup("fit")
    for split in SPLITS[:2] if repeats_validation(writer) else SPLITS:
        if order(writer, split) != order(reader, split):
            return f"other samples are in {split}. Keep `split` and `write_split` as the constructor got them."
    return None
