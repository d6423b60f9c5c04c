# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
find_package(Threads REQUIRED)
add_executable(libos-ptrace-guest ptrace_guest.c)
target_compile_options(libos-ptrace-guest PRIVATE -O1 -Wno-unused-result)
target_link_libraries(libos-ptrace-guest PRIVATE Threads::Threads)
add_test(NAME libos_ptrace_native COMMAND libos-ptrace-guest)
set_tests_properties(libos_ptrace_native PROPERTIES TIMEOUT 60 SKIP_RETURN_CODE 77)
foreach(part calls memory visiting signals steps breakpoints events attaching ends threads group_stops)
  add_test(NAME libos_ptrace.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet --timeout 40 -v $<TARGET_FILE_DIR:libos-ptrace-guest> --
                   $<TARGET_FILE:libos-ptrace-guest> ${part})
  set_tests_properties(libos_ptrace.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
