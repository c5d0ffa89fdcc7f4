"""From a request to its map: the method is chosen, an engine opened for it, and the map made."""

from collections.abc import Mapping

from fewshot.exported.predictor import Predictor
from fewshot.mapping.compare.choose import choose_method
from fewshot.mapping.predict.engine import EngineOf
from fewshot.mapping.product.report import MapReport
from fewshot.mapping.region_map import Progress, Say, map_scene
from fewshot.mapping.request import MapRequest


def run_request(
    models: Predictor | Mapping[str, Predictor] | None,
    engine_of: EngineOf,
    request: MapRequest,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
) -> MapReport:
    """Choose what maps a region, and map it.

    Args:
        models: As `choose_method` takes them.
        engine_of: Returns what predicts, for the predictor that was chosen.
        request: What to map.
        progress: Called with the blocks that are finished and all there are.
        say: Called with a line on which band went where.

    Raises:
        FewshotError: what `choose_method` and `map_scene` raise.
    """
    choice = choose_method(models, request)
    engine = engine_of(choice.predictor)
    return map_scene(choice.predictor, engine, choice.request, comparison=choice.comparison, progress=progress, say=say)
