// Stacks of their own for the threads of a block, and the switch from one to another.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define STANDIN_ASAN 1
#else
#define STANDIN_ASAN 0
#endif

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace standin {

// Default-made, it stands for the stack of the caller.
struct Fibre {
#if defined(__x86_64__)
    void* stack_pointer = nullptr;
#else
    ucontext_t context;
#endif
    // For AddressSanitizer, which must know the stack in use.
    const void* bottom = nullptr;
    size_t size = 0;
    void* fake_stack = nullptr;
};

// Gives the fibre a stack, if it has none, and lets it begin anew with main(), which never returns.
void begin_fibre(Fibre& fibre, void (*main)());

// Goes on in `to`; returns when something switches back to `from`.
void switch_fibre(Fibre& from, Fibre& to);

// What main() has to call first.
void enter_fibre();

}  // namespace standin
