# The few functions through which every Chorus target is made, so that flags
# stand in one place.

set(CHORUS_WARNINGS -Wall -Wextra -Wno-unused-parameter -Werror)

function(chorus_set_flags target)
  # No contraction: the numeric contract says where a fused multiply-add is.
  target_compile_options(${target} PRIVATE ${CHORUS_WARNINGS} -ffp-contract=off
                                           -ffunction-sections -fdata-sections)
  target_link_options(${target} PRIVATE -Wl,--gc-sections)
  if(CHORUS_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined
                                             -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
  if(CHORUS_FUZZ) # Coverage of the libraries too, or the fuzzer is blind.
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# chorus_add_runtime_library(NAME sources... [LINK_LIBS libs...])
# A library that links neither LLVM nor MLIR; exceptions stay inside it.
function(chorus_add_runtime_library name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/runtime/include
                                            ${PROJECT_BINARY_DIR}/runtime/include)
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS})
  chorus_set_flags(${name})
endfunction()

# chorus_add_compiler_library(NAME sources... [LINK_LIBS libs...] [DEPENDS targets...])
# A library over MLIR: no exceptions, as in the packaged MLIR.
function(chorus_add_compiler_library name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/include
                                            ${PROJECT_BINARY_DIR}/include)
  target_include_directories(${name} SYSTEM PUBLIC ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_compile_options(${name} PRIVATE -fno-exceptions)
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS} MLIR LLVM)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  chorus_set_flags(${name})
endfunction()

# chorus_add_tool(NAME sources... [LINK_LIBS libs...])
function(chorus_add_tool name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS})
  chorus_set_flags(${name})
endfunction()

# chorus_add_unittest(NAME sources... [LINK_LIBS libs...])
# Test data folders reach the tests as CHORUS_SOURCE_DIR.
function(chorus_add_unittest name)
  cmake_parse_arguments(ARG "" "" "LINK_LIBS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} GTest::gtest GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE CHORUS_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  chorus_set_flags(${name})
  add_test(NAME ${name} COMMAND ${name})
endfunction()
