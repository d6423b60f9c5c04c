# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
find_package(Threads REQUIRED)
add_executable(libos-ipc-guest ipc_guest.c)
target_compile_options(libos-ipc-guest PRIVATE -O1 -w)
target_link_libraries(libos-ipc-guest PRIVATE Threads::Threads)
add_executable(libos-ipc-guest-static ipc_guest.c)
target_compile_options(libos-ipc-guest-static PRIVATE -O1 -w)
target_link_options(libos-ipc-guest-static PRIVATE -static)
target_link_libraries(libos-ipc-guest-static PRIVATE Threads::Threads)
add_test(NAME libos_ipc_native COMMAND libos-ipc-guest)
set_tests_properties(libos_ipc_native PROPERTIES TIMEOUT 60)
foreach(part pipes fifos events timers signalfds polls epolls sockets procfs devices)
  foreach(guest libos-ipc-guest libos-ipc-guest-static)
    add_test(NAME libos_ipc.${part}.${guest}
             COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:${guest}> --
                     $<TARGET_FILE:${guest}> ${part})
    set_tests_properties(libos_ipc.${part}.${guest} PROPERTIES TIMEOUT 60)
  endforeach()
endforeach()
