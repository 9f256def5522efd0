#include "standin/fibre.h"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#if STANDIN_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace standin {
namespace {

constexpr size_t kStackBytes = STANDIN_ASAN ? 256 << 10 : 128 << 10;
constexpr size_t kGuardBytes = 4096;

// The fibre that switched last.
Fibre* previous = nullptr;

// A stack that overflows runs into a page that cannot be touched.
char* new_stack() {
    void* const memory =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) throw std::bad_alloc();
    return static_cast<char*>(memory);
}

}  // namespace

#if defined(__x86_64__)

extern "C" void standin_switch_stack(void** save, void* stack_pointer);

// Saves the registers that a call preserves, and the stack pointer; restores those of the other side.
asm(R"(
    .text
    .hidden standin_switch_stack
    .globl standin_switch_stack
    .type standin_switch_stack, @function
standin_switch_stack:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size standin_switch_stack, . - standin_switch_stack
)");

#endif

void begin_fibre(Fibre& fibre, void (*main)()) {
    static unsigned stacks = 0;
    if (!fibre.bottom) {
        fibre.bottom = new_stack() + kGuardBytes;
        // Tops at the same offset of a page would fall into the same lines of the cache.
        fibre.size = kStackBytes - kGuardBytes - stacks++ % 32 * 128;
    }
    fibre.fake_stack = nullptr;
#if STANDIN_ASAN
    __asan_unpoison_memory_region(fibre.bottom, fibre.size);  // an abandoned thread left its marks
#endif
    char* const bottom = static_cast<char*>(const_cast<void*>(fibre.bottom));
#if defined(__x86_64__)
    void** top = reinterpret_cast<void**>(bottom + fibre.size) - 1;  // as if main() had been called from nowhere
    *top-- = nullptr;
    *top = reinterpret_cast<void*>(main);
    fibre.stack_pointer = top - 6;
#else
    getcontext(&fibre.context);
    fibre.context.uc_stack.ss_sp = bottom;
    fibre.context.uc_stack.ss_size = fibre.size;
    fibre.context.uc_link = nullptr;
    makecontext(&fibre.context, main, 0);
#endif
}

void enter_fibre() {
#if STANDIN_ASAN
    __sanitizer_finish_switch_fiber(nullptr, &previous->bottom, &previous->size);
#endif
}

void switch_fibre(Fibre& from, Fibre& to) {
    previous = &from;
#if STANDIN_ASAN
    __sanitizer_start_switch_fiber(&from.fake_stack, to.bottom, to.size);
#endif
#if defined(__x86_64__)
    standin_switch_stack(&from.stack_pointer, to.stack_pointer);
#else
    swapcontext(&from.context, &to.context);
#endif
#if STANDIN_ASAN
    __sanitizer_finish_switch_fiber(from.fake_stack, &previous->bottom, &previous->size);
#endif
}

}  // namespace standin
