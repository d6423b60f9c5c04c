# Ordinary programs and libraries: the command, the monitor, generators, tests.

set(POSTERN_HOSTED_WARNINGS -Wall -Wextra -Wno-unused-parameter)
set(POSTERN_SANITIZERS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)

# postern_hosted(target): warnings, and sanitizers when they are asked for. Sanitizers cannot be linked statically and
# have nothing to say about code that runs without a C library.
function(postern_hosted target)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE ${POSTERN_HOSTED_WARNINGS})
  if(POSTERN_SANITIZE)
    target_compile_options(${target} PRIVATE ${POSTERN_SANITIZERS})
    target_link_options(${target} PRIVATE -fsanitize=address,undefined)
  endif()
endfunction()
