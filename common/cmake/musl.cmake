# SPDX-License-Identifier: Apache-2.0
# The build machine's own architecture, with musl as the C library. Debian has musl and its compiler,
# and no other library for it: the worker needs none.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR ${CMAKE_HOST_SYSTEM_PROCESSOR})
set(CMAKE_C_COMPILER musl-gcc)
# The kernel's headers, and nothing of the other C library beside them.
set(headers ${CMAKE_BINARY_DIR}/kernel-headers)
file(MAKE_DIRECTORY ${headers})
foreach(folder linux asm-generic ${CMAKE_HOST_SYSTEM_PROCESSOR}-linux-gnu/asm)
    get_filename_component(name ${folder} NAME)
    file(CREATE_LINK /usr/include/${folder} ${headers}/${name} SYMBOLIC)
endforeach()
# Its macros for control messages convert numbers, of which the project's flags warn.
set(CMAKE_C_FLAGS_INIT "-idirafter ${headers} -Wno-error=conversion -Wno-error=sign-conversion")
# There are no libraries to be found. Only the target bao-virtio-worker can be built.
foreach(library libcapng libyaml)
    foreach(part INCLUDE SHARED STATIC)
        set(${library}_${part} /none CACHE PATH "none for musl")
    endforeach()
endforeach()
