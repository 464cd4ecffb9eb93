// Loads a SavedModel as TensorFlow Serving does, without Python, and answers requests with it.
//
//   predict FOLDER LIBRARY... < requests > answers
//
// The libraries register ops: those of TensorFlow Text that the graph needs. A request is
//
//   signature NAME
//   NAME TYPE RANK DIMENSION...     (an input, see tensor_text.h; as many as the signature has)
//   run
//
// and its answer is every output of the signature, then the line "done". Any error ends the
// program with a message and exit code 1.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "signature.h"
#include "tensor_text.h"
#include "tensorflow/c/c_api.h"

enum { MAX_ENDPOINTS = 16 };

struct model {
  TF_Graph *graph;
  TF_Session *session;
  TF_Buffer *meta_graph;
  TF_Status *status;
};

static void check(TF_Status *status, const char *doing) {
  if (TF_GetCode(status) != TF_OK) {
    fail("%s: code %d: %s", doing, (int)TF_GetCode(status), TF_Message(status));
  }
}

static struct model load(const char *folder) {
  struct model model = {TF_NewGraph(), NULL, TF_NewBuffer(), TF_NewStatus()};
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  model.session = TF_LoadSessionFromSavedModel(options, NULL, folder, tags, 1, model.graph,
                                               model.meta_graph, model.status);
  check(model.status, folder);
  TF_DeleteSessionOptions(options);
  return model;
}

static void unload(struct model *model) {
  TF_CloseSession(model->session, model->status);
  check(model->status, "closing the session");
  TF_DeleteSession(model->session, model->status);
  check(model->status, "deleting the session");
  TF_DeleteGraph(model->graph);
  TF_DeleteBuffer(model->meta_graph);
  TF_DeleteStatus(model->status);
}

// Finds a tensor by its name: that of its operation, a colon, the number of the output.
static TF_Output find_tensor(TF_Graph *graph, const char *tensor) {
  const char *colon = strrchr(tensor, ':');
  char operation[MAX_NAME + 1];
  if (colon == NULL || colon - tensor > MAX_NAME) fail("%s is not a tensor's name", tensor);
  size_t length = (size_t)(colon - tensor);
  memcpy(operation, tensor, length);
  operation[length] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation), atoi(colon + 1)};
  if (output.oper == NULL) fail("the graph has no operation %s", operation);
  return output;
}

// Reads the inputs up to the line "run", in any order, into the signature's order.
static void read_inputs(const struct signature *signature, TF_Tensor *values[]) {
  char *line = NULL;
  size_t capacity = 0;
  for (size_t given = 0;; ++given) {
    char name[MAX_NAME + 1];
    if (!read_line(stdin, &line, &capacity)) fail("the request is cut off");
    if (strcmp(line, "run") == 0) {
      if (given < signature->num_inputs) fail("an input is missing");
      free(line);
      return;
    }
    TF_Tensor *value = read_tensor(stdin, line, name);
    size_t i = 0;
    while (i < signature->num_inputs && strcmp(signature->inputs[i].name, name) != 0) ++i;
    if (i == signature->num_inputs || values[i] != NULL) fail("input %s is too much", name);
    values[i] = value;
  }
}

static void answer(struct model *model, const char *name) {
  struct signature signature =
      read_signature(model->meta_graph->data, model->meta_graph->length, name);
  TF_Output inputs[MAX_ENDPOINTS], outputs[MAX_ENDPOINTS];
  TF_Tensor *given[MAX_ENDPOINTS] = {NULL}, *made[MAX_ENDPOINTS] = {NULL};
  if (signature.num_inputs > MAX_ENDPOINTS || signature.num_outputs > MAX_ENDPOINTS) {
    fail("signature %s has too many tensors", name);
  }
  for (size_t i = 0; i < signature.num_inputs; ++i) {
    inputs[i] = find_tensor(model->graph, signature.inputs[i].tensor);
  }
  for (size_t i = 0; i < signature.num_outputs; ++i) {
    outputs[i] = find_tensor(model->graph, signature.outputs[i].tensor);
  }
  read_inputs(&signature, given);
  TF_SessionRun(model->session, NULL, inputs, given, (int)signature.num_inputs, outputs, made,
                (int)signature.num_outputs, NULL, 0, NULL, model->status);
  check(model->status, name);
  for (size_t i = 0; i < signature.num_outputs; ++i) {
    write_tensor(stdout, signature.outputs[i].name, made[i]);
    TF_DeleteTensor(made[i]);
  }
  puts("done");
  for (size_t i = 0; i < signature.num_inputs; ++i) free_read_tensor(given[i]);
  free_signature(&signature);
}

int main(int argc, char **argv) {
  if (argc < 2) fail("usage: predict FOLDER LIBRARY... < requests");
  for (int i = 2; i < argc; ++i) {
    TF_Status *status = TF_NewStatus();
    // It stays loaded; the handle alone is given back.
    TF_Library *library = TF_LoadLibrary(argv[i], status);
    check(status, argv[i]);
    TF_DeleteLibraryHandle(library);
    TF_DeleteStatus(status);
  }
  struct model model = load(argv[1]);
  char *line = NULL;
  size_t capacity = 0;
  while (read_line(stdin, &line, &capacity)) {
    if (strncmp(line, "signature ", 10) != 0) fail("not the beginning of a request: %s", line);
    answer(&model, line + 10);
  }
  free(line);
  unload(&model);
  if (fflush(stdout) != 0 || ferror(stdin)) fail("input or output failed");
  return 0;
}
