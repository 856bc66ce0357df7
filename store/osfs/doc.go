// Package osfs is the store of real files: [NewSource] reads a file or a tree,
// [NewDest] writes below one directory. It is not for deciding what to copy,
// for hashing or for resuming; it knows names, attributes and durability.
//
// # Confinement
//
// A destination's names come from the far end. Each goes through two gates:
//
//	name ── store.CheckName ──▶ directory part ── os.Root, held open ──▶ directory handle
//	                            last component ── one *at system call on that handle,
//	                                              which never follows a link
//
// os.Root resolves the directory part component by component and refuses to
// leave the root; links that were there before and lead to a directory inside
// it are followed. The last component holds no slash and is neither "." nor
// "..", so an *at call on the handle cannot leave the directory either. A
// directory that is exchanged for a link while the job runs is harmless: the
// handle goes on meaning the old directory, and a fresh look-up is checked again.
// Links with absolute targets are never followed, even if they lead back
// inside.
//
// # Unfinished files
//
//	.gomover-<job>-<base>            the unfinished form, mode 0600
//	.gomover-<job>-<base>.journal    its journal
//
// Both stand beside the final name, so that the final rename stays within one
// directory. See [Dest] for the forms that long and awkward names take.
//
// Start reading at source.go and dest.go; dir_unix.go holds the system calls,
// dir_other.go the portable form of the same.
package osfs
