# What programs expect of a whole system, one part a test. Inside only: most of it needs root and would change the host.
add_executable(libos-system-guest system_guest.c)
target_compile_options(libos-system-guest PRIVATE -O1 -Wno-unused-result)
target_link_libraries(libos-system-guest PRIVATE rt)
foreach(part locks low_addresses grow seals timers cpu_limit scheduling numbers names attributes copies record_locks)
  add_test(NAME libos_system.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-system-guest> --
                   $<TARGET_FILE:libos-system-guest> ${part})
  set_tests_properties(libos_system.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
