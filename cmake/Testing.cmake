# Helpers for tests/*/CMakeLists.txt. Labels: unit (hosted, sanitizers apply), slow (only ./x test --all).

# The system's own: an interpreter below somebody's home directory is out of reach for tests that change the user.
if(EXISTS /usr/bin/python3)
  set(Python3_EXECUTABLE /usr/bin/python3)
endif()

# Everything that ./x check builds under sanitizers.
add_custom_target(unit_tests)

# postern_unit_test(NAME name SOURCES ... [LIBRARIES ...] [LABELS ...]): a GoogleTest program that is one CTest test.
function(postern_unit_test)
  cmake_parse_arguments(ARG "" "NAME" "SOURCES;LIBRARIES;LABELS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  postern_hosted(${ARG_NAME})
  add_dependencies(unit_tests ${ARG_NAME})
  target_link_libraries(${ARG_NAME} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_NAME})
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "unit;${ARG_LABELS}" TIMEOUT 120 SKIP_RETURN_CODE 77)
endfunction()

# postern_program_test(NAME name COMMAND ... [TIMEOUT seconds] [LABELS ...]): status 77 and a line "SKIP: reason" skip it.
function(postern_program_test)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "COMMAND;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  add_test(NAME ${ARG_NAME} COMMAND ${ARG_COMMAND})
  set_tests_properties(${ARG_NAME} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT} SKIP_RETURN_CODE 77
                       ENVIRONMENT "POSTERN=${PROJECT_BINARY_DIR}/bin/postern")
endfunction()
