#include "coverage.h"

#define EDGES_MAX (1u << 21)

static uint8_t times_touched[EDGES_MAX];
static uint32_t touched[EDGES_MAX];
static uint32_t touched_count;
static uint32_t edge_count;

// The compiler puts a call of these into every edge (clang.llvm.org, SanitizerCoverage).
void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop);
void __sanitizer_cov_trace_pc_guard(uint32_t *guard);

void __sanitizer_cov_trace_pc_guard_init(uint32_t *start, uint32_t *stop) {
    for (uint32_t *guard = start; guard < stop; guard++) {
        if (*guard == 0 && edge_count + 1 < EDGES_MAX) *guard = ++edge_count;
    }
}

void __sanitizer_cov_trace_pc_guard(uint32_t *guard) {
    uint32_t edge = *guard;
    if (edge == 0) return;
    if (times_touched[edge] == 0 && touched_count < EDGES_MAX) touched[touched_count++] = edge;
    if (times_touched[edge] < 255) times_touched[edge]++;
}

uint32_t keel_coverage_edges(void) { return edge_count; }
uint32_t keel_coverage_count(void) { return touched_count; }

void keel_coverage_reset(void) {
    for (uint32_t i = 0; i < touched_count; i++) times_touched[touched[i]] = 0;
    touched_count = 0;
}

uint32_t keel_coverage_edge(uint32_t i, uint8_t *times) {
    *times = times_touched[touched[i]];
    return touched[i];
}
