"""A page in the browser to label places of a scene, watch the map follow, and make it: a view of a project's log."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
