"""`fusionlit pack`."""

from fusionlit.data.base import FusionDataModule


def pack(data: FusionDataModule) -> None:
    """Read and pack a data set before its first use, or verify an existing pack completely.

    Args:
        data: Data file, such as configs/data/replicator_shape.yaml; its arguments can be overridden, as in `fusionlit
            fit`: `--data.root FOLDER`.

    Raises:
        DataError: If the data set is not as expected, or the packed data cannot be written.
    """
    packed = data.pack()
    if packed is None:
        print(f"{type(data).__name__} has nothing to pack: it reads its files directly.")
        return
    size = sum(array.path.stat().st_size for array in packed.arrays.values())
    print(f"{packed.folder}: complete and up to date, {size / 1e9:.3g} GB, {len(packed.bad)} unusable samples.")
