"""The backend that is TensorFlow; see `tf_distilbert.backend`."""
