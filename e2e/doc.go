// Package e2e tests the program as people use it: the real binary, started as a
// process, against OpenSSH's sshd on loopback or in network namespaces.
//
// What a test needs of the system is installed by "make test-deps", and
// namespaces need root. Each test has its own homes, keys, ports and sshd, so
// all may run in any order. Waiting is always for something that can be seen,
// with a limit.
package e2e
