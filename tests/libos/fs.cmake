# One self-checking program, run natively (so that its expectations are Linux's) and in a picoprocess.
add_executable(libos-fs-guest fs_guest.c)
target_compile_options(libos-fs-guest PRIVATE -O1 -w)
add_test(NAME libos_fs_native COMMAND libos-fs-guest)
set_tests_properties(libos_fs_native PROPERTIES TIMEOUT 60 LABELS libos)
foreach(part errors data names times directories descriptors locks memory paths host)
  add_test(NAME libos_fs.${part}
           COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-fs-guest> --
                   $<TARGET_FILE:libos-fs-guest> ${part})
  set_tests_properties(libos_fs.${part} PROPERTIES TIMEOUT 60 LABELS libos)
endforeach()

# Threads that share a table of descriptors.
find_package(Threads REQUIRED)
add_executable(libos-descriptors-guest descriptors_guest.c)
target_compile_options(libos-descriptors-guest PRIVATE -O1 -w)
target_link_libraries(libos-descriptors-guest PRIVATE Threads::Threads)
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/descriptors/file xy)
add_test(NAME libos_descriptors_native COMMAND libos-descriptors-guest)
add_test(NAME libos_descriptors
         COMMAND ${PROJECT_BINARY_DIR}/bin/postern run --quiet -v $<TARGET_FILE_DIR:libos-descriptors-guest>
                 -e HOST_FILE=${CMAKE_CURRENT_BINARY_DIR}/descriptors/file --
                 $<TARGET_FILE:libos-descriptors-guest>)
set_tests_properties(libos_descriptors libos_descriptors_native PROPERTIES TIMEOUT 60 LABELS libos)
