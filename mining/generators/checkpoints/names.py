"""Every name that a checkpoint may mention. They are compared as text and never imported."""

from __future__ import annotations

TENSOR_TYPES = {  # torch's storage classes and dtypes -> (dtype, bytes of one number)
    "Double": ("float64", 8),
    "Float": ("float32", 4),
    "Half": ("float16", 2),
    "BFloat16": ("bfloat16", 2),
    "Long": ("int64", 8),
    "Int": ("int32", 4),
    "Short": ("int16", 2),
    "Char": ("int8", 1),
    "Byte": ("uint8", 1),
    "Bool": ("bool", 1),
}
STORAGES = {f"torch.{name}Storage": kind for name, kind in TENSOR_TYPES.items()}
DTYPES = {f"torch.{kind}": kind for kind, _ in TENSOR_TYPES.values()}

SETS = {"builtins.set", "__builtin__.set"}  # the second is how protocol 2 spells the first
DICTS = {"collections.OrderedDict", "dnnlib.util.EasyDict"}
NUMPY_ROOTS = ("numpy.core", "numpy._core")  # before and since NumPy 2
NUMPY = {
    f"{root}.{name}"
    for root in NUMPY_ROOTS
    for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")
}
PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
TENSORFLOW_NETWORK = "dnnlib.tflib.network.Network"
MODULE_PREFIX = "torch.nn.modules."
MODULES = {  # of EG3D, pickled without their source beside them
    "training.triplane.OSGDecoder",
    "training.volumetric_rendering.ray_marcher.MipRayMarcher2",
    "training.volumetric_rendering.ray_sampler.RaySampler",
    "training.volumetric_rendering.renderer.ImportanceRenderer",
}
OTHERS = {
    "__builtin__.bytes",  # how protocol 2 writes no bytes
    "_codecs.encode",  # how protocol 2 writes bytes
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.ndarray",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch.storage._load_from_bytes",
}
ALLOWED = frozenset(
    {*STORAGES, *DTYPES, *SETS, *DICTS, *NUMPY, *MODULES, *OTHERS, PERSISTENT, TENSORFLOW_NETWORK}
)


def allowed(module: str, name: str) -> bool:
    """Whether a checkpoint needs that name."""
    return f"{module}.{name}" in ALLOWED or is_module(f"{module}.{name}")


def is_module(full: str) -> bool:
    """Whether it is a layer class whose objects are read as parameters and buffers."""
    rest = full.removeprefix(MODULE_PREFIX)
    plain = all(part.isidentifier() for part in rest.split("."))
    return full in MODULES or (full.startswith(MODULE_PREFIX) and rest.count(".") == 1 and plain)
