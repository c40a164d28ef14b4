// ONNX Runtime's C API for running models, resolved at run time. The library gives a table of function pointers that only ever
// grows at its end; Keel uses slots of its fifteenth version, so any release from 1.15 on will do. Functions that return char * return NULL,
// or a message that the caller frees.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct keel_onnx_runtime keel_onnx_runtime;
typedef struct keel_onnx_session keel_onnx_session;
typedef struct keel_onnx_values keel_onnx_values;
typedef struct keel_onnx_call keel_onnx_call;

enum { KEEL_ONNX_MAX_RANK = 8 };

/// The element types (ONNXTensorElementDataType) that Keel moves.
enum {
  KEEL_ONNX_FLOAT32 = 1, KEEL_ONNX_UINT8 = 2, KEEL_ONNX_INT8 = 3, KEEL_ONNX_UINT16 = 4, KEEL_ONNX_INT16 = 5, KEEL_ONNX_INT32 = 6,
  KEEL_ONNX_INT64 = 7, KEEL_ONNX_STRING = 8, KEEL_ONNX_BOOL = 9, KEEL_ONNX_FLOAT16 = 10, KEEL_ONNX_FLOAT64 = 11, KEEL_ONNX_UINT32 = 12,
  KEEL_ONNX_UINT64 = 13, KEEL_ONNX_BFLOAT16 = 16,
};

/// What a declared input or output is (ONNXType); `KEEL_ONNX_MAPS` is a sequence of maps to tensors, which ONNX Runtime has no number for.
enum {
  KEEL_ONNX_TENSOR = 1, KEEL_ONNX_SEQUENCE = 2, KEEL_ONNX_MAP = 3, KEEL_ONNX_OPAQUE = 4, KEEL_ONNX_SPARSE = 5, KEEL_ONNX_OPTIONAL = 6,
  KEEL_ONNX_MAPS = 100,
};

/// A dense tensor: row-major elements at `data`. Strings lie one after another at `data`, and element i ends at `ends[i]`.
typedef struct {
  int type;
  size_t rank;
  int64_t shape[KEEL_ONNX_MAX_RANK];
  size_t count;
  const void *data;
  const size_t *ends;
} keel_onnx_tensor;

/// A declared input or output. Of a tensor `type` is that of its elements and −1 in `shape` is a free dimension; of maps `type` is that of the
/// values and `key` that of the keys. A tensor of more dimensions than KEEL_ONNX_MAX_RANK has no `shape`.
typedef struct {
  const char *name;
  int kind, type, key;
  size_t rank;
  int64_t shape[KEEL_ONNX_MAX_RANK];
} keel_onnx_port;

/// - memory_bytes_max: what all sessions together may allocate for tensors while they run.
char *keel_onnx_open(const char *path, size_t memory_bytes_max, keel_onnx_runtime **runtime);
const char *keel_onnx_version(const keel_onnx_runtime *runtime);

/// Makes a session of a model's bytes, which need not stay.
char *keel_onnx_session_create(keel_onnx_runtime *runtime, const void *bytes, size_t count, int threads, keel_onnx_session **session);
void keel_onnx_session_free(keel_onnx_session *session);
size_t keel_onnx_input_count(const keel_onnx_session *session);
size_t keel_onnx_output_count(const keel_onnx_session *session);
/// The names live as long as the session.
keel_onnx_port keel_onnx_input(const keel_onnx_session *session, size_t index);
keel_onnx_port keel_onnx_output(const keel_onnx_session *session, size_t index);

/// One call of `keel_onnx_run`, by which another thread can end it.
char *keel_onnx_call_create(keel_onnx_runtime *runtime, keel_onnx_call **call);
/// Makes the call return with an error before the model's next node, those of loops and branches included. From any thread, any number of times.
void keel_onnx_call_terminate(keel_onnx_call *call);
void keel_onnx_call_free(keel_onnx_call *call);

/// Runs the model once: `inputs` in the model's order (the data is only read, and only during the call), `wanted` holds the indexes of
/// the outputs to compute. Threads may run one session at the same time.
char *keel_onnx_run(
  keel_onnx_session *session, keel_onnx_call *call, const keel_onnx_tensor *inputs, const size_t *wanted, size_t wanted_count,
  keel_onnx_values **outputs);
/// Views the i-th value, a tensor; its data lives as long as `values`. Of strings `data` and `ends` are NULL: see `keel_onnx_strings`.
char *keel_onnx_tensor_at(const keel_onnx_values *values, size_t index, keel_onnx_tensor *tensor);
/// How many bytes the strings of the i-th value have together.
char *keel_onnx_strings_size(const keel_onnx_values *values, size_t index, size_t *bytes);
/// Copies the strings of the i-th value: all bytes one after another, and where each of the `count` elements begins.
char *keel_onnx_strings(const keel_onnx_values *values, size_t index, void *bytes, size_t size, size_t *starts, size_t count);
/// How many maps the i-th value, a sequence, holds.
char *keel_onnx_map_count(const keel_onnx_values *values, size_t index, size_t *count);
/// Two tensors: the keys, ascending, and the values of one map of the i-th value.
char *keel_onnx_map_at(const keel_onnx_values *values, size_t index, size_t map, keel_onnx_values **parts);
void keel_onnx_values_free(keel_onnx_values *values);
