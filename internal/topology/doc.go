// Package topology reads descriptions of test networks: hosts, the links that
// join them to a common middle, and extra paths between pairs of them.
//
// One description serves the simulator, which runs it in virtual time, and the
// lab, which runs it with network namespaces. A packet from host a to host b
// passes a's up link, the path a:b if there is one, and b's down link:
//
//	h0 --up--> (path h0:h1) --down--> h1
//	h0 <-down- (path h1:h0) <--up--- h1
//
// It is a JSON document:
//
//	{
//	  "mtu": 1500, "cc": "cubic", "seed": 1, "quantum": "200us", "min_ttl": 0,
//	  "hosts": [
//	    {"name": "h0", "multicast": true, "link": {"rate": "1gbit", "delay": "25ms"}},
//	    {"name": "h1", "up": {"rate": "100mbit"}, "down": {"loss": "0.1%"}, "nic": "1gbit"}
//	  ],
//	  "paths": [{"from": "h0", "to": "h1", "delay": "50ms"}]
//	}
//
// The settings of a link, here and in KEY=VALUE form, are the fields of [Link].
// Everything is read strictly: an unknown or repeated key is an error that says
// which and where.
//
// All functions are pure. A [Topology] has one owner; nothing here locks.
package topology
