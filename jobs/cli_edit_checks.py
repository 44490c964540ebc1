"""Which options of `lode edit` belong together; refusals before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.errors import InputError


def needed(option: str, value: str | None) -> str:
    """The value of an option that an edit cannot do without."""
    if not value:
        raise InputError(f"lode edit: no {option} came; see `lode edit --help`.")
    return value


def check_one(seeds: Sequence[int] | None, latent: str | None) -> None:
    """Latents to edit come from seeds or from a file."""
    if bool(seeds) == (latent is not None):
        came = "both --seed and --latent" if seeds else "neither --seed nor --latent"
        raise InputError(f"lode edit: {came} came; expected one of them.")


def check_from(
    seed: int | None, image: str | None, to: Sequence[int] | None, codes: str | None
) -> None:
    """What a transfer copies comes from a seed or a photo, and goes to seeds."""
    if (seed is None) == (image is None):
        came = "neither --from SEED nor" if seed is None else "both --from and"
        raise InputError(f"lode edit transfer: {came} --from-image came; expected one of them.")
    if not to:
        raise InputError("lode edit transfer: no --to SEED came; expected one or more.")
    if image is not None and codes == "regressor":
        raise InputError(
            "lode edit transfer: --codes regressor came with --from-image; a photo has no latent "
            "for the regressor. Leave --codes out."
        )


def ends_of(
    to: str | None, direction: str | None, unit: str | None, method: str, hold: str | None
) -> tuple[float, float]:
    """The first and the last step along a direction; what belongs to the other way is refused."""
    if direction is None:
        if to is not None or unit is not None:
            raise InputError("lode edit: --to and --unit belong to --direction; with --q, say it.")
        return 0.0, 0.0
    if method != "analytic" or hold is not None:
        raise InputError("lode edit: --method and --hold belong to --q, not to --direction.")
    words = ("2" if to is None else to).split(",")
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise InputError(f'lode edit: --to {to!r} came; expected such as "2" or "-2,2".')
    return (0.0, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])
