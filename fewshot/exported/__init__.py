"""What an exported model is: its card, a predictor over its folder or its server, an adapted model."""

from fewshot import public

__all__, __getattr__, __dir__ = public.names(__name__, __file__)
