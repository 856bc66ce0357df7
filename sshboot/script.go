package sshboot

import (
	"fmt"
	"strings"
)

// The command that is sent to the login shell must mean the same to sh, dash,
// bash, zsh, fish, tcsh and busybox. All of them take single quotes literally as
// long as the text between them holds no quote, no newline (tcsh), no "!"
// (tcsh's history) and no backslash (fish). So stage 1 does without these four
// and is run by sh. Stage 2 is read by that sh from its standard input with
// "read -r", which takes exactly one line and nothing behind it; there, only
// newlines are missing.

// stage1 looks for a usable copy and runs it in place of the shell. If there is
// none it says which system this is and obeys one line from its input.
//
// A copy is usable when it lies in a directory that belongs to us and that
// nobody else may write to (in shared places: 0700), is itself a file that
// belongs to us and that nobody else may write to, and reports the expected hash
// of its own file. That catches truncated copies and file systems without
// execution; it is no proof against whoever acts as this user, who needs no copy
// of ours for that. A file named gomover that the user installed counts as well
// when it reports the same release.
//
//	o PATH KIND   PATH is ours: a directory (0), one in a shared place (1), a file (2)
//	t FILE        FILE reports the right hash
const stage1 = `u=$(id -u);` +
	`o(){ m=$2;set -- $(ls -ldn "$1" 2>/dev/null);[ "$3" = "$u" ]||return 1;` +
	`case $m$1 in ?drwx------|?drwx------[.@]|0drwx[r-]-[xsS-][r-]-[xtT-]*|2-rwx[r-]-[x-][r-]-[x-]*)return 0;;esac;return 1;};` +
	`t(){ [ -f "$1" ]||return 1;s=$("$1" %[6]s </dev/null 2>/dev/null)||return 1;` +
	`case $s in "$H"|"$H "*)return 0;;*" $R")[ "$2" ]&&return 0;;esac;return 1;};` +
	`l(){ [ -f "$1/$N" ]&&o "$1" "$2"&&o "$1/$N" 2&&t "$1/$N"&&exec "$1/$N" %[5]s;};` +
	`N="%[1]s";H=%[2]s;R="%[3]s";P="%[4]s";case $P in "~")P=$HOME;;"~/"*)P=$HOME/${P#??};;esac;` +
	`C=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache};T=${TMPDIR:-/tmp};` +
	`[ "$P" ]&&{ l "$P" 0;l "$P/gomover-$u" 1;};l "$C/gomover" 0;` +
	`for d in "$T" /var/tmp /tmp /dev/shm;do l "$d/gomover-$u" 1;done;` +
	`for f in "$(command -v gomover)" "$HOME/.local/bin/gomover";do t "$f" 1&&exec "$f" %[5]s;done;` +
	`z=-;command -v gzip >/dev/null 2>&1&&z=gz;` +
	`M=%[7]s;M=${M}%[8]s;echo "$M need $(uname -s) $(uname -m) $z";IFS= read -r s&&eval "$s"`

// stage2 finds a directory where files can be executed, receives the program
// into it, checks it and runs it. Every directory that does not do is named with
// its reason; after the last one "none" is reported.
//
// The program arrives after "send": %[1]d bytes, through filter %[2]s, giving
// %[3]d bytes. The receiving pipe always swallows all of it, so that after a
// full disk the next directory starts with the next byte sent.
//
//	w REASON      note why directory $d does not do
//	e FILE        make the probe FILE and run it
//	p DIR SHARED  make DIR usable, else note why
//	g             receive into $d
//	b REASON      the upload into $d did not do
const stage2 = `umask 077;t=;k=;q=;` +
	`x(){ [ "$t" ]&&rm -f "$t";[ "$k" ]&&rmdir "$k" 2>/dev/null;};trap x 0;trap "exit 1" 1 2 13 15;` +
	`w(){ q="$q$d: $1; ";[ "$k" ]&&rmdir "$k" 2>/dev/null;k=;return 1;};` +
	`e(){ printf '#!/bin/sh\nexit 7\n' 2>/dev/null >"$1"||{ rm -f "$1";w "cannot write";return 1;};` +
	`chmod 700 "$1";"$1" 2>/dev/null;r=$?;rm -f "$1";[ $r = 7 ]||w "no exec";};` +
	`p(){ d=$1;k=;if [ ! -d "$d" ];then if [ "$2" = 0 ];then mkdir -p "${d%%/*}" 2>/dev/null;fi;` +
	`mkdir "$d" 2>/dev/null&&k=$d;fi;[ -d "$d" ]||{ w "cannot create";return 1;};` +
	`[ "$2" = 0 ]&&[ ! -w "$d" ]&&{ w "cannot write";return 1;};` +
	`o "$d" "$2"||{ w "not ours alone";return 1;};e "$d/.gomover-upload-%[4]s.t";};` +
	`g(){ find "$d" -type f -name ".gomover-upload-*" -mtime +1 -exec rm -f {} \; 2>/dev/null;` +
	`t=$d/.gomover-upload-%[4]s;echo "$M send $d";%[5]s|{ %[2]s 2>/dev/null >"$t";r=$?;cat >/dev/null;exit $r;};r=$?;` +
	`if [ $r != 0 ];then b "cannot write (disk full?)";` +
	`elif [ "$(($(wc -c <"$t")))" != %[3]d ];then b "incomplete upload";` +
	`else chmod 700 "$t";y=$("$t" %[7]s </dev/null 2>&1);case $y in "$H"|"$H "*)f;;` +
	`*)y=$(printf %%s "$y"|tr -c "[:print:]" " "|cut -c1-120);b "the program does not run there: $y";;esac;fi;};` +
	`b(){ rm -f "$t";t=;w "$1";};` +
	`f(){ %[8]s};` +
	`a(){ p "$1" "$2"&&g;};` +
	`[ "$P" ]&&{ if a "$P" 0;then :;else case $q in *"not ours alone; ")a "$P/gomover-$u" 1;;esac;fi;};` +
	`[ "$C" != /nonexistent/.cache ]&&a "$C/gomover" 0;v=" ";` +
	`for d in "$T" /var/tmp /tmp /dev/shm;do case $v in *" $d "*)continue;;esac;v="$v$d ";[ -d "$d" ]&&a "$d/gomover-$u" 1;done;` +
	`echo "$M none $q";exit 1`

// keepRun gives the checked copy its final name and becomes the agent. The
// rename is atomic, so two uploads at once leave one whole file.
const keepRun = `mv -f "$t" "$d/$N"||{ b "cannot rename";return 1;};t=;trap - 0;exec "$d/$N" %s;`

// onceRun runs the copy as a child, so that the shell can remove it afterwards.
const onceRun = `"$t" %s;exit $?;`

// selfCheck are the arguments with which a program prints the hex SHA-256 of its
// own executable file and, after a blank, its version.
const selfCheck = "agent --selfcheck"

// bootCommand is stage 1 for the login shell.
func bootCommand(o *BootOptions) (string, error) {
	args, err := wordList(o.Args)
	if err != nil {
		return "", err
	}
	if len(o.Hash) < 16 || !isHex(o.Hash) {
		return "", fmt.Errorf("hash of the program: %q is not hexadecimal", o.Hash)
	}
	if strings.ContainsAny(o.Dir, "'\"\\!`$\n\r\x00") || strings.HasPrefix(o.Dir, "-") {
		return "", fmt.Errorf("agent directory %q: quotes, backslashes, $, ! and line breaks are not possible", o.Dir)
	}
	script := fmt.Sprintf(stage1, o.copyName(), o.Hash, releaseOf(o.Version), o.Dir, args, selfCheck, magicHead, magicTail)
	return "exec sh -c '" + script + "'", nil
}

// uploadScript is stage 2 for the shell that runs stage 1.
func uploadScript(o *BootOptions, up *payload, random string) string {
	args, _ := wordList(o.Args) // checked by bootCommand
	filter := "cat"
	if up.gzipped {
		filter = "gzip -dc"
	}
	// head is on every system that runs Go programs but is not in POSIX with -c;
	// dd byte by byte is the slow way that always works.
	receive := fmt.Sprintf(`if [ "$(echo ab|head -c 1 2>/dev/null)" = a ];then head -c %[1]d;else dd ibs=1 obs=65536 count=%[1]d 2>/dev/null;fi`, len(up.data))
	run := fmt.Sprintf(keepRun, args)
	if !o.Keep {
		run = fmt.Sprintf(onceRun, args)
	}
	return fmt.Sprintf(stage2, len(up.data), filter, up.size, random, receive, args, selfCheck, run) + "\n"
}

// copyName is the file name of an uploaded copy: the version for people, the
// hash so that builds of one version do not meet.
func (o *BootOptions) copyName() string {
	v := strings.Map(func(r rune) rune {
		if isSafe(byte(r)) && r < 0x80 && r != '/' {
			return r
		}
		return '_'
	}, o.Version)
	if len(v) > 64 {
		v = v[:64]
	}
	return "gomover-" + v + "-" + o.Hash[:16]
}

// releaseOf is the version when it names one build for all platforms, else a
// word that no program reports. Only three plain numbers do: anything longer may
// stand for many different builds.
func releaseOf(version string) string {
	parts := strings.Split(strings.TrimPrefix(version, "v"), ".")
	if len(parts) != 3 {
		return "none"
	}
	for _, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return "none"
		}
	}
	return version
}

// wordList joins words that every shell takes literally.
func wordList(words []string) (string, error) {
	for _, w := range words {
		if w == "" {
			return "", fmt.Errorf("empty agent argument")
		}
		for i := range len(w) {
			if !isSafe(w[i]) {
				return "", fmt.Errorf("agent argument %q: only letters, digits and ./:=,@%%+-_ are possible", w)
			}
		}
	}
	return strings.Join(words, " "), nil
}

func isSafe(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("./:=,@%+-_", c) >= 0
}

func isHex(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdef") == ""
}
