/* Requests to valgrind from Python: when to count instructions, and under which name to write the count down. */
#include <valgrind/callgrind.h>

void start(void) { CALLGRIND_START_INSTRUMENTATION; }

void zero(void) { CALLGRIND_ZERO_STATS; }

void dump(const char* name) { CALLGRIND_DUMP_STATS_AT(name); }
