# SPDX-License-Identifier: Apache-2.0
# Warnings and hardening, the same for every target; what the compiler lacks is left out.
include(CheckCCompilerFlag)

if(CMAKE_SIZEOF_VOID_P EQUAL 4)
    message(FATAL_ERROR "${CMAKE_SYSTEM_PROCESSOR} has 32 bits: there are no policies for a kernel interface of 32 bits, and no"
                        " worker runs without one. Build for x86_64, aarch64 or riscv64; docs/DEPLOY.md, Architectures, has"
                        " what 32 bits would take")
endif()

add_library(build_flags INTERFACE)
target_include_directories(build_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(build_flags INTERFACE _GNU_SOURCE BVDM_VERSION="${PROJECT_VERSION}")
target_compile_options(build_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror)
# Reproducible: no path of the build machine in a binary.
target_compile_options(build_flags INTERFACE -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.)

function(hardening_flag flag name)
    check_c_compiler_flag("-Werror ${flag}" ${name})
    if(${name})
        target_compile_options(build_flags INTERFACE ${flag})
    endif()
endfunction()

hardening_flag(-fstack-protector-strong HAVE_STACK_PROTECTOR)
hardening_flag(-fstack-clash-protection HAVE_STACK_CLASH)
hardening_flag(-ftrivial-auto-var-init=zero HAVE_AUTO_VAR_INIT)
hardening_flag(-fno-delete-null-pointer-checks HAVE_NO_DELETE_NULL_CHECKS)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    hardening_flag(-fcf-protection=full HAVE_CF_PROTECTION)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    hardening_flag(-mbranch-protection=standard HAVE_BRANCH_PROTECTION)
endif()

if(BVDM_SANITIZE)
    target_compile_options(build_flags INTERFACE
        -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    target_link_options(build_flags INTERFACE -fsanitize=address,undefined)
    target_compile_definitions(build_flags INTERFACE BVDM_SANITIZE=1)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    check_c_compiler_flag("-Werror -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3" HAVE_FORTIFY_3)
    target_compile_options(build_flags INTERFACE
        -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=$<IF:$<BOOL:${HAVE_FORTIFY_3}>,3,2>)
endif()
if(BVDM_PATIENT)
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
        message(FATAL_ERROR "BVDM_PATIENT keeps a vCPU waiting for a stuck worker: it is for Debug builds only")
    endif()
    target_compile_definitions(build_flags INTERFACE BVDM_PATIENT=1)
endif()
target_link_options(build_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)

# hardened_executable(NAME [STATIC] sources...): a PIE with full RELRO; STATIC, or BVDM_STATIC,
# makes it a static PIE. The sanitizers' run-time cannot be linked statically.
function(hardened_executable name)
    cmake_parse_arguments(arg "STATIC" "" "" ${ARGN})
    add_executable(${name} ${arg_UNPARSED_ARGUMENTS})
    target_link_libraries(${name} PRIVATE build_flags)
    if((arg_STATIC OR BVDM_STATIC) AND NOT BVDM_SANITIZE)
        target_compile_options(${name} PRIVATE -fPIE)
        target_link_options(${name} PRIVATE -static-pie)
    else()
        target_compile_options(${name} PRIVATE -fPIE)
        target_link_options(${name} PRIVATE -pie)
    endif()
endfunction()

# needed_library(TARGET PACKAGE HEADER LIBRARY [STATIC]): an imported interface for a Debian
# library, static where the program that links it is. An error names the package.
function(needed_library target package header library)
    find_path(${target}_INCLUDE ${header})
    find_library(${target}_SHARED NAMES ${library})
    find_library(${target}_STATIC NAMES lib${library}.a)
    if(NOT ${target}_INCLUDE OR NOT ${target}_STATIC)
        message(FATAL_ERROR "${header} or lib${library}.a not found: install Debian's package ${package}"
                            " (for ${CMAKE_SYSTEM_PROCESSOR})")
    endif()
    add_library(${target} INTERFACE)
    target_include_directories(${target} SYSTEM INTERFACE ${${target}_INCLUDE})
    add_library(${target}_static INTERFACE)
    target_include_directories(${target}_static SYSTEM INTERFACE ${${target}_INCLUDE})
    target_link_libraries(${target}_static INTERFACE ${${target}_STATIC})
    if(BVDM_STATIC AND NOT BVDM_SANITIZE)
        target_link_libraries(${target} INTERFACE ${${target}_STATIC})
    else()
        target_link_libraries(${target} INTERFACE ${${target}_SHARED})
    endif()
endfunction()

needed_library(libcapng libcap-ng-dev cap-ng.h cap-ng)
needed_library(libyaml libyaml-dev yaml.h yaml)
