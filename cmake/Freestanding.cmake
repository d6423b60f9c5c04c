# Images without a C library: the entry image, the library OS, and the small guests of the tests.

set(POSTERN_FREESTANDING_FLAGS
    -std=c++23 -O2 -g -ffreestanding -fno-exceptions -fno-rtti -mgeneral-regs-only -fno-stack-protector
    -fcf-protection=none -fno-threadsafe-statics -fPIE -ffunction-sections -fdata-sections -fno-strict-aliasing
    -fno-asynchronous-unwind-tables -Wall -Wextra -Wno-unused-parameter)

# postern_image(NAME target BASE address SOURCES ... [SCRIPT file] [DEFINES ...])
# Links a static image whose first page is at BASE. Nothing undefined may remain.
function(postern_image)
  cmake_parse_arguments(ARG "" "NAME;BASE;SCRIPT;DIRECTORY" "SOURCES;DEFINES;LINK" ${ARGN})
  add_executable(${ARG_NAME} ${ARG_SOURCES})
  target_include_directories(${ARG_NAME} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${ARG_NAME} PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${POSTERN_FREESTANDING_FLAGS}>)
  target_compile_definitions(${ARG_NAME} PRIVATE POSTERN_FREESTANDING=1 ${ARG_DEFINES})
  target_link_options(${ARG_NAME} PRIVATE -nostdlib -static -no-pie -Wl,--build-id=none -Wl,-z,noexecstack
                      -Wl,-z,separate-code -Wl,-z,max-page-size=4096 -Wl,--gc-sections -Wl,--no-undefined ${ARG_LINK})
  if(ARG_SCRIPT)
    target_link_options(${ARG_NAME} PRIVATE -Wl,-T,${ARG_SCRIPT})
    set_target_properties(${ARG_NAME} PROPERTIES LINK_DEPENDS ${ARG_SCRIPT})
  else()
    target_link_options(${ARG_NAME} PRIVATE -Wl,-Ttext-segment=${ARG_BASE})
  endif()
  if(ARG_DIRECTORY)
    set_target_properties(${ARG_NAME} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${ARG_DIRECTORY})
  endif()
endfunction()
