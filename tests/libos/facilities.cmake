# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess, there in private
# memory and in a directory of the host.
add_executable(libos-facilities-guest facilities_guest.c)
target_compile_options(libos-facilities-guest PRIVATE -O1 -Wno-unused-result)
target_link_libraries(libos-facilities-guest PRIVATE rt)
set(FACILITIES_PLACE ${CMAKE_CURRENT_BINARY_DIR}/facilities)
file(MAKE_DIRECTORY ${FACILITIES_PLACE})
add_test(NAME libos_facilities_native COMMAND libos-facilities-guest ${FACILITIES_PLACE})
set_tests_properties(libos_facilities_native PROPERTIES TIMEOUT 60)
foreach(part pidfds aio mqueues watches leases mq_threads seals)
  add_test(NAME libos_facilities.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-facilities-guest> --
                   $<TARGET_FILE:libos-facilities-guest> /tmp ${part})
  set_tests_properties(libos_facilities.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()
add_test(NAME libos_facilities.host_watches
         COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-facilities-guest>
                 -v ${FACILITIES_PLACE}:${FACILITIES_PLACE}:rw -- $<TARGET_FILE:libos-facilities-guest>
                 ${FACILITIES_PLACE} watches)
set_tests_properties(libos_facilities.host_watches PROPERTIES TIMEOUT 60 LABELS libos)
