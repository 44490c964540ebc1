"""The settings of a run; `schemas.config.load_settings` reads them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Options = dict[str, Any]


def _distinct(names: list[str]) -> list[str]:
    if len(set(names)) != len(names):
        raise ValueError("the same name stands twice")
    return names


class Part(BaseModel):
    """One group of settings; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class GeneratorSettings(Part):
    """Which image generator, and how it is loaded."""

    name: str = "head"
    """a name of mining/generators/registry.py"""
    options: Options = {}
    """what its constructor takes, such as resolution"""


class SequenceSettings(Part):
    """Sequences of one identity, whose pose and expression change."""

    length: int = Field(1, ge=1, le=10_000)
    """frames of each identity; 1: every image is an identity of its own"""
    smoothness: float = Field(0.0, ge=0, lt=1)
    """correlation of the motion's latents in neighbouring frames; 0: each is drawn by itself"""


class DatasetSettings(Part):
    """What is sampled. Everything here is part of the dataset's identity."""

    samples: int = Field(1500, ge=1, le=10**9)
    """how many images"""
    shard_size: int = Field(50, ge=1, le=100_000)
    """images per shard; one shard is one unit of work"""
    seed: int = Field(0, ge=0, lt=2**63)
    """with the shard's number it seeds everything random"""
    psi: float = Field(1.0, ge=0, le=2)
    """truncation: w = mean + psi (w - mean)"""
    cutoff: int | None = Field(None, ge=0)
    """only the first `cutoff` rows of W+ are truncated; all where it is null"""
    space: Literal["w", "w+"] = "w"
    """w: one w for all layers; w+: a w of its own for each layer"""
    batch_size: int = Field(10, ge=1)
    """images per call of the generator; float32 products change with it"""
    image_size: int | None = Field(None, ge=8)
    """edge in pixels that images are averaged down to before anything reads them; null: as made"""
    threads: int = Field(1, ge=1)
    """threads of each worker's numerical libraries"""
    thumbnail: int = Field(128, ge=0, le=1024)
    """edge in pixels of the JPEG stored with each sample; 0 stores none"""
    thumbnail_quality: int = Field(88, ge=1, le=100)
    """JPEG quality of the thumbnails"""
    sequences: SequenceSettings = SequenceSettings()  # type: ignore[call-arg]
    """of a generator that can animate its images, such as the head"""

    @model_validator(mode="after")
    def _whole_sequences(self) -> DatasetSettings:
        if self.samples % self.sequences.length:
            raise ValueError(
                f"samples {self.samples} are no whole number of sequences of "
                f"{self.sequences.length} frames"
            )
        return self


class StageSettings(Part):
    """The worker processes of one stage: how many, and what the cluster reserves for each."""

    min_actors: int = Field(1, ge=1)
    """as many must fit into the cluster, or the run is refused"""
    max_actors: int | None = Field(None, ge=1)
    """as many are used where the cluster has room; engine.workers where it is null"""
    cpus: float | None = Field(None, ge=0)
    """CPUs of each; 1 where it is null, or 0.5 where generators and extractors share the CPUs"""
    gpus: float = Field(0.0, ge=0)
    """GPUs of each: a fraction up to 1, or a whole number"""

    @model_validator(mode="after")
    def _fits(self) -> StageSettings:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus {self.gpus}: above 1, GPUs are reserved whole")
        if self.max_actors is not None and self.max_actors < self.min_actors:
            raise ValueError(f"max_actors {self.max_actors} is below min_actors {self.min_actors}")
        return self


class EngineSettings(Part):
    """Where and how wide the work runs. Nothing here changes a byte of the results, but for rows
    whose measurement crashes or is stopped by `timeout`."""

    workers: int = Field(2, ge=1)
    """worker processes that generate, measure and mine"""
    stages: Literal["auto", "fused", "split"] = "auto"
    """fused: one actor renders and measures; split: generator and extractors are actors apart,
    so that a GPU is kept busy; auto: split where the generator takes a GPU"""
    generator: StageSettings = StageSettings()  # type: ignore[call-arg]
    """actors that render; with fused stages they measure too"""
    extractor: StageSettings = StageSettings()  # type: ignore[call-arg]
    """actors that measure, with split stages"""
    object_store_mb: int = Field(512, ge=100)
    """memory for images on their way between stages; also the size of the object store of a Ray
    that this program starts"""
    autoscaled_nodes: dict[str, Annotated[float, Field(ge=0)]] = {}
    """what a node has that the cluster's autoscaler may add, such as {CPU: 15, GPU: 1}; read from
    the cluster itself where `ray up` made it"""
    timeout: float = Field(300.0, gt=0, le=7 * 86400)
    """seconds that one batch may take before its process counts as hanging and is ended"""
    attempts: int = Field(3, ge=1)
    """how often a shard is tried that cannot be made, before it is quarantined"""
    max_failed: float = Field(0.05, ge=0, le=1)
    """share of rows that may fail, crash or hang before the run is stopped"""
    offline: bool = False
    """fetch no model file or checkpoint: what is in the cache is all there is"""
    results_cache: bool = True
    """keep what was mined and measured under <out>/results/cache, so that a rerun computes only
    what changed; false keeps nothing and reads nothing"""


Share = Annotated[float, Field(gt=0, lt=1)]


class StabilitySettings(Part):
    """How often each direction is mined again, of other rows and seeds."""

    enabled: bool = True
    """mine again at all; without it cards say that their stability was not measured"""
    halves: int = Field(3, ge=1, le=100)
    """seeded splits of the rows into two halves, whose directions are compared"""
    sizes: list[Share] = [0.1, 0.25, 0.5]
    """shares of the rows whose directions are compared with that of all rows"""
    seeds: int = Field(2, ge=0, le=100)
    """further seeds on all rows, of methods that take one"""
    control: bool = False
    """methods behind the control model too: it is fitted again to each part of the rows, which
    takes as long as the first fit each time"""


class MiningSettings(Part):
    """Which directions are mined, and how."""

    attributes: Annotated[list[str], AfterValidator(_distinct)] = Field(
        ["yaw", "pitch", "roll", "mouth_open", "smile", "eye_closed", "brow_raise"],
        min_length=1,
    )
    """scalar columns of the extractors, or labels; unsupervised methods read none"""
    labels: Options = {}
    """attributes of one's own: name -> an expression over columns, or {is, unit, text}"""
    label_file: str | None = None
    """a YAML file or URL of such labels"""
    methods: dict[str, Options] = Field(
        {"ridge": {}, "svm": {}, "nrsfm": {}, "robust_pca": {}, "random": {}}, min_length=1
    )
    """names of mining/methods/registry.py with their options, `random` as the control of them all;
    on the command line --mining.methods.NAME null takes one away"""
    landmarks: str = "dlib_landmarks"
    """the landmark column that NRSfM factorises"""
    nrsfm: Options = {}
    """options of the factorisation"""
    regressor: Options = {}
    """options of the regressor w -> q"""
    seed: int = Field(0, ge=0, lt=2**63)
    """seed of splits and initial weights"""
    stability: StabilitySettings = StabilitySettings()  # type: ignore[call-arg]
    """how far directions hang on the rows and seeds that they were mined with"""


class EvaluationSettings(Part):
    """How each direction is measured on held-out identities."""

    identities: int = Field(20, ge=2)
    """held-out identities, edited and measured again for every direction"""
    steps: list[float] = Field([-2.0, -1.0, 1.0, 2.0], min_length=1)
    """step sizes, in standard deviations of the latents along the direction"""
    bootstrap: int = Field(500, ge=10)
    """draws behind each 95 % interval"""
    strips: int = Field(2, ge=0)
    """identities whose edited images are kept for the report"""
    descriptor: bool = True
    """measure the face descriptor too: what an edit costs in identity"""
    seed: int = Field(1, ge=0, lt=2**63)
    """seed of the held-out identities and of the bootstrap"""


class RunSettings(Part):
    """Everything a run can be told."""

    out: Annotated[str, Field(min_length=1)] = "runs/demo"
    """folder or URL that takes dataset, catalogue, results and report"""
    catalog: str | None = None
    """folder or URL of the catalogue; <out>/catalog where it is null"""
    dataset_url: str | None = None
    """a finished dataset to mine, filtered and extended ones too; where it is null one is made at
    <out>/dataset. With it, the settings of generator, extractors and dataset are not read"""
    generator: GeneratorSettings = GeneratorSettings()
    extractors: Annotated[dict[str, Options], Field(min_length=1)] = {"dlib": {}, "geometry": {}}
    """names of mining/extractors/registry.py with their options, in the order they run; on the
    command line --extractors.NAME null takes one away"""
    dataset: DatasetSettings = DatasetSettings()  # type: ignore[call-arg]
    engine: EngineSettings = EngineSettings()  # type: ignore[call-arg]
    mining: MiningSettings = MiningSettings()  # type: ignore[call-arg]
    evaluation: EvaluationSettings = EvaluationSettings()  # type: ignore[call-arg]
