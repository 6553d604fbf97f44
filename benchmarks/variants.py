"""Copies of configuration files with other arguments."""

from pathlib import Path

import yaml


def changed(file: Path, folder: Path, name: str, arguments: dict[str, object]) -> Path:
    """A copy called `name` in `folder` with other arguments; `split.train` is the argument of a part."""
    config = yaml.safe_load(file.read_text())
    for key, value in arguments.items():
        *parts, last = key.split(".")
        target = config["init_args"]
        for part in parts:
            target = target[part]["init_args"]
        target[last] = value
    return write(folder / f"{name}.yaml", config)


def write(path: Path, content: object) -> Path:
    """Write a configuration file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
