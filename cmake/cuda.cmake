# The module _cuda, if STEEPEST_CUDA enables it.

if(NOT STEEPEST_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "STEEPEST_CUDA is '${STEEPEST_CUDA}': it must be AUTO, ON or OFF")
endif()
if(STEEPEST_CUDA STREQUAL "OFF")
  return()
endif()

# Sets `out` to the architectures of this machine's GPUs, such as "90a-real", or to nothing.
function(steepest_gpus_present out)
  set(${out} "" PARENT_SCOPE)
  find_program(STEEPEST_NVIDIA_SMI nvidia-smi)
  if(NOT STEEPEST_NVIDIA_SMI)
    return()
  endif()
  execute_process(COMMAND ${STEEPEST_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
                  OUTPUT_VARIABLE capabilities RESULT_VARIABLE failed ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(failed)
    return()
  endif()
  string(REGEX MATCHALL "[0-9]+\\.[0-9]+" capabilities "${capabilities}")
  list(REMOVE_DUPLICATES capabilities)
  set(architectures "")
  foreach(capability IN LISTS capabilities)
    string(REPLACE "." "" architecture ${capability})
    # The target 90a has the instructions that only Hopper has.
    string(REGEX REPLACE "^90$" "90a" architecture ${architecture})
    if(architecture MATCHES "^([89][0-9]|[0-9][0-9][0-9])")
      list(APPEND architectures ${architecture}-real)
    endif()
  endforeach()
  set(${out} "${architectures}" PARENT_SCOPE)
endfunction()

if(STEEPEST_CUDA_TARGETS)
  set(steepest_architectures ${STEEPEST_CUDA_TARGETS})
elseif(STEEPEST_CUDA STREQUAL "ON")
  # Machine code for the GPUs that the kernels are written for, and PTX for later GPUs.
  set(steepest_architectures 80-real 86-real 89-real 90a-real 100 120-real)
else()
  steepest_gpus_present(steepest_architectures)
  if(NOT steepest_architectures)
    message(STATUS "No CUDA module: there is no NVIDIA GPU here (STEEPEST_CUDA=ON builds it for others)")
    return()
  endif()
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(STEEPEST_CUDA STREQUAL "ON")
    message(FATAL_ERROR "STEEPEST_CUDA=ON, but there is no CUDA compiler: install the CUDA toolkit (12.8 or newer) and "
                        "put nvcc on the PATH")
  endif()
  message(STATUS "No CUDA module: there is a GPU, but no CUDA compiler on the PATH")
  return()
endif()

set(CMAKE_CUDA_ARCHITECTURES ${steepest_architectures})
set(CMAKE_CUDA_RUNTIME_LIBRARY Static) # the module must import on machines without a CUDA library
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit REQUIRED)
message(STATUS "CUDA module for ${steepest_architectures}, by CUDA ${CUDAToolkit_VERSION}")

file(GLOB steepest_cuda_sources CONFIGURE_DEPENDS csrc/cuda/*.cu csrc/cuda/*.cpp)
pybind11_add_module(_cuda MODULE csrc/bindings/cuda.cpp ${steepest_cuda_sources})
target_include_directories(_cuda PRIVATE csrc)
# As on the CPU, only the code decides which products and sums are fused, so that the same seed gives the same numbers.
target_compile_options(_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--fmad=false>
                       $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra>)
list(JOIN steepest_architectures " " steepest_target_text)
target_compile_definitions(_cuda PRIVATE STEEPEST_TARGET=cuda STEEPEST_CUDA_MAJOR="${CUDAToolkit_VERSION_MAJOR}"
                           STEEPEST_CUDA_TARGETS="${steepest_target_text}")
target_link_libraries(_cuda PRIVATE CUDA::cudart_static)
install(TARGETS _cuda DESTINATION steepest)
