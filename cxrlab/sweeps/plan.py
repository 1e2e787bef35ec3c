"""Which trials a sweep has: combinations of what the command line and `sweep=...` vary."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from cxrlab.config.schema import Config, SweepConfig
from cxrlab.errors import UserError, warn

TEST = "evaluation.test"
_TUNED = {"batch_size": "data.batch_size", "lr": "optimizer.lr"}


@dataclass(frozen=True)
class Plan:
    """The trials of a sweep, or for a search the keys that it draws.

    Attributes:
        fixed: overrides that every trial has.
        choices: for each key that varies, the overrides that it takes; of a search, none.
        space: for each key that a search draws, from where.
    """

    fixed: tuple[str, ...]
    choices: Mapping[str, tuple[str, ...]]
    space: Mapping[str, str]

    @property
    def varies(self) -> tuple[str, ...]:
        """Keys in which trials differ."""
        return (*self.choices, *self.space)

    @property
    def swept(self) -> dict[str, str]:
        """For each key that varies, its values or its space, as a user would type them."""
        listed = {
            key: ",".join(override.partition("=")[2] for override in overrides)
            for key, overrides in self.choices.items()
        }
        return {**listed, **self.space}

    def jobs(self) -> list[tuple[str, ...]]:
        """The overrides of each trial; the last key varies fastest."""
        return [(*self.fixed, *some) for some in itertools.product(*self.choices.values())]


def make_plan(
    overrides: Sequence[Override], config: SweepConfig, *, seed: int, folds: int | None
) -> Plan:
    """What is fixed and what varies.

    Args:
        overrides: what the user typed.
        config: the section `sweep`.
        seed: the first of `sweep=seeds`.
        folds: how many `sweep=folds` has.

    Raises:
        UserError: a key is swept that the kind of sweep sets itself, an interval is given to a
            grid, or the objective does not fit.
    """
    _check_objective(config)
    fixed: dict[str, str] = {}
    swept: dict[str, Override] = {}
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        swept.pop(key, None)
        if override.is_sweep_override():
            swept[key] = override
        elif override.is_delete():
            fixed[key] = override.input_line or key
        else:
            fixed[key] = override.input_line or f"{key}={override.get_value_element_as_str()}"
    if any(key.lstrip("+~") == "resume" for key in (*fixed, *swept)):
        raise UserError(
            "resume: a sweep has many runs; go on with it by its name, sweep.name=NAME, "
            "and with one of its runs without -m"
        )
    if any(key.lstrip("+~") == "register" for key in (*fixed, *swept)):
        raise UserError(
            "register: a sweep's trials are not registered; train the one you choose with it"
        )
    _leave_test(fixed, swept, config)
    own = _own_choices(config, seed, folds)
    for key in own:
        if key in swept:
            raise UserError(
                f"{swept[key].input_line}: sweep={config.kind} sets {key}; leave it out"
            )
        fixed.pop(key, None)
    if config.kind == "optuna":
        space = {k: v for k, v in config.space.items() if k not in fixed}
        space |= {key: o.input_line.partition("=")[2] for key, o in swept.items() if o.input_line}
        if not space:
            raise UserError(
                "sweep=optuna: nothing to search; give it a key, 'model.dropout=interval(0,0.5)'"
            )
        return Plan(tuple(fixed.values()), {}, space)
    listed = {key: _listed(key, override) for key, override in swept.items()}
    return Plan(tuple(fixed.values()), {**listed, **own}, {})


def check_tuned(plan: Plan, configs: Sequence[Config]) -> None:
    """Refuse to vary what each trial would find for itself.

    Args:
        plan: what varies.
        configs: of the trials, or of samples of a search.

    Raises:
        UserError: a tuned key varies.
    """
    for name in sorted({name for config in configs for name in config.tune.what}):
        if (key := _TUNED[name]) in plan.varies:
            raise UserError(
                f"tune={name}: it replaces {key}, which the sweep varies; leave one of them out"
                + (f", this one with {key}=VALUE" if plan.space else "")
            )


def _check_objective(config: SweepConfig) -> None:
    for metric in config.objective:
        if metric.startswith("test/"):
            raise UserError(
                f"sweep.objective={metric}: a choice made on test is no longer tested; "
                f"take val/{metric.removeprefix('test/')}"
            )
    if len(config.objective) != len(config.direction):
        raise UserError(
            f"sweep.direction={list(config.direction)}: {len(config.objective)} objectives need as "
            "many directions; such as sweep.direction=[maximize,minimize]"
        )
    if len(config.objective) > 1 and config.kind != "optuna":
        raise UserError(
            f"sweep.objective={list(config.objective)}: only sweep=optuna weighs two objectives; "
            f"take sweep.objective={config.objective[0]}"
        )


def _leave_test(fixed: dict[str, str], swept: Mapping[str, Override], config: SweepConfig) -> None:
    if TEST in swept or fixed.get(TEST, "").lower().endswith("=true"):
        warn(
            f"{TEST}=true: every trial reads the test images, so choosing a trial by what it "
            f"shows on them makes test a second validation; choose by {config.objective[0]} alone, "
            f"or leave {TEST} out and test the chosen trial"
        )
    elif TEST not in fixed:
        fixed[TEST] = f"{TEST}=false"


def _own_choices(config: SweepConfig, seed: int, folds: int | None) -> dict[str, tuple[str, ...]]:
    if config.kind == "seeds":
        return {"seed": tuple(f"seed={seed + n}" for n in range(config.seeds))}
    if config.kind == "folds":
        if folds is None:
            raise UserError("data.folds=null: sweep=folds needs their number; give data.folds=5")
        return {"data.fold": tuple(f"data.fold={n}" for n in range(folds))}
    return {}


def _listed(key: str, override: Override) -> tuple[str, ...]:
    if not override.is_discrete_sweep():
        raise UserError(
            f"{override.input_line}: only sweep=optuna draws from an interval; "
            f"list the values, {key}=a,b,c"
        )
    values = list(override.sweep_string_iterator())
    typed = (override.input_line or "").partition("=")[2].split(",")
    # As the user wrote them, 1e-4 and not 0.0001, where that is plain to see.
    if len(typed) == len(values) and all(re.fullmatch(r"[\w.+-]+", text) for text in typed):
        values = typed
    return tuple(f"{key}={value}" for value in dict.fromkeys(values))
