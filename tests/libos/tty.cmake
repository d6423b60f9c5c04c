# Terminals: the line discipline as logic, and as programs see it. The guest's checks hold natively, too.
postern_unit_test(NAME libos_line_discipline SOURCES line_discipline_test.cpp LIBRARIES libos_hosted LABELS libos)
add_executable(libos-tty-guest tty_guest.c)
target_compile_options(libos-tty-guest PRIVATE -O1 -Wno-unused-result)
foreach(part names lines raw closing packets sessions keys background orphans flow settings)
  add_test(NAME libos_tty.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-tty-guest> --
                   $<TARGET_FILE:libos-tty-guest> ${part})
  set_tests_properties(libos_tty.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()

# For longer: build/bin/fuzz_line_discipline -max_total_time=600
find_program(POSTERN_FUZZ_COMPILER clang++-19)
if(POSTERN_FUZZ_COMPILER)
  set(LIBOS_TTY ${PROJECT_SOURCE_DIR}/libos/tty)
  set(FUZZ_SOURCES ${CMAKE_CURRENT_SOURCE_DIR}/line_discipline_fuzz.cpp ${LIBOS_TTY}/line_input.cpp
                   ${LIBOS_TTY}/line_output.cpp)
  add_custom_command(OUTPUT ${PROJECT_BINARY_DIR}/bin/fuzz_line_discipline
    COMMAND ${POSTERN_FUZZ_COMPILER} -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
            -I${PROJECT_SOURCE_DIR} -o ${PROJECT_BINARY_DIR}/bin/fuzz_line_discipline ${FUZZ_SOURCES}
    DEPENDS ${FUZZ_SOURCES} ${LIBOS_TTY}/line_discipline.hpp ${LIBOS_TTY}/characters.hpp VERBATIM)
  add_custom_target(fuzz_line_discipline ALL DEPENDS ${PROJECT_BINARY_DIR}/bin/fuzz_line_discipline)
  add_test(NAME libos_line_discipline.fuzz
           COMMAND ${PROJECT_BINARY_DIR}/bin/fuzz_line_discipline -runs=3000 -seed=1 -max_len=2000 -len_control=0)
  set_tests_properties(libos_line_discipline.fuzz PROPERTIES TIMEOUT 120 LABELS libos)
endif()
