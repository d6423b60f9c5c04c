# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
find_package(Threads REQUIRED)
add_executable(libos-process-guest process_guest.c)
target_compile_options(libos-process-guest PRIVATE -O1 -Wno-unused-result)
target_link_libraries(libos-process-guest PRIVATE Threads::Threads)
add_executable(libos-process-guest-static process_guest.c)
target_compile_options(libos-process-guest-static PRIVATE -O1 -w)
target_link_options(libos-process-guest-static PRIVATE -static)
target_link_libraries(libos-process-guest-static PRIVATE Threads::Threads)
add_test(NAME libos_process_native COMMAND libos-process-guest)
set_tests_properties(libos_process_native PROPERTIES TIMEOUT 60)
foreach(part waits orphans groups signals restarts vforks threads futexes rest)
  foreach(guest libos-process-guest libos-process-guest-static)
    add_test(NAME libos_process.${part}.${guest}
             COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:${guest}> --
                     $<TARGET_FILE:${guest}> ${part})
    set_tests_properties(libos_process.${part}.${guest} PROPERTIES TIMEOUT 60)
  endforeach()
endforeach()
