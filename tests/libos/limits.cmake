# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
find_package(Threads REQUIRED)
add_executable(libos-limits-guest limits_guest.c)
target_compile_options(libos-limits-guest PRIVATE -O1 -w)
target_link_libraries(libos-limits-guest PRIVATE Threads::Threads)
add_test(NAME libos_limits_native COMMAND libos-limits-guest)
set_tests_properties(libos_limits_native PROPERTIES TIMEOUT 60 LABELS libos)
foreach(part address_space data file_size cpu descriptors processes stack usage)
  add_test(NAME libos_limits.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-limits-guest> --
                   $<TARGET_FILE:libos-limits-guest> ${part})
  set_tests_properties(libos_limits.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
