#include "COnnxRuntime.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
/// OrtStatus *: NULL is success.
typedef void *status;

/// Slots of OrtApi, version 6.
enum slot {
  GET_ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION_FROM_ARRAY = 8, RUN = 9, CREATE_SESSION_OPTIONS = 10,
  SET_GRAPH_OPTIMIZATION_LEVEL = 23, SET_INTRA_OP_THREADS = 24, SET_INTER_OP_THREADS = 25, SESSION_INPUT_COUNT = 30, SESSION_OUTPUT_COUNT = 31,
  SESSION_INPUT_TYPE = 33, SESSION_OUTPUT_TYPE = 34, SESSION_INPUT_NAME = 36, SESSION_OUTPUT_NAME = 37, CREATE_RUN_OPTIONS = 39,
  RUN_OPTIONS_SET_TERMINATE = 46, CREATE_TENSOR_WITH_DATA = 49,
  IS_TENSOR = 50, TENSOR_DATA = 51, CAST_TYPE_TO_TENSOR = 55, ELEMENT_TYPE = 60, DIMENSION_COUNT = 61, DIMENSIONS = 62,
  TENSOR_TYPE_AND_SHAPE = 65, CREATE_CPU_MEMORY_INFO = 69, ALLOCATOR_FREE = 76, DEFAULT_ALLOCATOR = 78, RELEASE_STATUS = 93,
  RELEASE_SESSION = 95, RELEASE_VALUE = 96, RELEASE_RUN_OPTIONS = 97, RELEASE_TYPE_INFO = 98, RELEASE_TENSOR_INFO = 99, RELEASE_SESSION_OPTIONS = 100,
  ADD_SESSION_CONFIG_ENTRY = 130, CREATE_AND_REGISTER_ALLOCATOR = 144, CREATE_ARENA_CONFIG = 156, RELEASE_ARENA_CONFIG = 157,
};

struct api_base { handle const *(*get_api)(uint32_t version); const char *(*version)(void); };

struct keel_onnx_runtime {
  const struct api_base *base;
  handle const *api;
  handle environment, memory, allocator;
};

/// One declared input or output.
struct port { char *name; keel_onnx_tensor type; };

struct keel_onnx_session {
  keel_onnx_runtime *runtime;
  handle session;
  size_t input_count, output_count;
  struct port *inputs, *outputs;
  /// The input names again, as Run takes them.
  const char **input_names;
};

struct keel_onnx_call { keel_onnx_runtime *runtime; handle options; };

struct keel_onnx_outputs { keel_onnx_runtime *runtime; size_t count; handle values[]; };

#define CALL(runtime, slot, result, ...) ((result (*)(__VA_ARGS__))(runtime)->api[slot])

/// The message of a failed call, or NULL; the status is released.
static char *message_of(const keel_onnx_runtime *runtime, status failed) {
  if (!failed) return NULL;
  char *message = strdup(CALL(runtime, GET_ERROR_MESSAGE, const char *, status)(failed));
  CALL(runtime, RELEASE_STATUS, void, status)(failed);
  return message ? message : strdup("out of memory");
}

#define TRY(runtime, call) \
  do { \
    char *message_ = message_of(runtime, (call)); \
    if (message_) return message_; \
  } while (0)

/// Gives the environment an allocator that all sessions share and that takes no more than `bytes_max` from the system.
static char *limit_memory(keel_onnx_runtime *runtime, size_t bytes_max) {
  handle config = NULL;
  // −1 is the library's own choice: of how the arena grows, its first chunk, and how much a chunk may leave unused.
  TRY(runtime, CALL(runtime, CREATE_ARENA_CONFIG, status, size_t, int, int, int, handle *)(bytes_max, -1, -1, -1, &config));
  char *failed = message_of(runtime, CALL(runtime, CREATE_AND_REGISTER_ALLOCATOR, status, handle, handle, handle)(
                                       runtime->environment, runtime->memory, config));
  CALL(runtime, RELEASE_ARENA_CONFIG, void, handle)(config);
  return failed;
}

char *keel_onnx_open(const char *path, size_t memory_bytes_max, keel_onnx_runtime **out) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return strdup(dlerror());
  const struct api_base *(*get_base)(void) = (const struct api_base *(*)(void))dlsym(library, "OrtGetApiBase");
  if (!get_base) return strdup("it has no OrtGetApiBase");
  keel_onnx_runtime *runtime = calloc(1, sizeof *runtime);
  if (!runtime) return strdup("out of memory");
  runtime->base = get_base();
  runtime->api = runtime->base->get_api(6);
  if (!runtime->api) {
    free(runtime);
    return strdup("it does not offer version 6 of its API");
  }
  // Logging level 4: only what is fatal is printed; errors are returned.
  char *failed = message_of(runtime, CALL(runtime, CREATE_ENV, status, int, const char *, handle *)(4, "keel", &runtime->environment));
  if (!failed) failed = message_of(runtime, CALL(runtime, CREATE_CPU_MEMORY_INFO, status, int, int, handle *)(1, 0, &runtime->memory));
  if (!failed) failed = message_of(runtime, CALL(runtime, DEFAULT_ALLOCATOR, status, handle *)(&runtime->allocator));
  if (!failed) failed = limit_memory(runtime, memory_bytes_max);
  if (failed) {
    free(runtime);
    return failed;
  }
  *out = runtime;
  return NULL;
}

const char *keel_onnx_version(const keel_onnx_runtime *runtime) { return runtime->base->version(); }

/// Fills type, rank, shape and count from an OrtTensorTypeAndShapeInfo.
static char *read_shape(const keel_onnx_runtime *runtime, handle info, keel_onnx_tensor *tensor) {
  TRY(runtime, CALL(runtime, ELEMENT_TYPE, status, handle, int *)(info, &tensor->type));
  TRY(runtime, CALL(runtime, DIMENSION_COUNT, status, handle, size_t *)(info, &tensor->rank));
  if (tensor->rank > KEEL_ONNX_MAX_RANK) return strdup("a tensor has more than 8 dimensions");
  TRY(runtime, CALL(runtime, DIMENSIONS, status, handle, int64_t *, size_t)(info, tensor->shape, tensor->rank));
  tensor->count = 1;
  for (size_t i = 0; i < tensor->rank; i++) tensor->count *= tensor->shape[i] < 0 ? 0 : (size_t)tensor->shape[i];
  return NULL;
}

static char *read_port(keel_onnx_session *session, int is_input, size_t index, struct port *port) {
  keel_onnx_runtime *runtime = session->runtime;
  char *name = NULL;
  handle type = NULL, tensor = NULL;
  TRY(runtime, CALL(runtime, is_input ? SESSION_INPUT_NAME : SESSION_OUTPUT_NAME, status, handle, size_t, handle, char **)(
                 session->session, index, runtime->allocator, &name));
  port->name = strdup(name);
  TRY(runtime, CALL(runtime, ALLOCATOR_FREE, status, handle, void *)(runtime->allocator, name));
  if (!port->name) return strdup("out of memory");
  TRY(runtime, CALL(runtime, is_input ? SESSION_INPUT_TYPE : SESSION_OUTPUT_TYPE, status, handle, size_t, handle *)(
                 session->session, index, &type));
  // `tensor` is a view into `type`, and NULL for what is no tensor.
  char *failed = message_of(runtime, CALL(runtime, CAST_TYPE_TO_TENSOR, status, handle, handle *)(type, &tensor));
  if (!failed && tensor) failed = read_shape(runtime, tensor, &port->type);
  CALL(runtime, RELEASE_TYPE_INFO, void, handle)(type);
  return failed;
}

static char *read_ports(keel_onnx_session *session) {
  keel_onnx_runtime *runtime = session->runtime;
  TRY(runtime, CALL(runtime, SESSION_INPUT_COUNT, status, handle, size_t *)(session->session, &session->input_count));
  TRY(runtime, CALL(runtime, SESSION_OUTPUT_COUNT, status, handle, size_t *)(session->session, &session->output_count));
  session->inputs = calloc(session->input_count + 1, sizeof *session->inputs);
  session->outputs = calloc(session->output_count + 1, sizeof *session->outputs);
  session->input_names = calloc(session->input_count + 1, sizeof *session->input_names);
  if (!session->inputs || !session->outputs || !session->input_names) return strdup("out of memory");
  char *failed = NULL;
  for (size_t i = 0; i < session->input_count && !failed; i++) {
    failed = read_port(session, 1, i, &session->inputs[i]);
    session->input_names[i] = session->inputs[i].name;
  }
  for (size_t i = 0; i < session->output_count && !failed; i++) failed = read_port(session, 0, i, &session->outputs[i]);
  return failed;
}

char *keel_onnx_session_create(keel_onnx_runtime *runtime, const void *bytes, size_t count, int threads, keel_onnx_session **out) {
  handle options = NULL;
  keel_onnx_session *session = calloc(1, sizeof *session);
  if (!session) return strdup("out of memory");
  session->runtime = runtime;
  char *failed = message_of(runtime, CALL(runtime, CREATE_SESSION_OPTIONS, status, handle *)(&options));
  if (!failed) failed = message_of(runtime, CALL(runtime, SET_INTRA_OP_THREADS, status, handle, int)(options, threads));
  if (!failed) failed = message_of(runtime, CALL(runtime, SET_INTER_OP_THREADS, status, handle, int)(options, 1));
  if (!failed) failed = message_of(runtime, CALL(runtime, SET_GRAPH_OPTIMIZATION_LEVEL, status, handle, int)(options, 99));
  if (!failed)
    failed = message_of(runtime, CALL(runtime, ADD_SESSION_CONFIG_ENTRY, status, handle, const char *, const char *)(
                                   options, "session.use_env_allocators", "1"));
  if (!failed)
    failed = message_of(runtime, CALL(runtime, CREATE_SESSION_FROM_ARRAY, status, handle, const void *, size_t, handle, handle *)(
                                   runtime->environment, bytes, count, options, &session->session));
  if (options) CALL(runtime, RELEASE_SESSION_OPTIONS, void, handle)(options);
  if (!failed) failed = read_ports(session);
  if (failed) {
    keel_onnx_session_free(session);
    return failed;
  }
  *out = session;
  return NULL;
}

void keel_onnx_session_free(keel_onnx_session *session) {
  if (!session) return;
  if (session->session) CALL(session->runtime, RELEASE_SESSION, void, handle)(session->session);
  for (size_t i = 0; session->inputs && i < session->input_count; i++) free(session->inputs[i].name);
  for (size_t i = 0; session->outputs && i < session->output_count; i++) free(session->outputs[i].name);
  free(session->inputs);
  free(session->outputs);
  free(session->input_names);
  free(session);
}

size_t keel_onnx_input_count(const keel_onnx_session *session) { return session->input_count; }
size_t keel_onnx_output_count(const keel_onnx_session *session) { return session->output_count; }
const char *keel_onnx_input_name(const keel_onnx_session *session, size_t index) { return session->inputs[index].name; }
const char *keel_onnx_output_name(const keel_onnx_session *session, size_t index) { return session->outputs[index].name; }
keel_onnx_tensor keel_onnx_input_type(const keel_onnx_session *session, size_t index) { return session->inputs[index].type; }
keel_onnx_tensor keel_onnx_output_type(const keel_onnx_session *session, size_t index) { return session->outputs[index].type; }

static size_t element_size(int type) {
  switch (type) {
  case KEEL_ONNX_FLOAT32: case KEEL_ONNX_INT32: return 4;
  case KEEL_ONNX_INT64: case KEEL_ONNX_FLOAT64: return 8;
  case KEEL_ONNX_BOOL: return 1;
  default: return 0;
  }
}

char *keel_onnx_call_create(keel_onnx_runtime *runtime, keel_onnx_call **out) {
  keel_onnx_call *call = calloc(1, sizeof *call);
  if (!call) return strdup("out of memory");
  call->runtime = runtime;
  char *failed = message_of(runtime, CALL(runtime, CREATE_RUN_OPTIONS, status, handle *)(&call->options));
  if (failed) {
    free(call);
    return failed;
  }
  *out = call;
  return NULL;
}

void keel_onnx_call_terminate(keel_onnx_call *call) {
  free(message_of(call->runtime, CALL(call->runtime, RUN_OPTIONS_SET_TERMINATE, status, handle)(call->options)));
}

void keel_onnx_call_free(keel_onnx_call *call) {
  if (!call) return;
  CALL(call->runtime, RELEASE_RUN_OPTIONS, void, handle)(call->options);
  free(call);
}

char *keel_onnx_run(
  keel_onnx_session *session, keel_onnx_call *call, const keel_onnx_tensor *inputs, const size_t *wanted, size_t wanted_count,
  keel_onnx_outputs **out) {
  keel_onnx_runtime *runtime = session->runtime;
  size_t input_count = session->input_count;
  handle values[input_count + 1];
  const char *names[wanted_count + 1];
  memset(values, 0, sizeof values);
  keel_onnx_outputs *outputs = calloc(1, sizeof *outputs + wanted_count * sizeof(handle));
  if (!outputs) return strdup("out of memory");
  outputs->runtime = runtime;
  outputs->count = wanted_count;
  for (size_t i = 0; i < wanted_count; i++) names[i] = session->outputs[wanted[i]].name;
  char *failed = NULL;
  for (size_t i = 0; i < input_count && !failed; i++)
    failed = message_of(runtime, CALL(runtime, CREATE_TENSOR_WITH_DATA, status, handle, void *, size_t, const int64_t *, size_t, int, handle *)(
      runtime->memory, inputs[i].data, inputs[i].count * element_size(inputs[i].type), inputs[i].shape, inputs[i].rank, inputs[i].type, &values[i]));
  if (!failed)
    failed = message_of(runtime, CALL(runtime, RUN, status, handle, handle, const char *const *, handle const *, size_t, const char *const *, size_t, handle *)(
      session->session, call->options, session->input_names, values, input_count, names, wanted_count, outputs->values));
  for (size_t i = 0; i < input_count; i++)
    if (values[i]) CALL(runtime, RELEASE_VALUE, void, handle)(values[i]);
  if (failed) {
    keel_onnx_outputs_free(outputs);
    return failed;
  }
  *out = outputs;
  return NULL;
}

char *keel_onnx_output(const keel_onnx_outputs *outputs, size_t index, keel_onnx_tensor *tensor) {
  const keel_onnx_runtime *runtime = outputs->runtime;
  handle info = NULL;
  int is_tensor = 0;
  memset(tensor, 0, sizeof *tensor);
  TRY(runtime, CALL(runtime, IS_TENSOR, status, handle, int *)(outputs->values[index], &is_tensor));
  if (!is_tensor) return strdup("the output is not a tensor");
  TRY(runtime, CALL(runtime, TENSOR_TYPE_AND_SHAPE, status, handle, handle *)(outputs->values[index], &info));
  char *failed = read_shape(runtime, info, tensor);
  CALL(runtime, RELEASE_TENSOR_INFO, void, handle)(info);
  if (failed) return failed;
  return message_of(runtime, CALL(runtime, TENSOR_DATA, status, handle, void **)(outputs->values[index], &tensor->data));
}

void keel_onnx_outputs_free(keel_onnx_outputs *outputs) {
  if (!outputs) return;
  for (size_t i = 0; i < outputs->count; i++)
    if (outputs->values[i]) CALL(outputs->runtime, RELEASE_VALUE, void, handle)(outputs->values[i]);
  free(outputs);
}
