// Package labtest brings up labs for tests: [Start], and the rest is gone when the
// test ends, however it does. Tests of several packages that run at once wait for
// each other, as a machine has one lab at a time.
//
// It needs root, the program ip, and a Go toolchain, with which it builds the
// emulator. It works on Linux and is empty on other systems.
package labtest
