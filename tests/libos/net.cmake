# Sockets: one self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess; and
# programs of others that talk to each other inside.
add_executable(libos-net-guest net_guest.c net_local.c net_inet.c)
target_compile_options(libos-net-guest PRIVATE -O1 -w)
target_link_libraries(libos-net-guest PRIVATE Threads::Threads)
foreach(part names datagrams packets passing credentials backlog ends tcp refused states urgent udp dual options readiness
             sharing interfaces transfers)
  add_test(NAME libos_net_native.${part} COMMAND libos-net-guest ${part})
  add_test(NAME libos_net.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet --timeout 50 -v $<TARGET_FILE_DIR:libos-net-guest> --
                   $<TARGET_FILE:libos-net-guest> ${part})
  set_tests_properties(libos_net_native.${part} libos_net.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
# Names beside files of the host's, which never sees them.
set(beside ${CMAKE_CURRENT_BINARY_DIR}/beside)
file(MAKE_DIRECTORY ${beside})
add_test(NAME libos_net_native.beside COMMAND libos-net-guest beside ${beside})
add_test(NAME libos_net.beside
         COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet --timeout 50 -v $<TARGET_FILE_DIR:libos-net-guest>
                 -v ${beside}:${beside}:rw -- $<TARGET_FILE:libos-net-guest> beside ${beside})
set_tests_properties(libos_net_native.beside libos_net.beside PROPERTIES TIMEOUT 60 LABELS libos)
# Only inside: what a family may not reach, and names where it has none.
foreach(part beyond)
  add_test(NAME libos_net.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet --timeout 50 -v $<TARGET_FILE_DIR:libos-net-guest> --
                   $<TARGET_FILE:libos-net-guest> ${part})
  set_tests_properties(libos_net.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
add_test(NAME libos_net.programs COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/net_programs.sh ${PROJECT_BINARY_DIR}/bin/postern)
set_tests_properties(libos_net.programs PROPERTIES TIMEOUT 120 LABELS libos SKIP_RETURN_CODE 77)
