# A self-checking program in a directory of the host's: natively, and in a picoprocess that has it as a volume.
add_executable(libos-volume-guest volume_guest.c)
target_compile_options(libos-volume-guest PRIVATE -O1 -w)
set(VOLUME ${CMAKE_CURRENT_BINARY_DIR}/volume)
file(MAKE_DIRECTORY ${VOLUME})
add_test(NAME libos_volume_native COMMAND libos-volume-guest ${VOLUME})
set_tests_properties(libos_volume_native PROPERTIES TIMEOUT 60 LABELS libos)
foreach(part fifos meetings links times modes appends gone)
  add_test(NAME libos_volume.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-volume-guest> -v
                   ${VOLUME}:${VOLUME}:rw -- $<TARGET_FILE:libos-volume-guest> ${VOLUME} ${part})
  set_tests_properties(libos_volume.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
