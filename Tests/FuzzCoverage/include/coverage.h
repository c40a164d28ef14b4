// Which edges of the program a run touched, when it is built with -sanitize-coverage=edge; otherwise there are none.
#ifndef KEEL_FUZZ_COVERAGE_H
#define KEEL_FUZZ_COVERAGE_H
#include <stdint.h>

/// How many edges the program has.
uint32_t keel_coverage_edges(void);
/// Forgets what was touched.
void keel_coverage_reset(void);
/// How many edges were touched since the reset.
uint32_t keel_coverage_count(void);
/// The number of the touched edge `i`, and how often it was touched, up to 255.
uint32_t keel_coverage_edge(uint32_t i, uint8_t *times);

#endif
