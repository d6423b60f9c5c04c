# SPDX-License-Identifier: Apache-2.0
# needs: cmake ninja clang++-14 c++
# CMake and Ninja, with gcc and with clang: configuration, 200 files, a test run by ctest.
mkdir s; for i in $(seq 200); do echo "int f$i() { return $i; }" > s/f$i.cpp; done
{ for i in $(seq 200); do echo "int f$i();"; done; echo '#include <vector>'; echo '#include <cstdio>'
  echo 'int main() { std::vector<int> v;'; for i in $(seq 200); do echo "v.push_back(f$i());"; done
  echo 'int s = 0; for (int x : v) s += x; std::printf("%d\n", s); return s == 20100 ? 0 : 1; }'; } > s/main.cpp
cat > s/CMakeLists.txt <<'E'
cmake_minimum_required(VERSION 3.20)
project(many CXX)
file(GLOB sources *.cpp)
add_executable(many ${sources})
enable_testing()
add_test(NAME sum COMMAND many)
E
for compiler in c++ clang++-14; do
  cmake -S s -B b-$compiler -G Ninja -DCMAKE_CXX_COMPILER=$compiler > log 2>&1 || { cat log; exit 1; }
  cmake --build b-$compiler -j 2 > log 2>&1 || { tail -50 log; exit 1; }
  ctest --test-dir b-$compiler > log 2>&1 || { cat log; exit 1; }
  cmake --build b-$compiler | grep -q 'no work to do'
done
echo done
