// SPDX-License-Identifier: Apache-2.0
// A static Go program: goroutines, timers, and a child whose output it reads.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

func main() {
	var group sync.WaitGroup
	numbers := make(chan int, 100)
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			time.Sleep(time.Millisecond)
			numbers <- i
		}(i)
	}
	group.Wait()
	close(numbers)
	sum := 0
	for n := range numbers {
		sum += n
	}
	fmt.Println("sum", sum)
	out, err := exec.Command("sh", "-c", "echo child; exit 4").Output()
	fmt.Printf("%q %v\n", out, err)
	file, err := os.ReadFile("/etc/debian_version")
	fmt.Println(len(file) > 0, err)
	_, err = os.Open("/no/such/file")
	fmt.Println(err)
}
