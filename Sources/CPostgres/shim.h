#ifndef KEEL_CPOSTGRES_H
#define KEEL_CPOSTGRES_H
#include <postgresql/libpq-fe.h>
#endif
