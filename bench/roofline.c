/* What the machine can do at most, for roofline.py: multiply-adds from registers, and traffic with memory. */

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif

typedef float vec __attribute__((vector_size(VECTOR_BYTES)));

enum { kLanes = VECTOR_BYTES / sizeof(float), kChains = 12 };

/* The empty statement keeps a chain in its register and its operations in order. */
#define STEP(a)         \
  a = a * scale + shift; \
  __asm__ volatile("" : "+x"(a))

/* Returns the number of floating-point operations done, two a lane. 12 independent chains hide a latency of 4 to
 * 6 cycles on two ports and leave 4 of 16 registers free. `sink` keeps the result alive. */
int64_t multiply_add(int64_t iterations, float* sink) {
  const vec scale = (vec){0} + 0.999f, shift = (vec){0} + 0.001f;
  vec a0 = shift, a1 = shift, a2 = shift, a3 = shift, a4 = shift, a5 = shift;
  vec a6 = shift, a7 = shift, a8 = shift, a9 = shift, a10 = shift, a11 = shift;
  for (int64_t n = 0; n < iterations; ++n) {
    STEP(a0);
    STEP(a1);
    STEP(a2);
    STEP(a3);
    STEP(a4);
    STEP(a5);
    STEP(a6);
    STEP(a7);
    STEP(a8);
    STEP(a9);
    STEP(a10);
    STEP(a11);
  }
  *sink = ((a0 + a1) + (a2 + a3) + (a4 + a5) + (a6 + a7) + (a8 + a9) + (a10 + a11))[0];
  return iterations * kChains * kLanes * 2;
}

/* The C library's copy, which writes past the caches where the block is large. */
void copy_library(char* to, const char* from, int64_t bytes, int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    memcpy(to, from, (size_t)bytes);
    __asm__ volatile("" ::"r"(to) : "memory");
  }
}

/* A copy through the caches. */
void copy_vectors(char* to, const char* from, int64_t bytes, int64_t times) {
  for (int64_t i = 0; i < times; ++i) {
    for (int64_t j = 0; j + 4 * VECTOR_BYTES <= bytes; j += 4 * VECTOR_BYTES) {
      const vec v0 = *(const vec*)(from + j), v1 = *(const vec*)(from + j + VECTOR_BYTES);
      const vec v2 = *(const vec*)(from + j + 2 * VECTOR_BYTES), v3 = *(const vec*)(from + j + 3 * VECTOR_BYTES);
      *(vec*)(to + j) = v0;
      *(vec*)(to + j + VECTOR_BYTES) = v1;
      *(vec*)(to + j + 2 * VECTOR_BYTES) = v2;
      *(vec*)(to + j + 3 * VECTOR_BYTES) = v3;
    }
    __asm__ volatile("" ::"r"(to) : "memory");
  }
}

/* Both blocks are read and written in place, as an optimizer does with its state: no line is fetched for nothing. */
void update_in_place(char* first, char* second, int64_t bytes, int64_t times) {
  const vec scale = (vec){0} + 0.999f;
  for (int64_t i = 0; i < times; ++i) {
    /* Half the bytes of each, so that a repetition moves as many bytes as a copy does. */
    for (int64_t j = 0; j + VECTOR_BYTES <= bytes / 2; j += VECTOR_BYTES) {
      *(vec*)(first + j) *= scale;
      *(vec*)(second + j) *= scale;
    }
    __asm__ volatile("" ::"r"(first), "r"(second) : "memory");
  }
}
