"""ONNX models behind extractors, loaded so that a file can make nothing else be read or run."""

from __future__ import annotations

from typing import Any, Literal

from mining.extractors.models import Model
from schemas.errors import InputError

Provider = Literal["cpu", "cuda"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def open_session(who: str, model: Model, provider: Provider = "cpu", threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of one model.

    It is made from the file's bytes, so that tensors in other files, which a model may name by any
    path, are not found; no library of custom operators is loaded.

    Args:
        who: the extractor, as messages name it: "extractor 'insightface'".
        threads: of one operator; 1, since a worker has one core.

    Raises:
        InputError: the file is no ONNX model, or the provider is not there.
    """
    import onnxruntime

    name = PROVIDERS[provider]
    there = onnxruntime.get_available_providers()
    if name not in there:
        raise InputError(
            f"{who}: provider {provider!r} came, and this onnxruntime has {', '.join(there)}; "
            "install onnxruntime-gpu, or leave it at cpu."
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors, which are raised anyway
    try:
        data = model.path.read_bytes()
        return onnxruntime.InferenceSession(data, options, providers=[name])
    except OSError as error:
        raise InputError(f"{who}: {model.path}: {error.strerror}.") from None
    except Exception as error:  # onnxruntime's own classes have no base but Exception
        said = " ".join(str(error).split())[:300]
        raise InputError(f"{who}: {model.path} is no ONNX model that runs here: {said}") from None
