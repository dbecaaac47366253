"""What must be true of the vectors, checked without mpmath and without a line of the generator.

    python tests/vectors/lint.py [FOLDER]       prints what is wrong, and fails if anything is

What is linted: every line is canonical JSON; the schema; ids, dense and unique; the declared
counts; every flag explained and every explained flag used; every flag true, those of circumstances
by the inputs and those of mistakes by the wrong output that each comes with; each output the
float64 nearest to its 40 digits; a size below 2 MB.
"""

import json
import math
import re
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LARGEST = 2_000_000
HEADER = ["schema", "function", "dpm_ref", "equation", "definition", "units", "input", "output"]
HEADER += ["tolerance", "precision", "generator", "flags", "count", "retired"]
VALID = ["id", "input", "result", "output", "output_40", "tolerance", "flags", "wrong"]
INVALID = ["id", "input", "result", "flags"]
RATES = {"beta", "first", "last", "beta1", "abar_T"}
VARIANCES = {"var", "var_q", "var_p", "r_var"}
PROBABILITIES = {"q1", "q0", "p1", "p0", "prior", "table", "c1", "c0"}
FORTY = re.compile(r"-?\d\.\d{39}e[+-]\d+|0|-?inf|true|false")


def leaves(value: Any) -> Iterator[Any]:
    """The numbers in nested lists and dicts, in order."""
    if isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from leaves(each)
    else:
        yield value


def shape(value: Any) -> Any:
    """Nested lists and dicts without their numbers."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return [shape(each) for each in value] if isinstance(value, list) else None


def lint(folder: Path = FOLDER) -> list[str]:
    """Everything that is wrong with a folder of vectors."""
    files = sorted(folder.glob("*.jsonl"))
    found = [] if files else ["no vectors"]
    total = sum(path.stat().st_size for path in files)
    if total >= LARGEST:
        found.append(f"{total} bytes, not below {LARGEST}")
    for path in files:
        found += [f"{path.name}: {complaint}" for complaint in lint_file(path)]
    return found


def lint_file(path: Path) -> Iterator[str]:
    """What is wrong with one file."""
    raw = path.read_bytes()
    if not raw.endswith(b"\n") or not raw.isascii():
        yield "not lines of ASCII"
        return
    lines = []
    for place, line in enumerate(raw.decode("ascii").splitlines(), start=1):
        try:
            lines.append(json.loads(line))
        except ValueError:
            yield f"line {place} is no JSON"
            return
        if json.dumps(lines[-1], separators=(",", ":")) != line:
            yield f"line {place} is not written the one way there is to write it"
    header, *vectors = lines
    yield from lint_header(header, vectors, path.stem)
    for vector in vectors:
        try:
            complaints = list(lint_vector(vector, header))
        except (KeyError, TypeError, ValueError) as error:
            complaints = [f"does not have the schema: {error!r}"]
        yield from (f"{vector.get('id')}: {complaint}" for complaint in complaints)


def lint_header(header: dict[str, Any], vectors: list[dict[str, Any]], name: str) -> Iterator[str]:
    """The first line, and what it says of the others."""
    if list(header) != HEADER or header["schema"] != 1 or header["function"] != name:
        yield f"the header must have {HEADER}, schema 1 and the file's name"
        return
    explained = ("input", "output", "flags", "retired")
    texts = [header[key] for key in HEADER if key not in (*explained, "schema", "count")]
    if not all(isinstance(text, str) and text for text in texts):
        yield "a text of the header is empty"
    texts = [text for key in explained for text in header[key].values()]
    if not all(isinstance(text, str) and text for text in texts):
        yield "something is not explained in the header"
    if header["count"] != len(vectors):
        yield f"{len(vectors)} vectors, {header['count']} declared"
    ids = [vector.get("id") for vector in vectors]
    total = len(ids) + len(header["retired"])
    dense = [f"{name}-{k:04d}" for k in range(1, total + 1)]
    if sorted([*ids, *header["retired"]]) != dense or ids != sorted(ids):
        yield "ids are not 1, 2, 3, ... with the retired ones left out"
    used = {flag for vector in vectors for flag in vector.get("flags", [])}
    if odd := sorted(used ^ set(header["flags"])):
        yield f"flags used but not explained, or explained but not used: {odd}"
    if sum("smoke" in vector.get("flags", []) for vector in vectors) != 1:
        yield "not one smoke vector"


def lint_vector(vector: dict[str, Any], header: dict[str, Any]) -> Iterator[str]:
    """One vector."""
    valid = vector["result"] == "valid"
    keys = {"valid": VALID, "invalid": INVALID}.get(vector["result"])
    if list(vector) != keys:
        yield "does not have the schema"
        return
    if list(vector["input"]) != list(header["input"]):
        yield "inputs are not those of the header"
    kinds = [header["flags"][flag].partition(":")[0] for flag in vector["flags"]]
    if len(set(vector["flags"])) != len(kinds) or kinds.count("invalid") != (0 if valid else 1):
        yield "an invalid vector has one reason, a valid one none, and no flag comes twice"
    if ("not_float32" in vector["flags"]) != not_float32(vector["input"]):
        yield "not_float32 is not true"
    if not valid:
        return
    yield from lint_output(vector, header)
    x, output = vector["input"], leaves(vector["output"])
    outputs = [float(leaf) for leaf in output if not isinstance(leaf, bool)]
    for flag, holds in circumstances(x, outputs).items():
        if (flag in vector["flags"]) != holds:
            yield f"{flag} is not true"
    of_a_kind = zip(vector["flags"], kinds, strict=True)
    if {flag for flag, kind in of_a_kind if kind == "mistake"} != set(vector["wrong"]):
        yield "the mistakes flagged are not those whose wrong output is given"
    for name, wrong in vector["wrong"].items():
        if not caught(wrong, vector):
            yield f"{name} is not true: its output is too near the right one"


def lint_output(vector: dict[str, Any], header: dict[str, Any]) -> Iterator[str]:
    """The right output, twice, and its tolerance."""
    output, digits, tolerance = vector["output"], vector["output_40"], vector["tolerance"]
    if list(output) != list(header["output"]) or not shape(output) == shape(digits) == shape(
        tolerance
    ):
        yield "outputs are not those of the header, or their shapes differ"
        return
    for value, text, allowed in zip(leaves(output), leaves(digits), leaves(tolerance), strict=True):
        if not isinstance(text, str) or not FORTY.fullmatch(text):
            yield f"{text!r} is not a number of 40 digits"
        elif isinstance(value, (bool, str)):
            if text != (str(value).lower() if isinstance(value, bool) else value) or allowed != 0:
                yield f"{value!r} is not {text}, or has a tolerance"
        elif (
            not isinstance(value, float)
            or value != float(text)
            or math.copysign(1, value) != math.copysign(1, float(text))
        ):
            yield f"{value!r} is not the float64 nearest to {text}"
        elif (
            not isinstance(allowed, float) or not 0 <= allowed < math.inf or (value and not allowed)
        ):
            yield f"a tolerance of {allowed!r} for {value!r}"
        elif value and allowed > 1e-6 * abs(value) and "cancellation" not in vector["flags"]:
            yield f"a tolerance of {allowed!r} for {value!r}, whose terms do not cancel"


def caught(wrong: dict[str, Any], vector: dict[str, Any]) -> bool:
    """Whether some wrong number is more than 1e-3 of the right one from it, and more than 1000
    tolerances.
    """
    if not set(wrong) <= set(vector["output"]) or any(
        shape(wrong[name]) != shape(vector["output"][name]) for name in wrong
    ):
        return False
    return any(
        differs(float(a), float(b), allowed)
        for name in wrong
        for a, b, allowed in zip(
            leaves(wrong[name]),
            leaves(vector["output"][name]),
            leaves(vector["tolerance"][name]),
            strict=True,
        )
    )


def differs(wrong: float, right: float, allowed: float) -> bool:
    if math.isinf(wrong) or math.isinf(right):
        return wrong != right
    return abs(wrong - right) > max(1e-3 * abs(right), 1000 * allowed)


def not_float32(x: dict[str, Any]) -> bool:
    """Whether some input is a number that float32 does not hold."""
    numbers = [leaf for leaf in leaves(x) if isinstance(leaf, float)]
    return any(struct.unpack("f", struct.pack("f", number))[0] != number for number in numbers)


def circumstances(x: dict[str, Any], outputs: list[float]) -> dict[str, bool]:
    """The flags of a valid vector that its inputs and outputs decide."""
    long = len(x.get("beta", [])) >= 1000 or x.get("T", 0) >= 1000
    return {"tiny": tiny(x), "limit": at_limit(x, outputs), "long": long}


def tiny(x: dict[str, Any]) -> bool:
    return any(
        0 < leaf < 1e-6
        for name in x
        if name in RATES | VARIANCES | PROBABILITIES
        for leaf in leaves(x[name])
    )


def at_limit(x: dict[str, Any], outputs: list[float]) -> bool:
    probabilities = [leaf for name in x if name in PROBABILITIES for leaf in leaves(x[name])]
    return (
        any(leaf in (0, 1) for leaf in probabilities)
        or 1.0 in x.get("beta", [])
        or len(x.get("beta", [0, 0])) == 1
        or x.get("T") == 1
        or any(value == 0 or math.isinf(value) for value in outputs)
    )


if __name__ == "__main__":
    complaints = lint(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
    print("\n".join(complaints) or "nothing to complain of")
    sys.exit(bool(complaints))
