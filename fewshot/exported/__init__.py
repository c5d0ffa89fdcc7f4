"""What an exported model is: its card, a predictor over its folder or its server, an adapted model."""
