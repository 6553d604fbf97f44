"""`fusionlit pack`."""

from fusionlit.data.base import FusionDataModule


def pack(data: FusionDataModule) -> None:
    """Read and pack a data set ahead of its first use, or verify all of a pack that there is.

    Args:
        data: Data file, such as configs/data/replicator_shape.yaml; any argument in it can be given beside it, as in
            `fusionlit fit`: `--data.root FOLDER`.

    Raises:
        DataError: If the data set is not as expected, or the packed data cannot be written.
    """
    packed = data.pack()
    if packed is None:
        print(f"{type(data).__name__} has nothing to pack: it uses its files as they lie.")
        return
    size = sum(array.path.stat().st_size for array in packed.arrays.values())
    print(f"{packed.folder}: whole and up to date, {size / 1e9:.3g} GB, {len(packed.bad)} samples unusable.")
