#include "COnnxRuntime.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef void *handle;
/// OrtStatus *: NULL is success.
typedef void *status;

/// Slots of OrtApi, version 15.
enum slot {
  GET_ERROR_MESSAGE = 2, CREATE_ENV = 3, CREATE_SESSION_FROM_ARRAY = 8, RUN = 9, CREATE_SESSION_OPTIONS = 10,
  SET_GRAPH_OPTIMIZATION_LEVEL = 23, SET_INTRA_OP_THREADS = 24, SET_INTER_OP_THREADS = 25, SESSION_INPUT_COUNT = 30, SESSION_OUTPUT_COUNT = 31,
  SESSION_INPUT_TYPE = 33, SESSION_OUTPUT_TYPE = 34, SESSION_INPUT_NAME = 36, SESSION_OUTPUT_NAME = 37, CREATE_RUN_OPTIONS = 39,
  RUN_OPTIONS_SET_TERMINATE = 46, CREATE_TENSOR = 48, CREATE_TENSOR_WITH_DATA = 49,
  IS_TENSOR = 50, TENSOR_DATA = 51, STRINGS_SIZE = 53, STRINGS = 54, CAST_TYPE_TO_TENSOR = 55, TYPE_KIND = 56, ELEMENT_TYPE = 60,
  DIMENSION_COUNT = 61, DIMENSIONS = 62, TENSOR_TYPE_AND_SHAPE = 65, CREATE_CPU_MEMORY_INFO = 69, ALLOCATOR_FREE = 76, DEFAULT_ALLOCATOR = 78,
  VALUE_AT = 80, VALUE_COUNT = 81, RELEASE_STATUS = 93, RELEASE_SESSION = 95, RELEASE_VALUE = 96, RELEASE_RUN_OPTIONS = 97, RELEASE_TYPE_INFO = 98,
  RELEASE_TENSOR_INFO = 99, RELEASE_SESSION_OPTIONS = 100, CAST_TYPE_TO_MAP = 103, CAST_TYPE_TO_SEQUENCE = 104, MAP_KEY_TYPE = 105,
  MAP_VALUE_TYPE = 106, SEQUENCE_ELEMENT_TYPE = 107, ADD_SESSION_CONFIG_ENTRY = 130, CREATE_AND_REGISTER_ALLOCATOR = 144,
  CREATE_ARENA_CONFIG = 156, RELEASE_ARENA_CONFIG = 157, RESIZED_STRING_BUFFER = 252,
};

enum { API_VERSION = 15 };

struct api_base { handle const *(*get_api)(uint32_t version); const char *(*version)(void); };

struct keel_onnx_runtime {
  const struct api_base *base;
  handle const *api;
  handle environment, memory, allocator;
};

struct keel_onnx_session {
  keel_onnx_runtime *runtime;
  handle session;
  size_t input_count, output_count;
  keel_onnx_port *inputs, *outputs;
  /// The input names again, as Run takes them.
  const char **input_names;
};

struct keel_onnx_call { keel_onnx_runtime *runtime; handle options; };

struct keel_onnx_values { keel_onnx_runtime *runtime; size_t count; handle values[]; };

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
  runtime->api = runtime->base->get_api(API_VERSION);
  if (!runtime->api) {
    free(runtime);
    return strdup("it does not offer version 15 of its API; ONNX Runtime 1.15 is the oldest that does");
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

/// Fills type and shape of a port from an OrtTensorTypeAndShapeInfo.
static char *read_tensor_port(const keel_onnx_runtime *runtime, handle info, keel_onnx_port *port) {
  TRY(runtime, CALL(runtime, ELEMENT_TYPE, status, handle, int *)(info, &port->type));
  TRY(runtime, CALL(runtime, DIMENSION_COUNT, status, handle, size_t *)(info, &port->rank));
  if (port->rank > KEEL_ONNX_MAX_RANK) return NULL;
  return message_of(runtime, CALL(runtime, DIMENSIONS, status, handle, int64_t *, size_t)(info, port->shape, port->rank));
}

/// Fills the types of a port that is a sequence, when it is one of maps. `sequence` and `map` are views into type infos.
static char *read_sequence_port(const keel_onnx_runtime *runtime, handle type, keel_onnx_port *port) {
  handle sequence = NULL, element = NULL, map = NULL, value = NULL, tensor = NULL;
  TRY(runtime, CALL(runtime, CAST_TYPE_TO_SEQUENCE, status, handle, handle *)(type, &sequence));
  if (!sequence) return NULL;
  TRY(runtime, CALL(runtime, SEQUENCE_ELEMENT_TYPE, status, handle, handle *)(sequence, &element));
  char *failed = message_of(runtime, CALL(runtime, CAST_TYPE_TO_MAP, status, handle, handle *)(element, &map));
  if (!failed && map) {
    failed = message_of(runtime, CALL(runtime, MAP_KEY_TYPE, status, handle, int *)(map, &port->key));
    if (!failed) failed = message_of(runtime, CALL(runtime, MAP_VALUE_TYPE, status, handle, handle *)(map, &value));
    if (!failed) failed = message_of(runtime, CALL(runtime, CAST_TYPE_TO_TENSOR, status, handle, handle *)(value, &tensor));
    if (!failed && tensor) {
      port->kind = KEEL_ONNX_MAPS;
      failed = message_of(runtime, CALL(runtime, ELEMENT_TYPE, status, handle, int *)(tensor, &port->type));
    }
  }
  if (value) CALL(runtime, RELEASE_TYPE_INFO, void, handle)(value);
  CALL(runtime, RELEASE_TYPE_INFO, void, handle)(element);
  return failed;
}

static char *read_port(keel_onnx_session *session, int is_input, size_t index, keel_onnx_port *port) {
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
  char *failed = message_of(runtime, CALL(runtime, TYPE_KIND, status, handle, int *)(type, &port->kind));
  // `tensor` is a view into `type`.
  if (!failed && port->kind == KEEL_ONNX_TENSOR)
    failed = message_of(runtime, CALL(runtime, CAST_TYPE_TO_TENSOR, status, handle, handle *)(type, &tensor));
  if (!failed && tensor) failed = read_tensor_port(runtime, tensor, port);
  if (!failed && port->kind == KEEL_ONNX_SEQUENCE) failed = read_sequence_port(runtime, type, port);
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
  for (size_t i = 0; session->inputs && i < session->input_count; i++) free((char *)session->inputs[i].name);
  for (size_t i = 0; session->outputs && i < session->output_count; i++) free((char *)session->outputs[i].name);
  free(session->inputs);
  free(session->outputs);
  free(session->input_names);
  free(session);
}

size_t keel_onnx_input_count(const keel_onnx_session *session) { return session->input_count; }
size_t keel_onnx_output_count(const keel_onnx_session *session) { return session->output_count; }
keel_onnx_port keel_onnx_input(const keel_onnx_session *session, size_t index) { return session->inputs[index]; }
keel_onnx_port keel_onnx_output(const keel_onnx_session *session, size_t index) { return session->outputs[index]; }

static size_t element_size(int type) {
  switch (type) {
  case KEEL_ONNX_BOOL: case KEEL_ONNX_INT8: case KEEL_ONNX_UINT8: return 1;
  case KEEL_ONNX_INT16: case KEEL_ONNX_UINT16: case KEEL_ONNX_FLOAT16: case KEEL_ONNX_BFLOAT16: return 2;
  case KEEL_ONNX_FLOAT32: case KEEL_ONNX_INT32: case KEEL_ONNX_UINT32: return 4;
  case KEEL_ONNX_INT64: case KEEL_ONNX_UINT64: case KEEL_ONNX_FLOAT64: return 8;
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

/// Makes a tensor of strings, which holds its own copies.
static char *make_strings(keel_onnx_runtime *runtime, const keel_onnx_tensor *tensor, handle *value) {
  TRY(runtime, CALL(runtime, CREATE_TENSOR, status, handle, const int64_t *, size_t, int, handle *)(
                 runtime->allocator, tensor->shape, tensor->rank, tensor->type, value));
  size_t start = 0;
  for (size_t i = 0; i < tensor->count; i++) {
    size_t length = tensor->ends[i] - start;
    char *buffer = NULL;
    TRY(runtime, CALL(runtime, RESIZED_STRING_BUFFER, status, handle, size_t, size_t, char **)(*value, i, length, &buffer));
    if (length) memcpy(buffer, (const char *)tensor->data + start, length);
    start = tensor->ends[i];
  }
  return NULL;
}

/// Makes a tensor: a view of numbers, or a copy of strings. What was made before an error is in `value` too.
static char *make_tensor(keel_onnx_runtime *runtime, const keel_onnx_tensor *tensor, handle *value) {
  if (tensor->type == KEEL_ONNX_STRING) return make_strings(runtime, tensor, value);
  return message_of(runtime, CALL(runtime, CREATE_TENSOR_WITH_DATA, status, handle, const void *, size_t, const int64_t *, size_t, int, handle *)(
    runtime->memory, tensor->data, tensor->count * element_size(tensor->type), tensor->shape, tensor->rank, tensor->type, value));
}

static keel_onnx_values *make_values(keel_onnx_runtime *runtime, size_t count) {
  keel_onnx_values *values = calloc(1, sizeof *values + count * sizeof(handle));
  if (!values) return NULL;
  values->runtime = runtime;
  values->count = count;
  return values;
}

char *keel_onnx_run(
  keel_onnx_session *session, keel_onnx_call *call, const keel_onnx_tensor *inputs, const size_t *wanted, size_t wanted_count,
  keel_onnx_values **out) {
  keel_onnx_runtime *runtime = session->runtime;
  size_t input_count = session->input_count;
  keel_onnx_values *given = make_values(runtime, input_count);
  keel_onnx_values *outputs = make_values(runtime, wanted_count);
  const char **names = calloc(wanted_count + 1, sizeof *names);
  char *failed = given && outputs && names ? NULL : strdup("out of memory");
  for (size_t i = 0; i < wanted_count && !failed; i++) names[i] = session->outputs[wanted[i]].name;
  for (size_t i = 0; i < input_count && !failed; i++) failed = make_tensor(runtime, &inputs[i], &given->values[i]);
  if (!failed)
    failed = message_of(runtime, CALL(runtime, RUN, status, handle, handle, const char *const *, handle const *, size_t, const char *const *, size_t, handle *)(
      session->session, call->options, session->input_names, given->values, input_count, names, wanted_count, outputs->values));
  free(names);
  keel_onnx_values_free(given);
  if (failed) {
    keel_onnx_values_free(outputs);
    return failed;
  }
  *out = outputs;
  return NULL;
}

char *keel_onnx_tensor_at(const keel_onnx_values *values, size_t index, keel_onnx_tensor *tensor) {
  const keel_onnx_runtime *runtime = values->runtime;
  handle info = NULL;
  int is_tensor = 0;
  memset(tensor, 0, sizeof *tensor);
  // An optional output without a value is NULL.
  if (!values->values[index]) return strdup("the model gave no value");
  TRY(runtime, CALL(runtime, IS_TENSOR, status, handle, int *)(values->values[index], &is_tensor));
  if (!is_tensor) return strdup("it is not a tensor");
  TRY(runtime, CALL(runtime, TENSOR_TYPE_AND_SHAPE, status, handle, handle *)(values->values[index], &info));
  char *failed = read_shape(runtime, info, tensor);
  CALL(runtime, RELEASE_TENSOR_INFO, void, handle)(info);
  if (failed || tensor->type == KEEL_ONNX_STRING) return failed;
  return message_of(runtime, CALL(runtime, TENSOR_DATA, status, handle, const void **)(values->values[index], &tensor->data));
}

char *keel_onnx_strings_size(const keel_onnx_values *values, size_t index, size_t *bytes) {
  return message_of(values->runtime, CALL(values->runtime, STRINGS_SIZE, status, handle, size_t *)(values->values[index], bytes));
}

char *keel_onnx_strings(const keel_onnx_values *values, size_t index, void *bytes, size_t size, size_t *starts, size_t count) {
  return message_of(
    values->runtime, CALL(values->runtime, STRINGS, status, handle, void *, size_t, size_t *, size_t)(values->values[index], bytes, size, starts, count));
}

char *keel_onnx_map_count(const keel_onnx_values *values, size_t index, size_t *count) {
  return message_of(values->runtime, CALL(values->runtime, VALUE_COUNT, status, handle, size_t *)(values->values[index], count));
}

char *keel_onnx_map_at(const keel_onnx_values *values, size_t index, size_t map, keel_onnx_values **parts) {
  keel_onnx_runtime *runtime = values->runtime;
  handle value = NULL;
  TRY(runtime, CALL(runtime, VALUE_AT, status, handle, int, handle, handle *)(values->values[index], (int)map, runtime->allocator, &value));
  keel_onnx_values *made = make_values(runtime, 2);
  char *failed = made ? NULL : strdup("out of memory");
  for (int i = 0; i < 2 && !failed; i++)
    failed = message_of(runtime, CALL(runtime, VALUE_AT, status, handle, int, handle, handle *)(value, i, runtime->allocator, &made->values[i]));
  CALL(runtime, RELEASE_VALUE, void, handle)(value);
  if (failed) {
    keel_onnx_values_free(made);
    return failed;
  }
  *parts = made;
  return NULL;
}

void keel_onnx_values_free(keel_onnx_values *values) {
  if (!values) return;
  for (size_t i = 0; i < values->count; i++)
    if (values->values[i]) CALL(values->runtime, RELEASE_VALUE, void, handle)(values->values[i]);
  free(values);
}
