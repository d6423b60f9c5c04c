# SPDX-License-Identifier: Apache-2.0
# needs: gcc make
# A project of 200 files, two jobs at a time; nothing is built twice, and a touched file alone is built again.
for i in $(seq 200); do echo "int f$i(void) { return $i; }" > f$i.c; done
{ for i in $(seq 200); do echo "int f$i(void);"; done
  echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'
  for i in $(seq 200); do echo "s += f$i();"; done
  echo 'printf("%d\n", s); return 0; }'; } > main.c
cat > Makefile <<'E'
OBJECTS = $(patsubst %.c,%.o,$(wildcard *.c))
all: program
program: $(OBJECTS)
	gcc -o $@ $^
%.o: %.c
	gcc -O1 -c $< -o $@
	@echo built >> log
E
make -j2 -s
test "$(./program)" = 20100
test "$(wc -l < log)" = 201
make -j2 -s
test "$(wc -l < log)" = 201
sleep 1.1; touch f7.c; make -j2 -s
test "$(wc -l < log)" = 202
echo done
