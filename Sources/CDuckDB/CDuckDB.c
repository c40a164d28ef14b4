#include "CDuckDB.h"
#include <dlfcn.h>
#include <stddef.h>

#define ENTRY(name) {"duckdb_" #name, offsetof(keel_duckdb_api, name)}

static const struct { const char *symbol; size_t offset; } entries[] = {
  ENTRY(library_version), ENTRY(open_ext), ENTRY(close), ENTRY(connect), ENTRY(disconnect), ENTRY(interrupt), ENTRY(create_config),
  ENTRY(set_config), ENTRY(destroy_config), ENTRY(free),
  ENTRY(query), ENTRY(destroy_result), ENTRY(result_error), ENTRY(result_error_type), ENTRY(rows_changed), ENTRY(column_count),
  ENTRY(column_name), ENTRY(column_logical_type), ENTRY(fetch_chunk),
  ENTRY(prepare), ENTRY(prepare_error), ENTRY(destroy_prepare), ENTRY(nparams), ENTRY(bind_value), ENTRY(execute_prepared),
  ENTRY(execute_prepared_streaming),
  ENTRY(create_null_value), ENTRY(create_bool), ENTRY(create_int64), ENTRY(create_double), ENTRY(create_varchar_length), ENTRY(create_blob),
  ENTRY(create_date), ENTRY(create_timestamp), ENTRY(create_list_value), ENTRY(destroy_value),
  ENTRY(create_logical_type), ENTRY(create_list_type), ENTRY(destroy_logical_type), ENTRY(get_type_id), ENTRY(decimal_scale),
  ENTRY(decimal_internal_type), ENTRY(enum_internal_type), ENTRY(enum_dictionary_size), ENTRY(enum_dictionary_value),
  ENTRY(list_type_child_type), ENTRY(array_type_child_type), ENTRY(array_type_array_size),
  ENTRY(vector_size), ENTRY(create_data_chunk), ENTRY(destroy_data_chunk), ENTRY(data_chunk_reset), ENTRY(data_chunk_get_size),
  ENTRY(data_chunk_set_size), ENTRY(data_chunk_get_vector), ENTRY(vector_get_data), ENTRY(vector_get_validity),
  ENTRY(vector_ensure_validity_writable), ENTRY(vector_assign_string_element_len), ENTRY(list_vector_get_child),
  ENTRY(list_vector_get_size), ENTRY(list_vector_reserve), ENTRY(list_vector_set_size), ENTRY(array_vector_get_child),
  ENTRY(appender_create_ext), ENTRY(appender_error), ENTRY(append_data_chunk), ENTRY(appender_close), ENTRY(appender_destroy),
};

// A forgotten entry would be a null pointer called: the table and the struct must be of one length.
_Static_assert(sizeof entries / sizeof *entries == sizeof(keel_duckdb_api) / sizeof(void *), "every entry point is in the table");

const char *keel_duckdb_load(const char *path, keel_duckdb_api *api) {
  // Lazy binding is needed: the Python module that the engine also is names functions that exist nowhere.
  void *library = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
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
