"""The demo: train, evaluate, serve and map on data that the program makes itself."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
