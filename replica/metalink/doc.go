// Package metalink reads lists of files, the places where they can be had, and
// the hashes by which they are checked: Metalink version 4, RFC 5854. It reads
// what strangers wrote: every count and length is bounded, a name never leads out
// of the directory it is written to, and a file about which the list contradicts
// itself is refused while the others stay.
//
//	<metalink xmlns="urn:ietf:params:xml:ns:metalink">
//	  <file name="data.tar">
//	    <size>10485760</size>
//	    <hash type="sha-256">...</hash>
//	    <pieces length="4194304" type="sha-256"><hash>...</hash> ... </pieces>
//	    <url priority="1" location="de">https://one.example/data.tar</url>
//	  </file>
//	</metalink>
package metalink
