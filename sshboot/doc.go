// Package sshboot reaches a host by SSH and starts an agent there.
//
// Dial logs in once, either with the built-in client (golang.org/x/crypto/ssh,
// which honours ssh_config, the key agent and known_hosts) or through an
// external program such as ssh. Boot then needs exactly one exec request: the
// remote command looks for a usable agent, runs it, and when there is none asks
// for the program over its own standard input:
//
//	us                                      far host
//	exec: sh -c 'stage 1'  ---------------> cached or installed copy? exec it
//	                       <--------------- MAGIC hello ...          (done)
//	or                     <--------------- MAGIC need OS ARCH TOOLS
//	stage 2, one line      ---------------> finds a directory that runs files
//	                       <--------------- MAGIC send DIR
//	program, gzip if known ---------------> checks length and hash, renames
//	                       <--------------- MAGIC hello ...          (done)
//	or                     <--------------- MAGIC send NEXTDIR | MAGIC none REASONS
//
// The package hands out a byte stream. It knows nothing about the messages that
// travel on it, reads no environment variables and prints nothing.
//
// Start reading at Dial (dial.go), Boot (boot.go) and the two script stages
// (script.go).
package sshboot
