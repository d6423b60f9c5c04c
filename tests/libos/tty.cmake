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
