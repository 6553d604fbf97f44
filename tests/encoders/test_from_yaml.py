"""Lists per stage come from YAML and from the command line, and go into the file of the run's configuration."""

import pytest

from fusionlit.cli.fusion_cli import FusionCLI
from fusionlit.encoders import ConvEncoder, InceptionEncoder, RecurrentEncoder

ENCODERS = {
    "conv": (
        "ConvEncoder",
        {
            "widths": "[4, 5, 6]",
            "kernel_size": "[9, 5, 3]",
            "downsample": "[max_pool, none, stride]",
            "dilation": "[1, 2, 1]",
            "residual_units": "[0, 1, 2]",
            "channel_dropout": "0.1",
        },
        ConvEncoder(
            (3, 128),
            (4, 5, 6),
            (9, 5, 3),
            ("max_pool", "none", "stride"),
            dilation=(1, 2, 1),
            residual_units=(0, 1, 2),
            channel_dropout=0.1,
        ),
    ),
    "conv, one for all": (
        "ConvEncoder",
        {"widths": "[4, 5]", "kernel_size": "9", "downsample": "none", "dilation": "2", "residual_units": "1"},
        ConvEncoder((3, 128), (4, 5), 9, "none", dilation=2, residual_units=1),
    ),
    "inception": (
        "InceptionEncoder",
        {"widths": "[6, 9]", "kernel_sizes": "[3, 7]", "modules": "[1, 2]", "downsample": "[max_pool, none]"},
        InceptionEncoder((3, 128), (6, 9), (3, 7), (1, 2), ("max_pool", "none")),
    ),
    "recurrent": (
        "RecurrentEncoder",
        {"widths": "[4, 6]", "cell": "lstm", "bidirectional": "true", "pool": "last"},
        RecurrentEncoder((3, 128), (4, 6), "lstm", True, pool="last"),
    ),
}
HEAD = "\n  head:\n    class_path: MLPHead\n    init_args: {hidden: [5], pool: mean}\n"


def in_file(name, arguments, folder):
    lines = "\n".join(f"      {argument}: {value}" for argument, value in arguments.items())
    file = folder / "model.yaml"
    encoder = f"  encoder:\n    class_path: {name}\n    init_args:\n{lines}"
    file.write_text(f"class_path: CentralNet\ninit_args:\n{encoder}{HEAD}")
    return [f"--model={file}"]


def on_the_command_line(name, arguments, folder):
    options = [f"--model.encoder.{argument}={value}" for argument, value in arguments.items()]
    head = ["--model.head=MLPHead", "--model.head.hidden=[5]", "--model.head.pool=mean"]
    return ["--model=CentralNet", f"--model.encoder={name}", *options, *head]


@pytest.mark.parametrize("written", [in_file, on_the_command_line])
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_are_read_and_read_again(name, written, uci_har_folder, tmp_path):
    encoder, arguments, expected = ENCODERS[name]
    data = ["--data=SignalDataModule", f"--data.root={uci_har_folder}"]
    cli = FusionCLI(run=False, args=[*data, *written(encoder, arguments, tmp_path)])
    saved = tmp_path / "config.yaml"
    saved.write_text(cli.parser.dump(cli.config, skip_link_targets=True))
    again = FusionCLI(run=False, args=[f"--config={saved}"]).model
    for model in (cli.model, again):
        for made in model.encoders.values():
            assert str(made) == str(expected)
            assert made.stage_shapes == expected.stage_shapes
        first = next(p for p in model.central_head.parameters() if p.ndim == 2)
        assert first.shape == (5, expected.out_shape[0])
