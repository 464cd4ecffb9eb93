#include "tensor_text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "tensorflow/c/tf_tstring.h"

enum { MAX_RANK = 8 };

int read_line(FILE *file, char **line, size_t *capacity) {
  ssize_t length = getline(line, capacity, file);
  if (length < 0) return 0;
  if (length > 0 && (*line)[length - 1] == '\n') (*line)[length - 1] = '\0';
  return 1;
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  fail("'%c' is not a hexadecimal digit", c);
}

static void parse_string(char *hex, TF_TString *string) {
  size_t size = strlen(hex) / 2;
  // In place: a byte is written behind the two digits it is read from.
  for (size_t i = 0; i < size; ++i) {
    hex[i] = (char)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
  }
  TF_StringCopy(string, hex, size);
}

TF_Tensor *read_tensor(FILE *file, const char *description, char name[MAX_NAME + 1]) {
  char type[16];
  int rank, used;
  int64_t dimensions[MAX_RANK];
  if (sscanf(description, "%255s %15s %d%n", name, type, &rank, &used) != 3 || rank < 0 ||
      rank > MAX_RANK) {
    fail("not a tensor: %s", description);
  }
  size_t count = 1;
  for (int i = 0; i < rank; ++i) {
    int length;
    description += used;
    if (sscanf(description, "%" SCNd64 "%n", &dimensions[i], &length) != 1) {
      fail("a dimension of %s is missing", name);
    }
    used = length;
    count *= (size_t)dimensions[i];
  }
  int is_string = strcmp(type, "string") == 0;
  if (!is_string && strcmp(type, "int32") != 0) fail("%s is of type %s", name, type);
  size_t size = count * (is_string ? sizeof(TF_TString) : sizeof(int32_t));
  TF_Tensor *tensor =
      TF_AllocateTensor(is_string ? TF_STRING : TF_INT32, dimensions, rank, size);
  char *line = NULL;
  size_t capacity = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!read_line(file, &line, &capacity)) fail("elements of %s are missing", name);
    if (is_string) {
      TF_TString *string = (TF_TString *)TF_TensorData(tensor) + i;
      TF_StringInit(string);
      parse_string(line, string);
    } else {
      ((int32_t *)TF_TensorData(tensor))[i] = (int32_t)strtol(line, NULL, 10);
    }
  }
  free(line);
  return tensor;
}

void free_read_tensor(TF_Tensor *tensor) {
  if (TF_TensorType(tensor) == TF_STRING) {
    TF_TString *strings = TF_TensorData(tensor);
    for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) TF_StringDealloc(&strings[i]);
  }
  TF_DeleteTensor(tensor);
}

static void write_hex(FILE *file, const TF_TString *string) {
  const char *bytes = TF_StringGetDataPointer(string);
  for (size_t i = 0; i < TF_StringGetSize(string); ++i) {
    fprintf(file, "%02x", (unsigned char)bytes[i]);
  }
  fputc('\n', file);
}

void write_tensor(FILE *file, const char *name, const TF_Tensor *tensor) {
  TF_DataType type = TF_TensorType(tensor);
  const void *data = TF_TensorData(tensor);
  const char *type_name = type == TF_FLOAT    ? "float32"
                          : type == TF_INT32  ? "int32"
                          : type == TF_STRING ? "string"
                                              : NULL;
  if (type_name == NULL) fail("%s is of type %d", name, (int)type);
  fprintf(file, "%s %s %d", name, type_name, TF_NumDims(tensor));
  for (int i = 0; i < TF_NumDims(tensor); ++i) fprintf(file, " %" PRId64, TF_Dim(tensor, i));
  fputc('\n', file);
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); ++i) {
    switch (type) {
      // Nine digits say which float32 it is.
      case TF_FLOAT: fprintf(file, "%.9g\n", (double)((const float *)data)[i]); break;
      case TF_INT32: fprintf(file, "%" PRId32 "\n", ((const int32_t *)data)[i]); break;
      default: write_hex(file, (const TF_TString *)data + i);
    }
  }
}
