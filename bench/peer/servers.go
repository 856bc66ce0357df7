package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Ports of the servers, each program's customary one where that is free for it.
const (
	iperfPort   = 5201
	gridFTPPort = 2811
	nginxPort   = 8080
	xrootdPort  = 1094
	udtPort     = 9100
)

// iperf is the limit: TCP from memory to memory.
func iperf() Program {
	return Program{
		Name: "iperf3", Packages: []string{"iperf3"}, Needs: []string{"iperf3"},
		Note: "the limit: memory to memory, no file, no login", MaxStreams: 64, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			args := []string{"iperf3", "-J", "-c", t.To[0].Address, "-p", strconv.Itoa(iperfPort), "-t", strconv.Itoa(iperfSeconds(t))}
			if s.Streams > 0 {
				args = append(args, "-P", strconv.Itoa(s.Streams))
			}
			if s.Window > 0 {
				args = append(args, "-w", strconv.FormatInt(s.Window, 10))
			}
			return Plan{
				Servers: []Server{{Command: IperfServer(t.To[0], iperfPort), Protocol: "tcp", Port: iperfPort}},
				Client:  Command{Host: t.From[0].Name, Args: args},
			}
		},
		Received: IperfReceived,
	}
}

// iperfSeconds is for how long iperf3 sends: about twice what the payload needs on
// the link, so that the start weighs as in the others' runs. A number of bytes will
// not do: iperf3 ends when they are in the sender's buffers, and throws them away.
func iperfSeconds(t Transfer) int {
	rate := float64(t.RateBits)
	if rate == 0 {
		rate = 10e9
	}
	const least, most = 3, 20
	return int(min(most, max(least, 2*float64(t.Size)*8/rate)))
}

// IperfServer waits for one test.
func IperfServer(h Host, port int) Command {
	return Command{Host: h.Name, Args: []string{"iperf3", "-s", "-1", "-p", strconv.Itoa(port)}}
}

// IperfReceived reads how many bytes have arrived from the report of iperf3 -J.
// Errors: the report of a failed test, none at all, or one without bytes.
func IperfReceived(output string) (int64, error) {
	var report struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Bytes int64 `json:"bytes"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal([]byte(output), &report); err != nil {
		return 0, fmt.Errorf("reading iperf3's report: %w", err)
	}
	if report.Error != "" {
		return 0, errors.New("iperf3: " + report.Error)
	}
	if report.End.Received.Bytes <= 0 {
		return 0, errors.New("iperf3 moved nothing")
	}
	return report.End.Received.Bytes, nil
}

// gridFTP runs without certificates. The server works as nobody.
func gridFTP() Program {
	return Program{
		Name: "GridFTP", Packages: []string{"globus-gass-copy-progs", "globus-gridftp-server-progs"},
		Needs: []string{"globus-url-copy", "globus-gridftp-server"}, MaxStreams: 64, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			args := []string{"globus-url-copy"}
			if s.Streams > 0 {
				args = append(args, "-fast", "-p", strconv.Itoa(s.Streams))
			}
			if s.Window > 0 {
				args = append(args, "-tcp-bs", strconv.FormatInt(s.Window, 10))
			}
			var p Plan
			for _, to := range t.To {
				p.Servers = append(p.Servers, Server{Protocol: "tcp", Port: gridFTPPort, Command: Command{Host: to.Name, Args: []string{
					"globus-gridftp-server", "-c", "", "-aa", "-anonymous-user", "nobody", "-anonymous-names-allowed", "*",
					"-p", strconv.Itoa(gridFTPPort), "-control-interface", to.Address, "-data-interface", to.Address,
				}}})
			}
			p.Client = toEach(t, s, func(to Host, target string) []string {
				return append(args[:len(args):len(args)], "file://"+t.Source, fmt.Sprintf("ftp://%s:%d%s", to.Address, gridFTPPort, target))
			})
			return p
		},
	}
}

// aria2 takes one file from all senders at once, by HTTP from nginx.
func aria2() Program {
	return Program{
		Name: "aria2", Packages: []string{"aria2", "nginx-light"}, Needs: []string{"aria2c", "nginx"},
		Note: "HTTP from nginx, started at the receiver, without encryption", MaxStreams: 16, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			args := []string{"aria2c", "--no-conf", "-q", "-d", t.Dirs[0], "-o", filepath.Base(t.Source)}
			send := ""
			if !s.Default() {
				n := max(1, s.Streams)
				args = append(args, "--file-allocation=none", "--min-split-size=1M", "-x", strconv.Itoa(n), "-s", strconv.Itoa(n*len(t.From)))
			}
			if s.Window > 0 {
				const most = 16 << 20 // bytes; aria2's own limit
				args = append(args, fmt.Sprintf("--socket-recv-buffer-size=%d", min(s.Window, most)))
				send = fmt.Sprintf(" sndbuf=%d", s.Window)
			}
			p := Plan{Files: map[string]string{}}
			for _, from := range t.From {
				conf, text, server := mirror(from, filepath.Dir(t.Source), t.Work, send)
				p.Files[conf] = text
				p.Servers = append(p.Servers, server)
				args = append(args, MirrorURL(from, filepath.Base(t.Source)))
			}
			p.Client = Command{Host: t.To[0].Name, Args: args}
			return p
		},
	}
}

// lftp takes the file by HTTP from nginx, in as many parts at once as it is told.
func lftp() Program {
	return Program{
		Name: "lftp", Packages: []string{"lftp", "nginx-light"}, Needs: []string{"lftp", "nginx"},
		Note: "HTTP from nginx, started at the receiver, without encryption", MaxStreams: 64, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			set, get, send := "", "get", ""
			if s.Streams > 0 {
				set, get = "set pget:min-chunk-size 1M; set pget:save-status never; ", fmt.Sprintf("pget -n %d", s.Streams)
			}
			if s.Window > 0 {
				set += fmt.Sprintf("set net:socket-buffer %d; ", s.Window)
				send = fmt.Sprintf(" sndbuf=%d", s.Window)
			}
			conf, text, server := mirror(t.From[0], filepath.Dir(t.Source), t.Work, send)
			line := fmt.Sprintf("%s%s %s -o %s", set, get, MirrorURL(t.From[0], filepath.Base(t.Source)), t.target(0))
			return Plan{Files: map[string]string{conf: text}, Servers: []Server{server}, Client: Command{Host: t.To[0].Name, Args: []string{"lftp", "--norc", "-c", line}}}
		},
	}
}

// Mirror is nginx on a host, which serves a directory by HTTP. What is returned
// first is the name of its configuration, in the directory work, and then the text
// of that.
func Mirror(h Host, root, work string) (conf, text string, s Server) {
	return mirror(h, root, work, "")
}

// MirrorURL is where a Mirror has a file.
func MirrorURL(h Host, name string) string {
	return fmt.Sprintf("http://%s:%d/%s", h.Address, nginxPort, name)
}

func mirror(h Host, root, work, listen string) (conf, text string, s Server) {
	conf = filepath.Join(work, "nginx."+h.Name)
	temporary := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temporary += fmt.Sprintf("%s_temp_path %s.%s;\n", kind, conf, kind)
	}
	text = "daemon off;\nuser root;\nworker_processes auto;\npid " + conf + ".pid;\nevents { worker_connections 256; }\n" +
		"http {\nsendfile on;\naccess_log off;\n" + temporary +
		fmt.Sprintf("server { listen %s:%d%s; root %s; }\n}\n", h.Address, nginxPort, listen, root)
	return conf, text, Server{Protocol: "tcp", Port: nginxPort, Command: Command{Host: h.Name, Args: []string{
		"nginx", "-c", conf, "-p", work, "-e", conf + ".log",
	}}}
}

// Aria2List is the command line of aria2 that fetches what a Metalink names into a
// directory, with so many connections to each mirror and in all. Blocks are checked
// as they come, which is its default.
func Aria2List(list, dir string, each, all int) []string {
	return []string{"aria2c", "--no-conf", "-q", "-j1", "--file-allocation=none", "--min-split-size=1M", "--metalink-preferred-protocol=http",
		"-x", strconv.Itoa(each), "-s", strconv.Itoa(all), "-d", dir, "-M", list}
}

// xrdcp's window is the number of chunks of 8 MiB under way, on all connections
// together; never fewer than its default.
func xrdcp() Program {
	const chunk, least, most = 8 << 20, 4, 32 // bytes; chunks
	return Program{
		Name: "xrdcp", Packages: []string{"xrootd-client", "xrootd-server"}, Needs: []string{"xrdcp", "xrootd"},
		Note: "without encryption", MaxStreams: 15, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			conf, admin := filepath.Join(t.Work, "xrootd.cfg"), filepath.Join(t.Work, "xrootd")
			args := []string{"xrdcp", "-f", "-N"}
			var env []string
			if s.Streams > 0 {
				args = append(args, "-S", strconv.Itoa(s.Streams))
			}
			if s.Window > 0 {
				env = append(env, fmt.Sprintf("XRD_CPPARALLELCHUNKS=%d", min(most, max(least, (s.Window*int64(max(1, s.Streams))+chunk-1)/chunk))))
			}
			return Plan{
				Files: map[string]string{conf: strings.Join([]string{
					"xrd.port " + strconv.Itoa(xrootdPort), "xrd.adminpath " + admin, "all.pidpath " + admin, "all.export " + t.Dirs[0], "",
				}, "\n")},
				Dirs: []string{admin},
				Servers: []Server{{Protocol: "tcp", Port: xrootdPort, Command: Command{
					Host: t.To[0].Name, Args: []string{"xrootd", "-c", conf, "-R", "nobody", "-l", filepath.Join(admin, "log")},
				}}},
				Client: Command{Host: t.From[0].Name, Env: env, Args: append(args, t.Source, fmt.Sprintf("root://%s:%d/%s", t.To[0].Address, xrootdPort, t.target(0)))},
			}
		},
	}
}

// udt is libudt's own throughput, by the driver in testdata/udt.
func udt() Program {
	return Program{
		Name: "libudt", Packages: []string{"libudt-dev", "g++"}, Needs: []string{"g++"},
		Note: "UDP, without encryption", MaxStreams: 32, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			port, streams, window := strconv.Itoa(udtPort), strconv.Itoa(max(1, s.Streams)), strconv.FormatInt(s.Window, 10)
			return Plan{
				Servers: []Server{{Protocol: "udp", Port: udtPort, Ends: true, Command: Command{
					Host: t.To[0].Name, Args: []string{t.UDT, "receive", port, t.target(0), streams, window},
				}}},
				Client: Command{Host: t.From[0].Name, Args: []string{t.UDT, "send", t.To[0].Address, port, t.Source, streams, window}},
			}
		},
	}
}
