"""A timm network by name, with weights from the model hub or from a file; never from a pickle.

Both ways end in a file that is read here: safetensors, or PyTorch's format with `weights_only`.
Loading is strict, so a file of another network is an error and not a network of random numbers.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from listlens.core.errors import (
    ConfigError,
    DownloadError,
    InputError,
    MissingExtraError,
    NotFoundError,
    suggest,
)

EXTRA = ("torch", "torchvision", "timm", "huggingface_hub", "onnxscript")
"""What the extra `timm` brings, in the order in which each needs the one before."""
HUB_SECONDS = 10.0
"""The hub must answer within this, as long as its own client waits by default."""
WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
"""Keys under which training scripts keep the weights, the better ones first. Source: timm's
`load_state_dict`."""
FORMATS = (".safetensors", ".pth", ".pt", ".bin")

Model = Any
State = dict[str, Any]


@dataclass(frozen=True)
class Loaded:
    """A timm network with its weights.

    Args:
        model: a `torch.nn.Module` without classifier, in evaluation mode.
        size_px: side of its square input.
        mean, std: three numbers for RGB in [0, 1].
        interpolation: as timm names it.
        source: where network and weights come from, for a person.
        licence: of the weights, as timm states it; empty where it does not, or where they are a
            file of the user's own.
    """

    model: Model
    size_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    source: str
    licence: str


def load_timm(name: str, weights: Path | None = None, size_px: int | None = None) -> Loaded:
    """Return a timm network with its weights.

    Args:
        name: as timm lists it, with or without the tag of its weights, such as
            ``resnet18.a1_in1k``.
        weights: file with its weights; None takes them from the hub, or from the hub's cache on
            this machine.
        size_px: side of the input; None means the one that the weights were trained for.

    Raises:
        MissingExtraError: the extra `timm` is not installed.
        ConfigError: it is installed, and one of its packages cannot be imported.
        InputError: an unknown name, size or format, or weights that do not fit.
        NotFoundError: the file is not there.
        DownloadError: the hub cannot be reached.
    """
    timm = require_timm()
    config = known_config(timm, name)
    size = input_size(name, config, size_px)
    path = downloaded(name, config) if weights is None else weights
    state = read_weights(path)
    model = built(timm, name, config, state, size, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    origin = config.hf_hub_id if weights is None else path.name
    return Loaded(
        model,
        size,
        tuple(config.mean),
        tuple(config.std),
        config.interpolation,
        f"timm {timm.__version__} {name}, weights {origin} sha256 {sha256[:12]}",
        (config.license or "") if weights is None else "",
    )


def require_timm() -> Any:
    """Return the package timm, after all that it needs was imported.

    Raises:
        MissingExtraError: something of the extra is not installed.
        ConfigError: something is installed and broken; says what and why.
    """
    for package in EXTRA:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # deprecations inside these packages
                importlib.import_module(package)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in EXTRA:
                raise MissingExtraError("a timm network", "timm") from error
            raise broken(package, error) from error
        except Exception as error:  # compiled parts that do not fit each other raise anything
            raise broken(package, error) from error
    return importlib.import_module("timm")


def broken(package: str, error: Exception) -> ConfigError:
    """Return the error for a package that is there and cannot be imported."""
    return ConfigError(
        f"timm cannot be used: import {package} failed ({type(error).__name__}: "
        f"{first_line(error)}). Its packages must fit each other, torchvision most of all: put "
        "matching builds in place with pip install --upgrade --force-reinstall torch torchvision "
        "timm, from one index."
    )


def first_line(error: BaseException) -> str:
    """Return what an error says, cut to a line."""
    return next(iter(str(error).strip().splitlines()), "no reason given")[:300]


def known_config(timm: Any, name: str) -> Any:
    """Return timm's `PretrainedCfg` of a name; InputError says which names are near."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        names = timm.list_models()
        near = difflib.get_close_matches(architecture, names, n=5, cutoff=0.5)
        meant = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
        raise InputError(
            f"timm {timm.__version__} has no network {name!r}. {meant}It knows {len(names)} "
            "names: python -c \"import timm; print(timm.list_models('*resnet*'))\""
        )
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise InputError(f"timm's {architecture} has no weights {tag!r}. {suggest(tag, tags)}")
    return timm.get_pretrained_cfg(name)


def input_size(name: str, config: Any, wanted_px: int | None) -> int:
    """Return the side of a network's square input."""
    channels, height, width = config.input_size
    if channels != 3:
        raise InputError(f"{name} takes {channels} channels; a photo has 3. Take another network.")
    if wanted_px is None and height != width:
        raise InputError(f"{name} was trained on {width} x {height} px; give --size, a square.")
    size: int = height if wanted_px is None else wanted_px
    if not 16 <= size <= 2048:
        raise InputError(f"size is {size} px. Allowed: 16 to 2048.")
    return size


def downloaded(name: str, config: Any) -> Path:
    """Return the hub's weights file, from its cache where it is there already.

    Raises:
        InputError: there is no such file, or the hub does not give it to just anybody.
        DownloadError: the hub cannot be reached.
    """
    own = f"listlens backbone export {name} --weights FILE"
    if not config.hf_hub_id:
        if config.url:
            raise InputError(
                f"the hub has no weights of {name}. Fetch them from {config.url}, and: {own}"
            )
        raise InputError(f"timm has no weights for {name}. Give your own: {own}")
    from huggingface_hub import hf_hub_download, hf_hub_url

    repository, _, revision = config.hf_hub_id.partition("@")
    file = config.hf_hub_filename or "model.safetensors"
    address = hf_hub_url(repository, file, revision=revision or None)
    try:
        return Path(
            hf_hub_download(repository, file, revision=revision or None, etag_timeout=HUB_SECONDS)
        )
    except Exception as error:  # the client and what it stands on share no base
        cause = error.__cause__ or error
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403, 404):
            raise InputError(
                f"the hub does not give {address} (HTTP {status}). If the page asks for a log-in, "
                f"fetch the file there, and: {own}"
            ) from error
        raise DownloadError(
            f"the weights of {name} cannot be fetched from {address} ({first_line(cause)}). "
            "Check the connection and repeat the command. Or fetch that file on a machine that "
            f"has one, bring it here, and: listlens backbone export {name} --weights {file}"
        ) from error


def read_weights(path: Path) -> State:
    """Return the tensors of a weights file by name.

    Raises:
        NotFoundError: it is not there.
        InputError: another format, damaged, or more than tensors in it.
    """
    import torch
    from safetensors.torch import load_file

    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path} is no file of weights. Allowed: {', '.join(FORMATS)}.")
    if not path.is_file():
        raise NotFoundError(f"{path} is not there. Give the path of a file with weights.")
    try:
        if path.suffix.lower() == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format raises its own kinds
        raise InputError(
            f"{path} cannot be read as weights ({type(error).__name__}). It must be whole, and "
            "hold tensors and nothing else, since a pickle may run any code. Save it again where "
            "you trust it: safetensors.torch.save_file(model.state_dict(), FILE)"
        ) from error
    for key in WRAPPERS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            break
    if not isinstance(found, dict) or not all(torch.is_tensor(v) for v in found.values()):
        raise InputError(f"{path} holds no table of tensors by name; save model.state_dict().")
    return {k.removeprefix("_orig_mod.").removeprefix("module."): v for k, v in found.items()}


def built(timm: Any, name: str, config: Any, state: State, size_px: int, path: Path) -> Model:
    """Return the network with these weights, each in its place, and without classifier."""
    sized = {"img_size": size_px} if config.fixed_input_size else {}
    problems = []
    for n_classes in numbers_of_classes(config, state):
        overlay = {"state_dict": dict(state), "num_classes": n_classes, "label_offset": 0}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # timm's about names that it will rename
                model = timm.create_model(
                    name,
                    pretrained=True,
                    pretrained_cfg_overlay=overlay,
                    num_classes=n_classes,
                    **sized,
                )
            if n_classes:
                model.reset_classifier(0)
        except Exception as error:  # whatever a network's own code raises
            said = " ".join(str(error).split())
            problems.append(said if len(said) < 300 else f"{said[:300]} ...")
            continue
        return model.eval()
    raise InputError(
        f"{path.name} does not fit {name} at {size_px} px: {problems[0]}. Check the name, and the "
        "size where you gave one."
    )


def numbers_of_classes(config: Any, state: State) -> list[int]:
    """Return how many classes the classifier in a file may have, the likeliest first.

    A file may hold a classifier of its own size, or none. Where the names differ from timm's, its
    own loading translates them, and only then can it be told.
    """
    classifier = config.classifier
    first = classifier[0] if isinstance(classifier, list | tuple) else classifier
    for key in (f"{first}.weight", f"{first}.bias"):
        if key in state:
            return [len(state[key])]
    return list(dict.fromkeys([config.num_classes, 0]))
