"""The demo: train, evaluate, serve and map on data that the program makes itself."""
