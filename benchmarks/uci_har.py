"""Every strategy on UCI HAR, the official split, five seeds: `python benchmarks/uci_har.py`; resumable.

Needs the official folder in data/uci_har. A fifth of the training subjects validates, the
checkpoint that validation chooses is tested, once. Rows go to benchmarks/results/uci_har.jsonl, runs to runs/uci_har.
"""

import os
import shutil
from pathlib import Path
from statistics import mean, stdev

from scipy.stats import ttest_rel

from fusionlit.compare import compare

MODELS = [
    "unimodal_body_acc",
    "unimodal_body_gyro",
    "unimodal_total_acc",
    "late_weighted_average",
    "intermediate_concat",
    "intermediate_concat_multitask",
    "centralnet",
]


def main() -> None:
    """Train what is not trained yet, print the table, and the differences of CentralNet from the baseline, in pairs."""
    os.chdir(Path(__file__).parents[1])
    out = Path("runs/uci_har")
    models = [Path(f"configs/model/signals/{name}.yaml") for name in MODELS]
    rows = compare(Path("configs/data/uci_har.yaml"), models, seeds=5, out=out)
    shutil.copy(out / "rows.jsonl", "benchmarks/results/uci_har.jsonl")
    accuracy = {name: [100 * row["test/accuracy"] for row in rows if row["model"] == name] for name in MODELS}
    for other in MODELS[:-1]:
        pairs = [a - b for a, b in zip(accuracy["centralnet"], accuracy[other], strict=True)]
        test = ttest_rel(accuracy["centralnet"], accuracy[other])
        print(
            f"centralnet - {other}: {mean(pairs):+.2f} ± {stdev(pairs):.2f} points of accuracy, seed by seed"
            f" {', '.join(f'{pair:+.2f}' for pair in pairs)} (paired t-test: p = {test.pvalue:.3g})"
        )


if __name__ == "__main__":
    main()
