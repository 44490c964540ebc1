"""What the micromotion paper measured: its Table 1 and the two cells that it tells of its Fig. 6.

Wu, Jiang et al. (2022), "Grasping the Arrow of Time from the Singularity: Decoding Micromotion in
Low-dimensional Latent Spaces from StyleGAN", arXiv:2204.12696, section 4: StyleGAN2 at 1024 px,
2,000 images edited for each attribute. All of Fig. 6 but these cells is a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

SOURCE = "Wu, Jiang et al. (2022), arXiv:2204.12696"
MICROMOTION, INTERFACEGAN, GANSPACE = "micromotion", "InterFaceGAN", "GANSpace"

# method -> attribute -> change of the identity score by an edit; smaller is better
IDENTITY: Mapping[str, Mapping[str, float]] = {
    INTERFACEGAN: {"smile": 0.0515, "age": 0.1294, "gender": 0.1225, "glasses": 0.0916},
    GANSPACE: {"smile": 0.1081, "age": 0.0975, "gender": 0.0507, "glasses": 0.1420},
    MICROMOTION: {"smile": 0.0047, "age": 0.0660, "gender": 0.0491, "glasses": 0.0279},
}
# (method, attribute edited, attribute scored) -> mean change of a classifier's score
RESCORING: Mapping[tuple[str, str, str], float] = {
    (INTERFACEGAN, "smile", "smile"): 0.482,
    (INTERFACEGAN, "smile", "age"): 0.005,
}
# ours -> the method of the paper that it does the work of
COUNTERPARTS: Mapping[str, str] = {
    "svm": INTERFACEGAN,
    "pca": GANSPACE,
    "robust_pca": MICROMOTION,
    "micromotion": MICROMOTION,
}
DIFFERENCES = (
    "The paper's generator (StyleGAN2 on photographs), its attribute classifiers, its identity "
    "network and the length of its edits are others, and it does not state the last: compare the "
    "order of the methods, not the digits. Its GANSpace directions were named by eye; ours by what "
    "they were measured to move most."
)


def paper_order(attribute: str, methods: Iterable[str] = IDENTITY) -> tuple[str, ...]:
    """The paper's methods, the one that changes identity least first; () of what it has not.

    Args:
        attribute: smile, age, gender or glasses; or "mean", of all four.
    """
    means = {
        method: sum(cells.values()) / len(cells) if attribute == "mean" else cells.get(attribute)
        for method, cells in IDENTITY.items()
        if method in set(methods)
    }
    known = {method: value for method, value in means.items() if value is not None}
    return tuple(sorted(known, key=lambda method: known[method]))
