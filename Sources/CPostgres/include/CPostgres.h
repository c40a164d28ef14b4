// The part of libpq's stable C API that Keel calls, declared here and resolved with dlsym at run time: no header of PostgreSQL is needed to build,
// and a server that imports from no PostgreSQL needs no libpq. Names follow libpq's, without the prefix PQ.
#pragma once

/// PGconn and PGresult, which are opaque.
typedef void *keel_libpq_connection;
typedef void *keel_libpq_result;

enum { KEEL_LIBPQ_CONNECTION_OK = 0 };
enum { KEEL_LIBPQ_COMMAND_OK = 1, KEEL_LIBPQ_TUPLES_OK = 2 };

typedef struct {
  keel_libpq_connection (*connectdb)(const char *conninfo);
  int (*status)(keel_libpq_connection connection);
  char *(*errorMessage)(keel_libpq_connection connection);
  char *(*host)(keel_libpq_connection connection);
  char *(*port)(keel_libpq_connection connection);
  char *(*db)(keel_libpq_connection connection);
  void (*finish)(keel_libpq_connection connection);

  keel_libpq_result (*execParams)(
      keel_libpq_connection connection, const char *command, int count, const unsigned *types, const char *const *values,
      const int *lengths, const int *formats, int resultFormat);
  keel_libpq_result (*prepare)(keel_libpq_connection connection, const char *name, const char *query, int count, const unsigned *types);
  keel_libpq_result (*describePrepared)(keel_libpq_connection connection, const char *name);

  int (*resultStatus)(keel_libpq_result result);
  int (*nparams)(keel_libpq_result result);
  unsigned (*paramtype)(keel_libpq_result result, int number);
  int (*ntuples)(keel_libpq_result result);
  int (*nfields)(keel_libpq_result result);
  char *(*fname)(keel_libpq_result result, int column);
  unsigned (*ftype)(keel_libpq_result result, int column);
  int (*getisnull)(keel_libpq_result result, int row, int column);
  char *(*getvalue)(keel_libpq_result result, int row, int column);
  void (*clear)(keel_libpq_result result);
} keel_libpq_api;

/// Loads the library at `path` (or known to the system's loader by that name) and resolves every entry point.
/// Returns NULL, or what went wrong.
const char *keel_libpq_load(const char *path, keel_libpq_api *api);
