# What the kernel answers, in parts: each prints the same natively and inside, as whoever runs the tests.
function(libos_compared guest)
  add_executable(libos-${guest}-guest ${guest}_guest.c)
  target_compile_options(libos-${guest}-guest PRIVATE -O1 -w)
  target_link_libraries(libos-${guest}-guest PRIVATE util rt pthread)
  foreach(part ${ARGN})
    add_test(NAME libos_${guest}.${part}
             COMMAND sh ${CMAKE_CURRENT_SOURCE_DIR}/same_output.sh ${PROJECT_BINARY_DIR}/bin/postern
                     $<TARGET_FILE:libos-${guest}-guest> ${part})
    set_tests_properties(libos_${guest}.${part} PROPERTIES TIMEOUT 60 LABELS libos)
  endforeach()
endfunction()
libos_compared(linux futexes processes splices pidfds protections nodes queries handles barriers filters strictly)
libos_compared(async pipes who others sockets dnotify)
libos_compared(moved code)
libos_compared(plain code)
target_link_options(libos-plain-guest PRIVATE -static)
