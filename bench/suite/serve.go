package main

import (
	"context"
	"os"

	"github.com/gomover/gomover/bench/ground"
	"github.com/gomover/gomover/bench/peer"
)

// serve writes a plan's files, starts its servers and waits until they are ready. What
// is returned first waits for those that end by themselves, what second ends all that
// the plan has left; it is to be called also after an error.
func (s *scene) serve(ctx context.Context, p peer.Plan) (ends func(context.Context) error, stop func(), err error) {
	nothing := func() {}
	for path, text := range p.Files {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return nil, nothing, err
		}
	}
	if err := open(p.Dirs); err != nil {
		return nil, nothing, err
	}
	var servers []*ground.Server
	for _, one := range p.Servers {
		servers = append(servers, &ground.Server{
			Host: s.Host(one.Host), Args: one.Args, Protocol: one.Protocol, Port: one.Port, Ends: one.Ends,
		})
	}
	return s.Serve(ctx, servers)
}
