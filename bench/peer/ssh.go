package peer

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// fastCipher is what a processor with instructions for AES is fastest with; not
// OpenSSH's default.
const fastCipher = "aes128-gcm@openssh.com"

// gomover is the program of this project.
func gomover() Program {
	options := func(t Transfer, s Settings) []string {
		args := t.Mover
		if s.Streams > 0 {
			args = append(args[:len(args):len(args)], "-s", strconv.Itoa(s.Streams))
		}
		if s.Window > 0 {
			args = append(args[:len(args):len(args)], "-w", strconv.FormatInt(s.Window, 10))
		}
		return args[:len(args):len(args)]
	}
	return Program{
		Name: "gomover", MaxStreams: 64, Windows: true,
		Note: "to one receiver at a time; from several senders by HTTP from nginx",
		Plan: func(t Transfer, s Settings) Plan {
			if t.Pull {
				return fromMirrors(t)
			}
			return Plan{Client: toEach(t, s, func(to Host, target string) []string {
				return append(options(t, s), t.Source, to.Name+":"+target)
			})}
		},
		Tree: func(t Transfer, s Settings) Plan {
			return Plan{Client: Command{Host: t.From[0].Name, Args: append(options(t, s), "-r", t.Source+"/", t.To[0].Name+":"+t.target(0)+"/")}}
		},
	}
}

// fromMirrors takes one file from all senders at once, from the mirrors that aria2
// has, without hashes, as aria2 does.
func fromMirrors(t Transfer) Plan {
	p := Plan{Files: map[string]string{}}
	args := append(t.Mover[:len(t.Mover):len(t.Mover)], "pull", "--trust-mirrors")
	for _, from := range t.From {
		conf, text, server := Mirror(from, filepath.Dir(t.Source), t.Work)
		p.Files[conf] = text
		p.Servers = append(p.Servers, server)
		args = append(args, MirrorURL(from, filepath.Base(t.Source)))
	}
	p.Client = Command{Host: t.To[0].Name, Args: append(args, t.target(0))}
	return p
}

// scp's window is what it has requested of its sftp server at once; the window of
// the ssh channel below stays OpenSSH's own.
func scp() Program {
	return Program{
		Name: "scp", Packages: []string{"openssh-client", "openssh-server"}, Needs: []string{"scp", "/usr/sbin/sshd"}, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			args := []string{"scp", "-q", "-F", t.Config}
			if !s.Default() {
				args = append(args, "-c", fastCipher)
			}
			if s.Window > 0 {
				const request = 255 << 10 // bytes; the most that OpenSSH's server takes
				args = append(args, "-X", fmt.Sprintf("buffer=%d", request), "-X", fmt.Sprintf("nrequests=%d", max(16, s.Window/request)))
			}
			return Plan{Client: toEach(t, s, func(to Host, target string) []string {
				return append(args[:len(args):len(args)], t.Source, to.Name+":"+target)
			})}
		},
		Tree: func(t Transfer, _ Settings) Plan {
			return Plan{Client: Command{Host: t.From[0].Name, Args: []string{"scp", "-q", "-r", "-F", t.Config, t.Source, t.To[0].Name + ":" + t.Dirs[0] + "/"}}}
		},
	}
}

// wholeFile is rsync without its comparison of old and new content.
const wholeFile = "whole file in place, aes128-gcm"

func rsync() Program {
	return Program{
		Name: "rsync", Packages: []string{"rsync", "openssh-client", "openssh-server"}, Needs: []string{"rsync", "ssh", "/usr/sbin/sshd"},
		Variants: []string{wholeFile},
		Plan: func(t Transfer, s Settings) Plan {
			ssh := "ssh -F " + t.Config
			args := []string{"rsync", "-e", ssh}
			if s.Variant == wholeFile {
				args = []string{"rsync", "-W", "--inplace", "-e", ssh + " -c " + fastCipher}
			}
			return Plan{Client: toEach(t, s, func(to Host, target string) []string {
				return append(args[:len(args):len(args)], t.Source, to.Name+":"+target)
			})}
		},
		Tree: func(t Transfer, _ Settings) Plan {
			return Plan{Client: Command{Host: t.From[0].Name, Args: []string{"rsync", "-a", "-e", "ssh -F " + t.Config, t.Source + "/", t.To[0].Name + ":" + t.target(0) + "/"}}}
		},
	}
}

// tar through ssh is what many use for trees.
func tar() Program {
	return Program{
		Name: "tar", Packages: []string{"tar", "openssh-client", "openssh-server"}, Needs: []string{"tar", "ssh", "/usr/sbin/sshd"},
		Tree: func(t Transfer, _ Settings) Plan {
			line := quote([]string{"tar", "c", "-C", t.Source, "."}) + " | " +
				quote([]string{"ssh", "-F", t.Config, t.To[0].Name, "mkdir -p " + t.target(0) + " && tar x -C " + t.target(0)})
			return Plan{Client: Command{Host: t.From[0].Name, Args: []string{"sh", "-ec", line}}}
		},
	}
}

// rclone pulls: only then does its sftp use several connections.
func rclone() Program {
	remote := func(t Transfer, more string) string {
		return fmt.Sprintf(":sftp,host=%s,user=root,key_file=%s,known_hosts_file=%s%s:%s", t.From[0].Address, t.Key, t.KnownHosts, more, t.Source)
	}
	return Program{
		Name: "rclone", Packages: []string{"rclone", "openssh-server"}, Needs: []string{"rclone", "/usr/sbin/sshd"},
		Note: "over sftp, started at the receiver; its default opens several connections for files above 250 MiB only", MaxStreams: 64, Windows: true,
		Plan: func(t Transfer, s Settings) Plan {
			args := []string{"rclone", "--config", "", "copyto"}
			if s.Default() {
				return Plan{Client: Command{Host: t.To[0].Name, Args: append(args, remote(t, ""), t.target(0))}}
			}
			args = append(args, "--multi-thread-streams", strconv.Itoa(max(1, s.Streams)), "--multi-thread-cutoff", "1M")
			more := ",disable_hashcheck=true"
			if s.Window > 0 {
				const chunk = 255 << 10 // bytes; the most that OpenSSH's server takes
				more += fmt.Sprintf(",chunk_size=255Ki,concurrency=%d", max(64, s.Window/chunk))
			}
			return Plan{Client: Command{Host: t.To[0].Name, Args: append(args, remote(t, more), t.target(0))}}
		},
		Tree: func(t Transfer, s Settings) Plan {
			args := []string{"rclone", "--config", "", "copy"}
			if s.Streams > 0 { // files at once
				args = append(args, "--transfers", strconv.Itoa(s.Streams), "--checkers", strconv.Itoa(s.Streams))
			}
			return Plan{Client: Command{Host: t.To[0].Name, Args: append(args, remote(t, ""), t.target(0))}}
		},
	}
}
