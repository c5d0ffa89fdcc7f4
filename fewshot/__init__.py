"""Few-shot land-cover mapping: meta-train on many regions, adapt to a new one with a few labelled examples.

The rooms, in the order the data passes through them: `geo` and `data` read rasters and regions, `tasks` draws tasks
from them, `models` and `meta` learn to adapt, `training` runs the whole from a recipe. Its names are listed in
`__init__.pyi` and loaded when they are first used, so that `import fewshot` does not wait for TensorFlow.
"""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
