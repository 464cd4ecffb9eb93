"""The backend that is JAX; see `tf_distilbert.backend`."""
