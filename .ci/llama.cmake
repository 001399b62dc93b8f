# Read by CMake at the start of llama-cpp-python's build (CMAKE_PROJECT_INCLUDE, set in the Makefile).
# The wheel's own CMakeLists forces LLAMA_BUILD_COMMON on in the cache; a normal variable goes before it (policy CMP0126).
# `common` is llama.cpp's helper library for its command-line programs; the Python package never loads it.
set(LLAMA_BUILD_COMMON OFF)
