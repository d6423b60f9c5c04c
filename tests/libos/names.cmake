# Names of system directories, compared with native runs.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_executable(libos-names-guest names_guest.c)
target_compile_options(libos-names-guest PRIVATE -O1 -w)
foreach(part tree missing walk rules questions volumes)
  postern_program_test(NAME libos_names.${part} TIMEOUT 300 LABELS libos
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/names.py --postern ${PROJECT_BINARY_DIR}/bin/postern
            --guest $<TARGET_FILE:libos-names-guest> ${part})
endforeach()
