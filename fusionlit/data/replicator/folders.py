"""The folders of the replicator format, and the frames in them."""

from pathlib import Path

from fusionlit.errors import DataError

UNFINISHED = ".unfinished"
"""Marker file that the renderer keeps in ROOT until all files are written."""


def class_folders(root: Path) -> list[Path]:
    """Class folders of the shape layout, sorted by name, which is the order of the labels."""
    _require_root(root)
    if (root / "rgb").is_dir():
        raise DataError(
            f"{root}: expected class folders, but found rgb/ directly in it, the position layout. Set `task:"
            " position`, or point `root` to the folder that contains the class folders."
        )
    folders = sorted(d for d in root.glob("*/") if not d.name.startswith(".") and _has_frames(d))
    misspelled = sorted(str(d.relative_to(root)) for d in root.glob("*/*/") if d.name.lower() in ("rgb", "lidar"))
    if wrong := [name for name in misspelled if not name.endswith(("rgb", "lidar"))]:
        raise DataError(f"{root}: expected rgb/ and lidar/ in lower case, but found {', '.join(wrong)}. Rename them.")
    if len(folders) < 2:
        found = ", ".join(d.name for d in folders) or "none"
        raise DataError(
            f"{root}: expected at least two class folders with rgb/ and lidar/ in each, but found {found}."
            " Point `root` to the folder that contains them, or create a data set with `fusionlit render`."
        )
    return folders


def position_folder(root: Path) -> Path:
    """The one folder of the position layout, `root` itself."""
    _require_root(root)
    if not _has_frames(root):
        found = ", ".join(sorted(d.name for d in root.glob("*/") if _has_frames(d)))
        hint = f"found class folders ({found}): set `task: shape`" if found else "found neither"
        raise DataError(
            f"{root}: expected rgb/ and lidar/ directly in it, but {hint}. Point `root` to the data set, or"
            " create one with `fusionlit render --task position`."
        )
    return root


def frames_of(folder: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and depth files of a folder by frame (file stem)."""
    for name in ("rgb", "lidar"):
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: missing folder. Copy it from the original data set.")
    return (
        {path.stem: path for path in folder.glob("rgb/*.png")},
        {path.stem: path for path in folder.glob("lidar/*.npy")},
    )


def _has_frames(folder: Path) -> bool:
    return (folder / "rgb").is_dir() or (folder / "lidar").is_dir()


def _require_root(root: Path) -> None:
    if not root.is_dir():
        raise DataError(
            f"{root}: expected the folder of a data set, but it does not exist. Create one with `fusionlit render"
            f" {root}`, or correct `root`."
        )
    if (root / UNFINISHED).exists():
        raise DataError(
            f"{root}: its rendering was interrupted (or is still running), so files are missing. Finish it with"
            f" `fusionlit render {root} --overwrite` and the original arguments."
        )
