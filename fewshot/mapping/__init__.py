"""A region to a map: a few labels in, a georeferenced land-cover map out."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
