// Command libcuda prints the path of the emulator's library, which it compiles where that was not done before: what NETMEND_LIBCUDA takes. Its arguments are
// more kernel files, as emulator.Use has them.
package main

import (
	"fmt"
	"os"

	"netmend/cuda/emulator"
)

func main() {
	path, err := emulator.Library(os.Args[1:]...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "libcuda:", err)
		os.Exit(1)
	}
	fmt.Println(path)
}
