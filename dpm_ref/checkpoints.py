"""Training states on disk: written whole or not at all, read only into the model that they belong to.

One npz file holds the parameters and Adam's memory by name, the number of steps, the generator's state as JSON, and what the
parameters mean nothing without: the schedule, the binomial's prior, the network's tables of time. Nothing in it is executed.

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, section 2.4 and App. D.1, whose training this interrupts and resumes.
"""

import json
import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dpm_ref import validation
from dpm_ref.reverse import ReverseModel
from dpm_ref.training import TrainingState, check_state

__all__ = ["load", "save"]

_FORMAT = "dpm_ref training state 1"
_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def save(path: str | os.PathLike[str], model: ReverseModel, state: TrainingState, *, rng: np.random.Generator | None = None) -> None:
    """Write a training state, and the generator's if given, as one npz file that appears whole or not at all.

    Parameters
    ----------
    path : path-like
        Overwritten if it exists; no suffix is added.
    model : GaussianReverse, BinomialReverse or SigmoidReverse
    state : TrainingState, dimensionless vectors of shape (size,)
    rng : numpy.random.Generator, optional

    Raises
    ------
    ValueError
        If the state does not belong to the model.
    OSError
        If the file cannot be written; what stood at the path before still stands there.

    Notes
    -----
    Parameters are stored by name (`MLP.shapes`, App. D.1) beside the schedule, the prior and the network's tables of time.
    """
    check_state(model, state)
    arrays: dict[str, Any] = {f"{prefix}.{name}": view for prefix in ("params", "mean", "square")
                              for name, view in model.network.unpack(getattr(state, prefix)).items()}
    generator = "" if rng is None else json.dumps(validation.generator(rng).bit_generator.state, default=np.ndarray.tolist)
    arrays |= _tables(model) | {"format": np.array(_FORMAT), "step": np.array(state.step), "rng": np.array(generator)}
    target = Path(path)
    temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str], model: ReverseModel) -> tuple[TrainingState, np.random.Generator | None]:
    """Read a training state written by `save`, for the same model.

    Parameters
    ----------
    path : path-like
    model : GaussianReverse, BinomialReverse or SigmoidReverse
        Of the same shapes, schedule, prior and tables of time as the one saved.

    Returns
    -------
    (TrainingState, Generator or None)
        Vectors of shape (size,), dimensionless, and the generator as it was when saved.

    Raises
    ------
    ValueError
        If the file is not such a state, or its names, shapes, dtypes, schedule, prior or tables of time are not this model's:
        going on from it would train something else.
    OSError
        If the file cannot be read.

    Notes
    -----
    Nothing in the file is executed (allow_pickle=False). For the training of section 2.4.
    """
    arrays = _read(path)
    expected = {f"{prefix}.{name}": shape for prefix in ("params", "mean", "square") for name, shape in model.network.shapes.items()}
    tables = _tables(model)
    names = {*expected, *tables, "format", "step", "rng"}
    if str(arrays.get("format", "")) != _FORMAT:
        raise ValueError(f"{path} must be a {_FORMAT!r}, got {str(arrays.get('format', ''))!r}")
    if set(arrays) != names:
        raise ValueError(f"{path} must hold exactly this model's arrays: missing {sorted(names - set(arrays))}, "
                         f"unexpected {sorted(set(arrays) - names)}")
    for name, table in tables.items():
        if not np.array_equal(arrays[name], table):
            raise ValueError(f"{path} must have this model's {name}, got another of shape {arrays[name].shape}")
    dtype = arrays["params.c"].dtype
    for name, shape in expected.items():
        if arrays[name].shape != shape or arrays[name].dtype != dtype or dtype not in (np.float32, np.float64):
            raise ValueError(f"{path}: {name} must be {shape} in one dtype, float32 or float64, got "
                             f"{arrays[name].dtype} {arrays[name].shape}")
        validation.finite(f"{path}: {name}", arrays[name])
        if name.startswith("square") and (arrays[name] < 0).any():
            raise ValueError(f"{path}: {name} must not be negative, got {arrays[name].min()}")
    params, mean, square = (np.concatenate([arrays[f"{prefix}.{name}"].ravel() for name in model.network.shapes])
                            for prefix in ("params", "mean", "square"))
    step = validation.count(f"{path}: step", arrays["step"][()], 0)
    return TrainingState(params, mean, square, step), _generator(path, str(arrays["rng"]))


def _tables(model: ReverseModel) -> dict[str, Any]:
    """What the parameters mean nothing without: the schedule, the binomial's prior, and the network's tables of time."""
    return {"beta": model.diffusion.beta, "prior": np.asarray(getattr(model.diffusion, "pi1", ())),
            "time_features": model.network.time_features, "basis": model.network.basis}


def _read(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an npz file, none of them pickled."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError:
        raise
    except Exception as error:  # numpy and zipfile raise a dozen kinds for a file that is not what it says
        raise ValueError(f"{path} must be an npz file of a training state, got one that cannot be read: {error}") from error


def _generator(path: str | os.PathLike[str], text: str) -> np.random.Generator | None:
    """The generator whose state was saved as JSON."""
    if not text:
        return None
    try:
        state = json.loads(text)
        if state["bit_generator"] not in _GENERATORS:
            raise ValueError(f"unknown bit generator {state['bit_generator']!r}")
        bits = getattr(np.random, state["bit_generator"])()
        if not (0 <= state["state"].get("pos", 0) <= 624 and 0 <= state.get("buffer_pos", 0) <= 4):
            raise ValueError("its position lies outside its buffer")  # which numpy does not check, and would read
        bits.state = {key: _arrays(value) for key, value in state.items()}
        return np.random.Generator(bits)
    except Exception as error:  # numpy and json raise half a dozen kinds for a state that is none
        raise ValueError(f"{path}: rng must be the state of a numpy bit generator, got one that cannot be set: {error}") from error


def _arrays(value: Any) -> Any:
    """JSON lists, at any depth, as the unsigned arrays they were."""
    if isinstance(value, dict):
        return {key: _arrays(inner) for key, inner in value.items()}
    return np.array(value, dtype=np.uint64) if isinstance(value, list) else value
