#ifndef KEEL_CZLIB_H
#define KEEL_CZLIB_H
#include <zlib.h>

/* inflateInit2 is a macro, which Swift cannot see. */
static inline int keel_inflate_init(z_stream *stream, int window_bits) { return inflateInit2(stream, window_bits); }
#endif
