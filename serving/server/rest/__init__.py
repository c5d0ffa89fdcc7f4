"""TF Serving's REST API: paths and bodies in, JSON as TF Serving lays it out."""
