// The part of XGBoost's C API that Keel calls, declared here and resolved with dlsym at run time. Functions return 0, or −1 and leave
// a message for get_last_error on the same thread.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef void *keel_xgboost_handle;

typedef struct {
  const char *(*get_last_error)(void);
  void (*version)(int *major, int *minor, int *patch);
  int (*register_log_callback)(void (*callback)(const char *));
  int (*matrix_create_from_mat)(const float *data, uint64_t rows, uint64_t columns, float missing, keel_xgboost_handle *matrix);
  int (*matrix_set_info)(keel_xgboost_handle matrix, const char *array_field, const char *array_interface);
  int (*matrix_free)(keel_xgboost_handle matrix);
  int (*booster_create)(const keel_xgboost_handle matrices[], uint64_t count, keel_xgboost_handle *booster);
  int (*booster_free)(keel_xgboost_handle booster);
  int (*booster_set_param)(keel_xgboost_handle booster, const char *name, const char *value);
  int (*booster_set_str_feature_info)(keel_xgboost_handle booster, const char *field, const char **values, uint64_t count);
  int (*booster_update_one_iter)(keel_xgboost_handle booster, int iteration, keel_xgboost_handle matrix);
  int (*booster_eval_one_iter)(
    keel_xgboost_handle booster, int iteration, keel_xgboost_handle matrices[], const char *names[], uint64_t count, const char **result);
  int (*booster_predict)(
    keel_xgboost_handle booster, keel_xgboost_handle matrix, const char *config, const uint64_t **shape, uint64_t *dimensions,
    const float **result);
  int (*booster_save_to_buffer)(keel_xgboost_handle booster, const char *config, uint64_t *length, const char **bytes);
  int (*booster_load_from_buffer)(keel_xgboost_handle booster, const void *bytes, uint64_t length);
  int (*booster_feature_score)(
    keel_xgboost_handle booster, const char *config, uint64_t *feature_count, const char *const **features, uint64_t *dimensions,
    const uint64_t **shape, const float **scores);
} keel_xgboost_api;

/// Loads the library at `path` (or by name, on the system's path) and fills `api`. Returns NULL, or what failed. OpenMP's waiting
/// threads are told to sleep instead of spin, unless the environment says otherwise.
const char *keel_xgboost_load(const char *path, keel_xgboost_api *api);

/// Makes XGBoost's warnings of this thread go to a buffer of this thread, emptied now, instead of to standard error.
void keel_xgboost_capture_log(const keel_xgboost_api *api);

/// What XGBoost warned about on this thread since keel_xgboost_capture_log, cut off when it is very long. Valid until the next capture.
const char *keel_xgboost_captured_log(void);
