// Package seal proves that a data connection belongs to a job and protects the
// frames on it. It knows byte streams and frames, no sockets and no files.
//
// Both ends hold the job's one-time secret. The dialler speaks first, and a
// listener answers nobody who has not shown that he knows the secret:
//
//	dialler                                   listener
//	Hello   76 bytes: label, nonce, MAC  ---->  checks MAC, nonce is new
//	        checks MAC  <----  Reply 68 bytes: nonce, cipher, MAC
//	Confirm 32 bytes: MAC over both      ---->  checks MAC, label is new
//	records <=============================>  records
//
// From the secret and both nonces HKDF (RFC 5869) makes keys for this
// connection alone, one per direction, and new ones in good time before a key
// wears out. A record is a frame's body behind its length and before its tag:
//
//	| length 4 | body ............ | tag 16 |
//	           ^ transports.Frame.Body, sealed in place
//
// Start reading at [Guard.Greet] and [Guard.Hear], then [Sealer] and [Opener]. The bytes
// are written down in docs/wire-data.md, the reasons in docs/security.md.
package seal
