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


def check_way(q: str | None, direction: str | None, attribute: str | None) -> None:
    """One of the three ways to say what is edited."""
    ways = {"--q": q, "--direction": direction, "--attribute": attribute}
    came = [name for name, value in ways.items() if value is not None]
    if len(came) != 1:
        what = f"both {came[0]} and {came[1]}" if came else "neither --q nor --direction"
        what += "" if came else " nor --attribute"
        raise InputError(f"lode edit: {what} came; expected one of them. See `lode edit --help`.")


def check_by(
    by: str | None,
    attribute: str | None,
    q: str | None,
    to: str | None,
    unit: str | None,
    rounds: int | None,
) -> None:
    """An amount goes with an attribute or a direction, and says its unit itself."""
    if by is None:
        if attribute is not None:
            raise InputError("lode edit: --attribute came without --by; expected such as 10deg.")
        if rounds is not None:
            raise InputError("lode edit: --rounds belongs to --by, which did not come.")
        return
    if q is not None:
        raise InputError("lode edit: --by belongs to --attribute or --direction; with --q, say it.")
    if to is not None or unit is not None:
        raise InputError("lode edit: --to and --unit came beside --by, which says how far itself.")


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


def check_matrix(
    change: str | None, seed: int | None, latent: str | None, parts: str | None
) -> None:
    """A matrix makes changes, or takes the parts of one other latent."""
    ways = {"--change": change, "--from-seed": seed, "--from-latent": latent}
    came = [name for name, value in ways.items() if value is not None]
    if len(came) != 1:
        what = f"both {came[0]} and {came[1]}" if came else f"none of {', '.join(ways)}"
        raise InputError(
            f"lode edit matrix: {what} came; expected one of them. See `lode edit matrix --help`."
        )
    if change is not None and parts is not None:
        raise InputError(
            "lode edit matrix: --parts belongs to --from-seed or --from-latent; --change names "
            "parameters itself."
        )
