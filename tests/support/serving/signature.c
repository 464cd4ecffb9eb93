// A reader for the few fields of protocol buffers that a signature takes. A program in C has no
// other: TensorFlow's C API hands the MetaGraphDef over as bytes.

#include "signature.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

// Numbers of fields: MetaGraphDef, SignatureDef, TensorInfo, and the entry of any map.
enum { SIGNATURE_DEF = 5, INPUTS = 1, OUTPUTS = 2, TENSOR_NAME = 1, KEY = 1, VALUE = 2 };

enum wire_type { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

struct span {
  const uint8_t *data;
  size_t size;
};

static uint64_t take_varint(struct span *rest) {
  uint64_t value = 0;
  for (unsigned shift = 0; rest->size > 0 && shift < 64; shift += 7) {
    uint8_t byte = *rest->data++;
    rest->size--;
    value |= (uint64_t)(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  fail("the MetaGraphDef is cut off");
}

static struct span take(struct span *rest, uint64_t size) {
  if (size > rest->size) fail("the MetaGraphDef is cut off");
  struct span taken = {rest->data, size};
  rest->data += size;
  rest->size -= size;
  return taken;
}

// Takes fields off a message up to the next one of this number; false if there is none.
static bool next_field(struct span *rest, uint64_t number, struct span *content) {
  while (rest->size > 0) {
    uint64_t tag = take_varint(rest);
    struct span bytes = {NULL, 0};
    switch (tag & 7) {
      case VARINT: take_varint(rest); break;
      case FIXED64: bytes = take(rest, 8); break;
      case FIXED32: bytes = take(rest, 4); break;
      case BYTES: bytes = take(rest, take_varint(rest)); break;
      default: fail("the MetaGraphDef has a field of an unknown type");
    }
    if (tag >> 3 == number) {
      *content = bytes;
      return true;
    }
  }
  return false;
}

static struct span field(struct span message, uint64_t number) {
  struct span content = {NULL, 0};
  next_field(&message, number, &content);
  return content;
}

static char *copy_string(struct span bytes) {
  char *copy = calloc(bytes.size + 1, 1);
  if (copy == NULL) fail("out of memory");
  if (bytes.size > 0) memcpy(copy, bytes.data, bytes.size);
  return copy;
}

static bool is_string(struct span bytes, const char *string) {
  return bytes.size == strlen(string) && memcmp(bytes.data, string, bytes.size) == 0;
}

static struct endpoint *read_endpoints(struct span definition, uint64_t number, size_t *count) {
  struct span rest = definition, entry;
  for (*count = 0; next_field(&rest, number, &entry);) ++*count;
  struct endpoint *endpoints = calloc(*count + 1, sizeof *endpoints);
  if (endpoints == NULL) fail("out of memory");
  rest = definition;
  for (size_t i = 0; next_field(&rest, number, &entry); ++i) {
    endpoints[i].name = copy_string(field(entry, KEY));
    endpoints[i].tensor = copy_string(field(field(entry, VALUE), TENSOR_NAME));
  }
  return endpoints;
}

struct signature read_signature(const void *meta_graph, size_t size, const char *name) {
  struct span rest = {meta_graph, size}, entry;
  while (next_field(&rest, SIGNATURE_DEF, &entry)) {
    if (!is_string(field(entry, KEY), name)) continue;
    struct span definition = field(entry, VALUE);
    struct signature found;
    found.inputs = read_endpoints(definition, INPUTS, &found.num_inputs);
    found.outputs = read_endpoints(definition, OUTPUTS, &found.num_outputs);
    return found;
  }
  fail("there is no signature %s", name);
}

static void free_endpoints(struct endpoint *endpoints, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    free(endpoints[i].name);
    free(endpoints[i].tensor);
  }
  free(endpoints);
}

void free_signature(struct signature *signature) {
  free_endpoints(signature->inputs, signature->num_inputs);
  free_endpoints(signature->outputs, signature->num_outputs);
}
