// Tensors as lines of text: "NAME TYPE RANK DIMENSION...", then a line for each element. Strings
// are hexadecimal, so that they may hold any byte; an empty one is an empty line.

#ifndef TENSOR_TEXT_H_
#define TENSOR_TEXT_H_

#include <stdio.h>

#include "tensorflow/c/c_api.h"

enum { MAX_NAME = 255 };

// Reads a line without its end; false at the end of the file. The buffer grows as getline's does.
int read_line(FILE *file, char **line, size_t *capacity);

// Reads the elements that follow the line `description`, and gives the tensor and its name.
TF_Tensor *read_tensor(FILE *file, const char *description, char name[MAX_NAME + 1]);

void write_tensor(FILE *file, const char *name, const TF_Tensor *tensor);

// Frees a tensor that read_tensor made, and its strings.
void free_read_tensor(TF_Tensor *tensor);

#endif  // TENSOR_TEXT_H_
