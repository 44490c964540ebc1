"""Feeds mutated files to the importers in a process of its own, whose memory is bounded.

    python -m tests.storage.exchange.fuzzing COUNT SEED

prints one line of JSON: how many files were read, how many refused, and every other outcome.
"""

from __future__ import annotations

import io
import json
import re
import resource
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from schemas.errors import LodeError
from storage.exchange.bundle import write_bundle
from storage.exchange.card_json import to_json
from storage.exchange.drafts import Given, drafts_of
from storage.exchange.restoring import restored
from tests.storage.exchange import planted_files as planted
from tests.storage.sample_cards import sample_card

HEADROOM = 384 << 20  # bytes beyond what the packages take; no seed file has more than 20 kB
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**40, 2**62, 2**64 - 1)
GIVEN = Given(generator="head")


def seeds() -> dict[str, bytes]:
    """A small valid file for every importer."""
    rng = np.random.default_rng(0)
    row, rows = rng.normal(size=(1, 24)), rng.normal(size=(1, 3, 24)).astype(np.float32)
    fortran, views = np.asfortranarray(rows[0]), torch.from_numpy(rows[0])
    return {
        "row.npy": planted.npy(row),
        "rows.npz": planted.npz(rows),
        "ganspace.npz": planted.ganspace_npz(),
        "row.pt": planted.torch_zip(row),
        "ffhq_pca.pt": planted.torch_zip(planted.pca()),
        "micromotion/smile/d_latent": steady(planted.torch_legacy(rows)),
        "several.pt": steady(planted.torch_legacy({"a": views[0], "b": views[1:]})),
        "saved2.pkl": planted.pickled(planted.ganspace_saved(row), 2),
        "saved4.pkl": planted.pickled(planted.ganspace_saved(row), 4),
        "saved5.pkl": planted.pickled(
            planted.ganspace_saved(fortran, latent_space="", edit_start=""), 5
        ),
        "row.safetensors": planted.safetensors(row, {"layers": "1 2"}),
        "cards.json": to_json([sample_card(1)]),
        "bundle.zip": write_bundle([sample_card(1), sample_card(2, attribute="age")]),
    }


def steady(data: bytes) -> bytes:
    """A file of torch's older format with "0" for the address that it names its storage by."""
    return re.sub(rb"X.\0\0\0\d{10,}", b"X\x01\0\0\x000", data)


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The file with one to four mutations, each of a random kind at a random place."""
    result = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(len(result), 1)))
        kind = rng.integers(0, 7)
        if kind == 0 and result:  # a bit
            result[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:  # some random bytes
            span = int(rng.integers(1, 9))
            result[at : at + span] = rng.bytes(span)
        elif kind == 2:  # the end is missing
            del result[at:]
        elif kind == 3:  # a part of another file
            start = int(rng.integers(0, len(other)))
            result[at:at] = other[start : start + int(rng.integers(1, 200))]
        elif kind == 4:  # a part twice, or gone
            span = int(rng.integers(1, 64))
            result[at : at + span] = result[at : at + span] * int(rng.integers(0, 3))
        elif kind == 5:  # a length or an offset
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(INTERESTING[rng.integers(0, len(INTERESTING))]) % (1 << 8 * width)
            result[at : at + width] = value.to_bytes(width, "little")
        else:  # a digit of a header in text
            digits = [place for place, byte in enumerate(result) if 48 <= byte <= 57]
            if digits:
                result[int(rng.choice(digits))] = int(rng.integers(48, 58))
    return bytes(result)


def mutated_inside(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A zip archive that is whole, with one of its members mutated: no checksum gives it away."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    chosen = int(rng.integers(0, len(members)))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for at, (name, content) in enumerate(members):
            entry = zipfile.ZipInfo(name)  # of 1980: the same bytes in every run
            archive.writestr(entry, mutated(content, other, rng) if at == chosen else content)
    return sink.getvalue()


def files(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Names and bytes; as many for every importer."""
    rng = np.random.default_rng(seed)
    valid = seeds()
    names = list(valid)
    for at in range(count):
        name = names[at % len(names)]
        other = valid[names[int(rng.integers(0, len(names)))]]
        inside = valid[name].startswith(b"PK") and rng.random() < 0.7
        yield name, (mutated_inside if inside else mutated)(valid[name], other, rng)


def main(count: int, seed: int) -> dict[str, object]:
    """What became of the files."""
    read, refused, others = 0, 0, []
    for name, data in files(count, seed):
        try:
            for draft in drafts_of(Path(name), data, GIVEN):
                norm = float(np.linalg.norm(draft.card.vector.astype(np.float64)))
                if restored(data) is None and abs(norm - 1) > 1e-3:
                    others.append(f"{name}: a vector of norm {norm}")
            read += 1
        except LodeError as error:
            refused += 1
            if not str(error).isprintable() or len(str(error)) > 2000:
                others.append(f"{name}: an error of {len(str(error))} characters: {error!r}")
        except BaseException as error:  # what this program looks for
            others.append(f"{name}: {type(error).__name__}: {error}; {data[:4000].hex()}")
    return {"read": read, "refused": refused, "others": others}


def bounded() -> None:
    """Let the process take no more memory than HEADROOM beyond what the packages take."""
    for name, data in seeds().items():
        drafts_of(Path(name), data, GIVEN)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    warnings.simplefilter("error")
    bounded()
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
