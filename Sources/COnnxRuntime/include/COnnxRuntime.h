// ONNX Runtime's C API for running models, resolved at run time. The library gives a table of function pointers that only ever
// grows at its end; Keel uses slots of its sixth version, so any release from 1.6 on will do. Functions that return char * return NULL, or a
// message that the caller frees.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct keel_onnx_runtime keel_onnx_runtime;
typedef struct keel_onnx_session keel_onnx_session;
typedef struct keel_onnx_outputs keel_onnx_outputs;
typedef struct keel_onnx_call keel_onnx_call;

enum { KEEL_ONNX_MAX_RANK = 8 };

/// The element types (ONNXTensorElementDataType) that Keel moves.
enum { KEEL_ONNX_FLOAT32 = 1, KEEL_ONNX_INT32 = 6, KEEL_ONNX_INT64 = 7, KEEL_ONNX_STRING = 8, KEEL_ONNX_BOOL = 9, KEEL_ONNX_FLOAT64 = 11 };

/// A dense tensor: row-major elements at `data`. Of a declared input or output `data` is NULL and −1 in `shape` is a free dimension;
/// `type` is 0 for what is no tensor (a sequence, a map).
typedef struct {
  int type;
  size_t rank;
  int64_t shape[KEEL_ONNX_MAX_RANK];
  size_t count;
  void *data;
} keel_onnx_tensor;

/// - memory_bytes_max: what all sessions together may allocate for tensors while they run.
char *keel_onnx_open(const char *path, size_t memory_bytes_max, keel_onnx_runtime **runtime);
const char *keel_onnx_version(const keel_onnx_runtime *runtime);

/// Makes a session of a model's bytes, which need not stay.
char *keel_onnx_session_create(keel_onnx_runtime *runtime, const void *bytes, size_t count, int threads, keel_onnx_session **session);
void keel_onnx_session_free(keel_onnx_session *session);
size_t keel_onnx_input_count(const keel_onnx_session *session);
size_t keel_onnx_output_count(const keel_onnx_session *session);
const char *keel_onnx_input_name(const keel_onnx_session *session, size_t index);
const char *keel_onnx_output_name(const keel_onnx_session *session, size_t index);
keel_onnx_tensor keel_onnx_input_type(const keel_onnx_session *session, size_t index);
keel_onnx_tensor keel_onnx_output_type(const keel_onnx_session *session, size_t index);

/// One call of `keel_onnx_run`, by which another thread can end it.
char *keel_onnx_call_create(keel_onnx_runtime *runtime, keel_onnx_call **call);
/// Makes the call return with an error before the model's next node, those of loops and branches included. From any thread, any number of times.
void keel_onnx_call_terminate(keel_onnx_call *call);
void keel_onnx_call_free(keel_onnx_call *call);

/// Runs the model once: `inputs` in the model's order (the data is only read, and only during the call), `wanted` holds the indexes of
/// the outputs to compute. Threads may run one session at the same time.
char *keel_onnx_run(
  keel_onnx_session *session, keel_onnx_call *call, const keel_onnx_tensor *inputs, const size_t *wanted, size_t wanted_count,
  keel_onnx_outputs **outputs);
/// The i-th wanted output; its data lives as long as `outputs`.
char *keel_onnx_output(const keel_onnx_outputs *outputs, size_t index, keel_onnx_tensor *tensor);
void keel_onnx_outputs_free(keel_onnx_outputs *outputs);
