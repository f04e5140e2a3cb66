"""The command that makes a backbone of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from listlens.cli.output import JsonOption, show

backbone_app = typer.Typer(no_args_is_help=True, help="Other networks than the one that comes.")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.add_typer(backbone_app, name="backbone")


@backbone_app.command()
def export(
    name: Annotated[
        str, typer.Argument(help="Network as timm lists it, such as resnet18 or resnet18.a1_in1k.")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="File with its weights: .safetensors, or .pth that holds tensors only. Default: "
            "fetched from the Hugging Face hub."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="ONNX file to write. Default: NAME.onnx, here.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(help="Side of the input, px. Default: what the weights were trained for."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a timm network as an ONNX file that listlens takes as its backbone.

    Beside it stands NAME.onnx.json, its description. The file is checked against PyTorch before it
    is written; afterwards neither timm nor PyTorch is needed. Then name it in listlens.toml.

    Example: listlens backbone export convnext_atto --weights model.safetensors
    """
    from listlens.backbones.timm_export import export_timm

    made = export_timm(name, out, weights=weights, size_px=size)
    show(made.as_dict(), made.text(), as_json=as_json)
