# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
add_executable(libos-sysv-guest sysv_guest.c)
target_compile_options(libos-sysv-guest PRIVATE -O1 -Wno-unused-result)
add_test(NAME libos_sysv_native COMMAND libos-sysv-guest)
set_tests_properties(libos_sysv_native PROPERTIES TIMEOUT 60)
foreach(part segments semaphores queues)
  add_test(NAME libos_sysv.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-sysv-guest> --
                   $<TARGET_FILE:libos-sysv-guest> ${part})
  set_tests_properties(libos_sysv.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
