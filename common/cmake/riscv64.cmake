# SPDX-License-Identifier: Apache-2.0
# With the libraries that tests/riscv64-libraries has fetched.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR riscv64)
set(CMAKE_C_COMPILER riscv64-linux-gnu-gcc)
set(CMAKE_LIBRARY_ARCHITECTURE riscv64-linux-gnu)
set(CMAKE_SYSROOT ${CMAKE_CURRENT_LIST_DIR}/../../build/riscv64-libraries)
# Before those of the compiler's own C library, if that is installed: it is an older one.
set(libraries ${CMAKE_SYSROOT}/usr)
set(CMAKE_C_FLAGS_INIT
    "-isystem ${libraries}/include/riscv64-linux-gnu -isystem ${libraries}/include -B${libraries}/lib/riscv64-linux-gnu")
set(CMAKE_EXE_LINKER_FLAGS_INIT -L${libraries}/lib/riscv64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
