#include "CGradientBoosting.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define ENTRY(field, symbol) {symbol, offsetof(keel_xgboost_api, field)}

static const struct { const char *symbol; size_t offset; } entries[] = {
  ENTRY(get_last_error, "XGBGetLastError"),
  ENTRY(version, "XGBoostVersion"),
  ENTRY(register_log_callback, "XGBRegisterLogCallback"),
  ENTRY(matrix_create_from_mat, "XGDMatrixCreateFromMat"),
  ENTRY(matrix_set_info, "XGDMatrixSetInfoFromInterface"),
  ENTRY(matrix_free, "XGDMatrixFree"),
  ENTRY(booster_create, "XGBoosterCreate"),
  ENTRY(booster_free, "XGBoosterFree"),
  ENTRY(booster_set_param, "XGBoosterSetParam"),
  ENTRY(booster_set_str_feature_info, "XGBoosterSetStrFeatureInfo"),
  ENTRY(booster_update_one_iter, "XGBoosterUpdateOneIter"),
  ENTRY(booster_eval_one_iter, "XGBoosterEvalOneIter"),
  ENTRY(booster_predict, "XGBoosterPredictFromDMatrix"),
  ENTRY(booster_save_to_buffer, "XGBoosterSaveModelToBuffer"),
  ENTRY(booster_load_from_buffer, "XGBoosterLoadModelFromBuffer"),
  ENTRY(booster_feature_score, "XGBoosterFeatureScore"),
};

_Static_assert(sizeof entries / sizeof *entries == sizeof(keel_xgboost_api) / sizeof(void *), "every entry point is in the table");

const char *keel_xgboost_load(const char *path, keel_xgboost_api *api) {
  // Read once by OpenMP when it is loaded. Spinning threads on busy cores make training many times slower.
  setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) return dlerror();
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
    void *symbol = dlsym(library, entries[i].symbol);
    if (!symbol) {
      const char *error = dlerror();
      return error ? error : entries[i].symbol;
    }
    *(void **)((char *)api + entries[i].offset) = symbol;
  }
  return NULL;
}

static _Thread_local char captured[4096];

static void capture(const char *message) {
  size_t used = strlen(captured), room = sizeof captured - 1 - used, length = strlen(message);
  if (length > room) length = room;
  memcpy(captured + used, message, length);
  captured[used + length] = 0;
}

void keel_xgboost_capture_log(const keel_xgboost_api *api) {
  captured[0] = 0;
  // XGBoost keeps the callback per thread.
  api->register_log_callback(capture);
}

const char *keel_xgboost_captured_log(void) { return captured; }
