// The part of DuckDB's stable C API that Keel calls, declared here and resolved with dlsym at run time: no DuckDB header and no
// DuckDB library is needed to build. Names follow DuckDB's, without the prefix duckdb_.
#pragma once
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>

/// Any of DuckDB's opaque handles (database, connection, statement, chunk, vector, logical type, value …).
typedef void *keel_duckdb_handle;

/// duckdb_result: owned by the caller, passed by value to fetch_chunk.
typedef struct {
  uint64_t deprecated_column_count, deprecated_row_count, deprecated_rows_changed;
  void *deprecated_columns;
  char *deprecated_error_message;
  void *internal_data;
} keel_duckdb_result;

/// duckdb_date: days since 1970-01-01.
typedef struct { int32_t days; } keel_duckdb_date;
/// duckdb_timestamp: microseconds since 1970-01-01 00:00:00.
typedef struct { int64_t micros; } keel_duckdb_timestamp;
/// duckdb_hugeint: 128 bits, two's complement.
typedef struct { uint64_t lower; int64_t upper; } keel_duckdb_hugeint;
/// duckdb_list_entry: where a row's items lie in the child vector.
typedef struct { uint64_t offset, length; } keel_duckdb_list_entry;

typedef struct {
  const char *(*library_version)(void);
  int (*open_ext)(const char *path, keel_duckdb_handle *database, keel_duckdb_handle config, char **error);
  void (*close)(keel_duckdb_handle *database);
  int (*connect)(keel_duckdb_handle database, keel_duckdb_handle *connection);
  void (*disconnect)(keel_duckdb_handle *connection);
  void (*interrupt)(keel_duckdb_handle connection);
  int (*create_config)(keel_duckdb_handle *config);
  int (*set_config)(keel_duckdb_handle config, const char *name, const char *option);
  void (*destroy_config)(keel_duckdb_handle *config);
  void (*free)(void *pointer);

  int (*query)(keel_duckdb_handle connection, const char *sql, keel_duckdb_result *result);
  void (*destroy_result)(keel_duckdb_result *result);
  const char *(*result_error)(keel_duckdb_result *result);
  int (*result_error_type)(keel_duckdb_result *result);
  uint64_t (*rows_changed)(keel_duckdb_result *result);
  uint64_t (*column_count)(keel_duckdb_result *result);
  const char *(*column_name)(keel_duckdb_result *result, uint64_t column);
  keel_duckdb_handle (*column_logical_type)(keel_duckdb_result *result, uint64_t column);
  keel_duckdb_handle (*fetch_chunk)(keel_duckdb_result result);

  int (*prepare)(keel_duckdb_handle connection, const char *sql, keel_duckdb_handle *statement);
  const char *(*prepare_error)(keel_duckdb_handle statement);
  void (*destroy_prepare)(keel_duckdb_handle *statement);
  uint64_t (*nparams)(keel_duckdb_handle statement);
  int (*bind_value)(keel_duckdb_handle statement, uint64_t index, keel_duckdb_handle value);
  int (*execute_prepared)(keel_duckdb_handle statement, keel_duckdb_result *result);
  int (*execute_prepared_streaming)(keel_duckdb_handle statement, keel_duckdb_result *result);

  keel_duckdb_handle (*create_null_value)(void);
  keel_duckdb_handle (*create_bool)(bool value);
  keel_duckdb_handle (*create_int64)(int64_t value);
  keel_duckdb_handle (*create_double)(double value);
  keel_duckdb_handle (*create_varchar_length)(const char *text, uint64_t length);
  keel_duckdb_handle (*create_blob)(const uint8_t *data, uint64_t length);
  keel_duckdb_handle (*create_date)(keel_duckdb_date value);
  keel_duckdb_handle (*create_timestamp)(keel_duckdb_timestamp value);
  keel_duckdb_handle (*create_list_value)(keel_duckdb_handle element_type, keel_duckdb_handle *values, uint64_t count);
  void (*destroy_value)(keel_duckdb_handle *value);

  keel_duckdb_handle (*create_logical_type)(int type);
  keel_duckdb_handle (*create_list_type)(keel_duckdb_handle element_type);
  void (*destroy_logical_type)(keel_duckdb_handle *type);
  int (*get_type_id)(keel_duckdb_handle type);
  uint8_t (*decimal_scale)(keel_duckdb_handle type);
  int (*decimal_internal_type)(keel_duckdb_handle type);
  int (*enum_internal_type)(keel_duckdb_handle type);
  uint32_t (*enum_dictionary_size)(keel_duckdb_handle type);
  char *(*enum_dictionary_value)(keel_duckdb_handle type, uint64_t index);
  keel_duckdb_handle (*list_type_child_type)(keel_duckdb_handle type);
  keel_duckdb_handle (*array_type_child_type)(keel_duckdb_handle type);
  uint64_t (*array_type_array_size)(keel_duckdb_handle type);

  uint64_t (*vector_size)(void);
  keel_duckdb_handle (*create_data_chunk)(keel_duckdb_handle *types, uint64_t count);
  void (*destroy_data_chunk)(keel_duckdb_handle *chunk);
  void (*data_chunk_reset)(keel_duckdb_handle chunk);
  uint64_t (*data_chunk_get_size)(keel_duckdb_handle chunk);
  void (*data_chunk_set_size)(keel_duckdb_handle chunk, uint64_t size);
  keel_duckdb_handle (*data_chunk_get_vector)(keel_duckdb_handle chunk, uint64_t column);
  void *(*vector_get_data)(keel_duckdb_handle vector);
  uint64_t *(*vector_get_validity)(keel_duckdb_handle vector);
  void (*vector_ensure_validity_writable)(keel_duckdb_handle vector);
  void (*vector_assign_string_element_len)(keel_duckdb_handle vector, uint64_t row, const char *text, uint64_t length);
  keel_duckdb_handle (*list_vector_get_child)(keel_duckdb_handle vector);
  uint64_t (*list_vector_get_size)(keel_duckdb_handle vector);
  int (*list_vector_reserve)(keel_duckdb_handle vector, uint64_t capacity);
  int (*list_vector_set_size)(keel_duckdb_handle vector, uint64_t size);
  keel_duckdb_handle (*array_vector_get_child)(keel_duckdb_handle vector);

  int (*appender_create_ext)(keel_duckdb_handle connection, const char *catalog, const char *schema, const char *table, keel_duckdb_handle *appender);
  const char *(*appender_error)(keel_duckdb_handle appender);
  int (*append_data_chunk)(keel_duckdb_handle appender, keel_duckdb_handle chunk);
  int (*appender_close)(keel_duckdb_handle appender);
  int (*appender_destroy)(keel_duckdb_handle *appender);
} keel_duckdb_api;

/// Loads the library at `path` (or by name, on the system's path) and fills `api`. Returns NULL, or what failed (static until the
/// next call of dlerror on this thread).
const char *keel_duckdb_load(const char *path, keel_duckdb_api *api);
