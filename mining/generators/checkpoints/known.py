"""Public checkpoints by name: where they are, under which licence, and their SHA-256 if known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from storage.downloads.locate import Public

SOURCE_LICENCE = "research or evaluation only (non-commercial)"
ADA = "https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained"
TENSORFLOW = "https://nvlabs-fi-cdn.nvidia.com/stylegan2/networks"
NGC = "https://api.ngc.nvidia.com/v2/models/nvidia/research"


def _all(
    names: Iterable[tuple[str, str]], licence: str, readme: str, folder: str
) -> Iterator[Public]:
    for name, file in names:
        url = f"{folder}/{file}"
        yield Public(name, url, f"{licence}: {SOURCE_LICENCE}", readme, MEASURED.get(url))


# NVIDIA publishes no checksums. These were measured by people who downloaded the file and agree:
# several public repositories on GitHub (among them scripts/setup.py of "Latent-Self") state the
# same SHA-256, and 381,624,121 bytes. A file without an entry is trusted on its first download.
MEASURED = {
    f"{ADA}/ffhq.pkl": "a205a346e86a9ddaae702e118097d014b7b8bd719491396a162cca438f2f524c",
}
ADA_NAMES = [
    ("stylegan2-ada-ffhq-1024", "ffhq.pkl"),
    ("stylegan2-ada-metfaces-1024", "metfaces.pkl"),
    ("stylegan2-ada-afhqcat-512", "afhqcat.pkl"),
    ("stylegan2-ada-afhqdog-512", "afhqdog.pkl"),
    ("stylegan2-ada-afhqwild-512", "afhqwild.pkl"),
    ("stylegan2-ada-cifar10-32", "cifar10.pkl"),
    ("stylegan2-ada-brecahad-512", "brecahad.pkl"),
]
TENSORFLOW_NAMES = [
    (f"stylegan2-tf-{what}", f"stylegan2-{what}-config-f.pkl")
    for what in ("ffhq", "car", "cat", "church", "horse")  # "car": black bars above and below
]
STYLEGAN2_FILES = (
    "ffhq-1024x1024 ffhq-512x512 ffhq-256x256 ffhqu-1024x1024 ffhqu-256x256 metfaces-1024x1024 "
    "metfacesu-1024x1024 afhqv2-512x512 afhqcat-512x512 afhqdog-512x512 afhqwild-512x512 "
    "brecahad-512x512 cifar10-32x32 celebahq-256x256 lsundog-256x256"
).split()
STYLEGAN3_FILES = (
    "t-ffhq-1024x1024 t-ffhqu-1024x1024 t-ffhqu-256x256 r-ffhq-1024x1024 r-ffhqu-1024x1024 "
    "r-ffhqu-256x256 t-metfaces-1024x1024 t-metfacesu-1024x1024 r-metfaces-1024x1024 "
    "r-metfacesu-1024x1024 t-afhqv2-512x512 r-afhqv2-512x512"
).split()


def _ngc(architecture: str, files: Iterable[str]) -> list[tuple[str, str]]:
    """A file's name without its extension, and with the width of its square images alone."""
    return [
        (f"{architecture}-{file.rpartition('x')[0]}", f"{architecture}-{file}.pkl")
        for file in files
    ]


KNOWN = {
    known.name: known
    for known in (
        *_all(
            ADA_NAMES,
            "NVIDIA Source Code License for StyleGAN2-ADA",
            "https://github.com/NVlabs/stylegan2-ada-pytorch#license",
            ADA,
        ),
        *_all(
            TENSORFLOW_NAMES,
            "Nvidia Source Code License-NC",
            "https://github.com/NVlabs/stylegan2#license",
            TENSORFLOW,
        ),
        *_all(
            _ngc("stylegan2", STYLEGAN2_FILES),
            "NVIDIA Source Code License for StyleGAN3",
            "https://github.com/NVlabs/stylegan3#license",
            f"{NGC}/stylegan2/versions/1/files",
        ),
        *_all(
            _ngc("stylegan3", STYLEGAN3_FILES),
            "NVIDIA Source Code License for StyleGAN3",
            "https://github.com/NVlabs/stylegan3#license",
            f"{NGC}/stylegan3/versions/1/files",
        ),
    )
}
