#include "CPostgres.h"
#include <dlfcn.h>
#include <stddef.h>

#define ENTRY(name) {"PQ" #name, offsetof(keel_libpq_api, name)}

static const struct { const char *symbol; size_t offset; } entries[] = {
  ENTRY(connectdb), ENTRY(status), ENTRY(errorMessage), ENTRY(host), ENTRY(port), ENTRY(db), ENTRY(finish),
  ENTRY(execParams), ENTRY(prepare), ENTRY(describePrepared),
  ENTRY(resultStatus), ENTRY(nparams), ENTRY(paramtype), ENTRY(ntuples), ENTRY(nfields), ENTRY(fname), ENTRY(ftype),
  ENTRY(getisnull), ENTRY(getvalue), ENTRY(clear),
};

// A forgotten entry would be a null pointer called: the table and the struct must be of one length.
_Static_assert(sizeof entries / sizeof *entries == sizeof(keel_libpq_api) / sizeof(void *), "every entry point is in the table");

const char *keel_libpq_load(const char *path, keel_libpq_api *api) {
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
