"""Checks that every attention mechanism must pass. A failure is reported in one sentence.

    for result in run(lambda: attention.create("my_attention.py:MyAttention", 64)):
        print(result)

A check takes a function that builds the module (the same each time, except for its weights) and raises `Failure`, or
`Skipped` with the reason. The tests run them on every registered mechanism, `python -m sisr check` on any.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from models.attention._errors import CRASHES, sentence
from models.attention.checks import module, tracing, training
from models.attention.checks.tools import Build, Failure, Skipped

__all__ = ["CHECKS", "SLOW", "Failure", "Result", "Skipped", "about", "run"]

Check = Callable[[Build, int], str | None]
"""Returns a note on a module that passes, or None."""

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        module.shapes,
        module.gradients,
        module.dtypes,
        module.batch_independence,
        module.determinism,
        module.memory_format,
        module.state_dict,
        module.reference,
        module.approximation,
        module.weights,
        training.options,
        training.auxiliary_loss,
        training.training,
        tracing.flops,
        tracing.device,
        tracing.compiles,
        tracing.compiles_to_machine_code,
    )
}
SLOW = {"compiles_to_machine_code"}


@dataclass(frozen=True)
class Result:
    """Outcome of one check: status is "passed", "failed" or "skipped", message is empty when it passed.

    note: what a user should know of a mechanism that passed.
    """

    check: str
    status: str
    message: str = ""
    note: str = ""

    def __str__(self) -> str:
        return f"{self.check}: {self.status}" + (f": {self.message}" if self.message else "")


def about(name: str) -> str:
    """Description of a check in one sentence."""
    return " ".join((CHECKS[name].__doc__ or "").split())


def run(build: Build, channels: int = 64, names: list[str] | None = None) -> Iterator[Result]:
    """Run the checks called `names` (all of `CHECKS` if None), one result each; an exception is a failure.

    If `shapes` fails, the following checks are skipped: they would all report the same.
    """
    misshapen = False
    for name in CHECKS if names is None else names:
        if misshapen:
            yield Result(name, "skipped", "runs after shapes passes")
            continue
        try:
            note = CHECKS[name](build, channels)
        except Skipped as reason:
            yield Result(name, "skipped", str(reason))
        except Failure as failure:
            misshapen = name == "shapes"
            yield Result(name, "failed", str(failure))
        except CRASHES as error:
            misshapen = name == "shapes"
            yield Result(name, "failed", sentence(error))
        else:
            yield Result(name, "passed", note=note or "")
