set(LIBOS_SHARED ${PROJECT_SOURCE_DIR}/libos/shared)
add_executable(libos_shared_test shared_test.cpp shared_host.cpp ${LIBOS_SHARED}/arena.cpp ${LIBOS_SHARED}/classes.cpp
               ${LIBOS_SHARED}/heap.cpp ${LIBOS_SHARED}/lock.cpp ${PROJECT_SOURCE_DIR}/libos/errno.cpp)
target_include_directories(libos_shared_test PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(libos_shared_test PRIVATE -fno-strict-aliasing -Wall -Wextra -Wno-unused-parameter)
target_link_libraries(libos_shared_test PRIVATE GTest::gtest GTest::gtest_main)
add_test(NAME libos_shared COMMAND libos_shared_test)
set_tests_properties(libos_shared PROPERTIES TIMEOUT 60)
