// Package httpsource reads ranges of one object from an HTTP or HTTPS server, and
// takes care that they are all of the same object.
//
// Open asks for the first byte. The answer tells the length, whether the server
// gives ranges, where it redirects to, and a validator, the entity tag or the
// date of the last change. Every later request names this validator and its
// answer is compared with it, so that parts of two versions are never mixed:
//
//	--> GET /f  Range: bytes=0-0
//	<-- 206     Content-Range: bytes 0-0/SIZE   ETag: "v1"
//	--> GET /f  Range: bytes=A-B  If-Range: "v1"
//	<-- 206     Content-Range: bytes A-B/SIZE   ETag: "v1"   B-A+1 bytes
//	<-- 200 or another ETag or SIZE: the object changed
//
// Nothing the server says is taken for granted: other ranges than were asked for,
// other lengths, encodings, and redirects without end or to worse protocols are
// errors.
package httpsource
