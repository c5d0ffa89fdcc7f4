"""Rasters in and out."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
