"""The embedded server: TF Serving's gRPC and REST APIs."""
