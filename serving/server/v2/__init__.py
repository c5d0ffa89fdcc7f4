"""The Open Inference Protocol, version 2, over REST and gRPC: what Triton and KServe speak, over the same models.

A signature is a model to this protocol: `NAME:SIGNATURE`, or `NAME` for the default one.
"""
