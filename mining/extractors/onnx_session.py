"""ONNX models behind extractors, loaded so that a file can make nothing else be read or run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from mining.extractors.models import Model
from schemas.errors import InputError

Provider = Literal["cpu", "cuda"]
# no search for the fastest convolution, which may find another one each time, and no TF32
PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cpu": ("CPUExecutionProvider", {}),
    "cuda": (
        "CUDAExecutionProvider",
        {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    ),
}


def open_session(who: str, model: Model, provider: Provider = "cpu", threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of one model.

    It is made from the file's bytes. Weights may lie in other files, which a model names by any
    path: onnxruntime would look for them below the working directory, and is told to look where no
    file can be. No library of custom operators is loaded, and no format but ONNX.

    Args:
        who: the extractor, as messages name it: "extractor 'insightface'".
        threads: of one operator; 1, since a worker has one core.

    Raises:
        InputError: the file is no ONNX model, has weights elsewhere, or the provider is not there.
    """
    import onnxruntime

    name, settings = PROVIDERS[provider]
    there = onnxruntime.get_available_providers()
    if name not in there:
        raise _no_provider(who, provider, there)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # what is fatal; errors are raised anyway
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry(EXTERNAL, os.devnull)
    try:
        data = model.path.read_bytes()
        session = onnxruntime.InferenceSession(data, options, providers=[(name, settings)])
    except OSError as error:
        raise InputError(f"{who}: {model.path}: {error.strerror}.") from None
    except Exception as error:  # onnxruntime's own classes have no base but Exception
        said = " ".join(str(error).split())
        if any(mark in said for mark in ELSEWHERE):
            raise InputError(
                f"{who}: {model.path} keeps weights in other files, which are not read; save the "
                "model as one file."
            ) from None
        short = said[:300]
        raise InputError(f"{who}: {model.path} is no ONNX model that runs here: {short}") from None
    if name not in session.get_providers():  # its libraries did not load: it would run elsewhere
        raise _no_provider(who, provider, session.get_providers())
    return session


def gpu_model(who: str, provider: str) -> tuple[str, ...]:
    """What results depend on beside the files, for fingerprints: the GPU's model; () on a CPU.

    Raises:
        InputError: there is no GPU that torch can tell the model of.
    """
    if provider == "cpu":
        return ()
    import torch

    from mining.generators.devices import device_model

    if not torch.cuda.is_available():
        raise InputError(
            f"{who}: provider {provider!r} came, and torch {torch.__version__} sees no GPU whose "
            "model to record; install a torch with CUDA, or leave it at cpu."
        )
    return (device_model(torch.device("cuda")),)


def _no_provider(who: str, provider: str, there: Sequence[str]) -> InputError:
    return InputError(
        f"{who}: provider {provider!r} came, and this onnxruntime has {', '.join(there)}; "
        "install onnxruntime-gpu, or leave it at cpu."
    )


ELSEWHERE = ("xternal data", "external TensorProto", os.devnull)  # as onnxruntime tells of them
EXTERNAL = "session.model_external_initializers_file_folder_path"
