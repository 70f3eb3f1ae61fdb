"""Inference requests over HTTP on the models of `MODELS`, and their expected answers."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import attrs

Numbers = list[float]

TIMEOUT: Final = 10


@attrs.frozen
class Question:
    """The inputs of a model and its expected outputs, by tensor name."""

    datatype: str
    inputs: Mapping[str, Numbers]
    outputs: Mapping[str, Numbers]


QUESTIONS: Final[Mapping[str, Question]] = {
    "add": Question(
        "FP32",
        {"INPUT0": [1, 2, 3, 4], "INPUT1": [5, 6, 7, 8]},
        {"SUM": [6, 8, 10, 12], "PRODUCT": [5, 12, 21, 32], "DOT": [70]},
    ),
    "checked": Question("FP32", {"INPUT0": [1.5, -2]}, {"OUTPUT0": [1.5, -2]}),
    "ident": Question("FP32", {"INPUT0": [0.5, 8, -1]}, {"OUTPUT0": [0.5, 8, -1]}),
    "repeat": Question("INT32", {"INPUT0": [4, 2]}, {"OUTPUT0": [4, 2, 4, 2]}),
    "reverse": Question("INT32", {"INPUT0": [1, 2, 3]}, {"OUTPUT0": [3, 2, 1]}),
    "scale": Question("FP32", {"INPUT0": [1, 2.5]}, {"OUTPUT0": [3, 7.5]}),
    "square": Question("INT32", {"INPUT0": [3, -4]}, {"OUTPUT0": [9, 16]}),
}
"""By model name."""


def wait_until_ready(url: str, seconds: float = 60, alive: Callable[[], bool] = lambda: True) -> None:
    """Wait for the server at *url* (`http://HOST:PORT`).

    Args:
        url: without a path
        seconds: the longest wait
        alive: returns whether the server still runs

    Raises:
        TimeoutError: it was not ready in time, or stopped
    """
    last = time.monotonic() + seconds
    while time.monotonic() < last and alive():
        if is_ready(url):
            return
        time.sleep(0.2)
    raise TimeoutError(f"no server became ready at {url} in {seconds:g} seconds, or it stopped")


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=TIMEOUT):
            return True
    except OSError:
        return False


def infer(url: str, model: str, question: Question) -> dict[str, Numbers]:
    """Return the outputs of *model* by name; an error answer raises RuntimeError with its text."""
    inputs = [
        {"name": name, "datatype": question.datatype, "shape": [len(numbers)], "data": numbers}
        for name, numbers in question.inputs.items()
    ]
    asked = json.dumps({"inputs": inputs}).encode()
    try:
        with urllib.request.urlopen(f"{url}/v2/models/{model}/infer", asked, timeout=TIMEOUT) as answer:
            outputs = json.load(answer)["outputs"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{model}: {error.read().decode(errors='replace')}") from error
    return {output["name"]: output["data"] for output in outputs}


def wrong(url: str, models: Iterable[str] = tuple(QUESTIONS)) -> dict[str, dict[str, Numbers]]:
    """Return the unexpected answers by model; empty if all are right."""
    answers = {model: infer(url, model, QUESTIONS[model]) for model in models}
    return {model: answer for model, answer in answers.items() if answer != QUESTIONS[model].outputs}
