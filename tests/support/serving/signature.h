// A signature of a SavedModel: the names that clients use, and the graph's own.

#ifndef SIGNATURE_H_
#define SIGNATURE_H_

#include <stddef.h>

struct endpoint {
  char *name;    // in requests: "text"
  char *tensor;  // in the graph: "serving_default_text:0"
};

struct signature {
  struct endpoint *inputs, *outputs;
  size_t num_inputs, num_outputs;
};

// Finds a signature in a serialized MetaGraphDef; fails if it is not there.
struct signature read_signature(const void *meta_graph, size_t size, const char *name);

void free_signature(struct signature *signature);

#endif  // SIGNATURE_H_
