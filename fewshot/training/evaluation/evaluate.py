"""The evaluation job, top to bottom: a trained run and its baselines on the same tasks, with 95 % intervals."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fewshot.files import write_whole
from fewshot.meta import MetaLearner
from fewshot.training.evaluation.baselines import baseline_methods
from fewshot.training.evaluation.measure import Method, measure_curve, of_learner
from fewshot.training.graphs import only_pruned
from fewshot.training.kinds.figures import Outcome, Report, ShotsRow, mean_and_interval
from fewshot.training.kinds.kind import Kind
from fewshot.training.kinds.under_test import Request, TestTasks
from fewshot.training.recipe import Recipe
from fewshot.training.run import Run


@only_pruned()
def evaluate(
    run: Path, paths: Sequence[Path], request: Request, *, baselines: bool = False, baseline_minutes: float = 5.0
) -> Report:
    """Evaluate a run on tasks of regions it has not seen.

    On the recipe's own tasks the figures are also written to `RUN/evaluation.json`, as `keep_evaluation` says.

    Args:
        run: The run folder.
        paths: Data to test on; the run's own data if empty.
        request: Tasks, steps, ways and shots.
        baselines: Put random initialisation, pre-training, a prototypical network and nearest neighbours beside it.
        baseline_minutes: Most time to train each baseline that needs it; trained ones are kept in the run folder.

    Returns:
        The figures; `Report` lists the keys of what `fewshot evaluate --json` writes of them.

    Raises:
        FewshotError: if run, data or request are not as expected, or the adaptation diverges.
    """
    # The tasks: of regions that training and validation have not seen.
    opened = Run.open(run, request.settings)
    recipe, kind = opened.recipe, opened.kind
    tested = opened.regions(request.split, paths)
    chosen = kind.choose(tested, request, next(iter(request.shots), None))
    if request.save_tasks is not None:
        chosen.save(request.save_tasks)

    # The run, after each number of steps.
    learner = opened.learner(tested)
    kind.require_ways(learner.head.outputs if learner.head else None, request.ways)
    outcome = measure_curve(learner, kind, chosen, request.steps)
    report = make_report(recipe, learner, kind, chosen, outcome)

    # The baselines on the same tasks, and all of them again with each number of shots.
    methods = {}
    if baselines:
        cache = opened.folder.path / "baselines"
        methods = baseline_methods(recipe, kind, opened.parts(), tested, cache, minutes=baseline_minutes)
    beside = {name: kind.compare(outcome, method.measure(kind, chosen)) for name, method in methods.items()}
    own = of_learner(learner, recipe.tasks.labels)
    by_shots = {
        str(count): measure_shots(kind, own, methods, kind.choose(tested, request, count))
        for count in kind.shots_in_table(request.shots)
    }
    report = replace(report, baselines=beside, by_shots=by_shots)
    keep_evaluation(opened, report, request, paths)
    return report


def make_report(recipe: Recipe, learner: MetaLearner, kind: Kind, chosen: TestTasks, outcome: Outcome) -> Report:
    """Return the figures of the run alone.

    Args:
        recipe: The run's.
        learner: The run's.
        kind: Of the tasks.
        chosen: The tasks.
        outcome: What the learner made of them.
    """
    words, ways, shots = kind.size(chosen)
    scores = [kind.scores(outcome, i) for i in range(len(outcome.steps))]
    return Report(
        recipe=recipe.name,
        learner=recipe.learner_name,
        transductive=learner.transductive,
        views=learner.views.count,
        draws=learner.draws(),
        yardstick=kind.yardstick,
        data=chosen.region_set.name,
        asked=words,
        tasks=len(chosen),
        ways=ways,
        shots=shots,
        steps=outcome.steps[outcome.at],
        figures=kind.figures(outcome),
        per_task=outcome.per_task.tolist(),
        curve_steps=list(outcome.steps),
        curve={key: [mean_and_interval(after[key]) for after in scores] for key in kind.yardstick.compared},
        regions=kind.region_figures(chosen, outcome),
    )


def measure_shots(kind: Kind, own: Method, methods: Mapping[str, Method], chosen: TestTasks) -> ShotsRow:
    """Return the figures of the run and of every baseline with one number of shots.

    Args:
        kind: Of the tasks.
        own: The run.
        methods: The baselines.
        chosen: The tasks.
    """
    outcome = own.measure(kind, chosen)
    if not kind.baselines_by_shots:
        return ShotsRow(kind.figures(outcome))
    others = {name: kind.compare(outcome, method.measure(kind, chosen)) for name, method in methods.items()}
    return ShotsRow(kind.figures(outcome), others)


def keep_evaluation(run: Run, report: Report, request: Request, paths: Sequence[Path]) -> None:
    """Write `RUN/evaluation.json`, which an export puts on its card: the last evaluation on the recipe's own tasks.

    Evaluations of other ways, shots or bands, of a task list, or of the training part, are not kept, and one of
    another part than `test` (data named with --data counts as such) does not take the place of one of `test`.

    Args:
        run: That was evaluated.
        report: What was found.
        request: What was asked for; split, seed and settings are written beside the figures.
        paths: The data that was named.
    """
    own_shots = not request.shots or request.shots[0] == run.recipe.tasks.shots
    if request.ways or request.bands or request.task_list or request.split == "train" or not own_shots:
        return
    if request.split != "test" and run.evaluation().get("evaluated", {}).get("split") == "test":
        return
    evaluated = {
        "split": request.split,
        "data": [str(path.resolve()) for path in paths],
        "seed": request.seed,
        "settings": list(request.settings),
    }
    text = json.dumps({**report.plain(), "evaluated": evaluated}, indent=1) + "\n"
    with contextlib.suppress(OSError):  # a run that may only be read is evaluated all the same
        write_whole(run.folder.evaluation, lambda path: path.write_text(text, encoding="utf-8"))
