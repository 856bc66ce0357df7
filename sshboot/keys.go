package sshboot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/crypto/ssh"
)

// defaultKeys are tried when no IdentityFile is given, the type that most people
// use now first.
var defaultKeys = []string{"id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk"}

// maxKeyFile bounds a key file, in bytes; the largest RSA keys are below 20 KiB.
const maxKeyFile = 1 << 20

// keyFile is what is known about one identity before anything is asked.
type keyFile struct {
	path   string
	pub    ssh.PublicKey
	signer ssh.Signer // nil: only the public part is here
	given  bool       // named by option or configuration
}

// loadKeys orders all keys: those that the user named first (held by the agent
// or in files), then the agent's others, then the default files. Each costs a
// round trip if the server does not want it, so the order decides how long a
// login takes. A certificate comes before its plain key.
func (a *auth) loadKeys() error {
	held := make(map[string]ssh.Signer)
	var order []ssh.Signer
	if ag := a.openAgent(); ag != nil {
		signers, err := ag.Signers()
		if err != nil {
			a.note("key agent: %v", err)
		}
		for _, s := range signers {
			held[string(s.PublicKey().Marshal())] = s
			order = append(order, s)
		}
	}
	files, err := a.identityFiles()
	if err != nil {
		return err
	}
	certs, err := a.certificates(files)
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	add := func(s ssh.Signer) {
		blob := string(s.PublicKey().Marshal())
		if !seen[blob] {
			seen[blob] = true
			a.signers = append(a.signers, s)
		}
	}
	addFile := func(k keyFile) {
		s := k.signer
		if h := held[string(k.pub.Marshal())]; h != nil {
			s = h // the agent needs no passphrase
		}
		if s == nil {
			return
		}
		for _, c := range certs {
			if bytes.Equal(c.Key.Marshal(), k.pub.Marshal()) {
				if cs, err := ssh.NewCertSigner(c, s); err == nil {
					add(cs)
				}
			}
		}
		add(s)
	}
	for _, k := range files {
		if k.given {
			addFile(k)
		}
	}
	if !a.s.yes("identitiesonly", false) {
		for _, s := range order {
			add(s)
		}
	}
	for _, k := range files {
		if !k.given {
			addFile(k)
		}
	}
	return nil
}

// identityFiles reads the configured keys, or the default ones.
func (a *auth) identityFiles() ([]keyFile, error) {
	var out []keyFile
	names := a.s.values["identityfile"]
	given := len(names) > 0
	if !given {
		for _, n := range defaultKeys {
			names = append(names, filepath.Join(a.s.home, ".ssh", n))
		}
	}
	for i, n := range names {
		if isNone(n) {
			continue
		}
		path := n
		if given && i >= a.s.explicit {
			var err error
			if path, err = a.s.path(n); err != nil {
				return nil, err
			}
		} else {
			path = a.s.localPath(n)
		}
		k, err := a.readKey(path)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) || i < a.s.explicit {
				a.note("key %s: %v", path, err)
			}
			continue
		}
		k.given = given
		out = append(out, k)
	}
	return out, nil
}

// readKey reads a private key, or where that is absent its public part, which is
// enough to choose one of the agent's.
func (a *auth) readKey(path string) (keyFile, error) {
	k := keyFile{path: path}
	text, err := readSmall(path)
	if errors.Is(err, fs.ErrNotExist) {
		pub, err2 := readPublic(path + ".pub")
		if err2 != nil {
			return k, err
		}
		k.pub = pub
		return k, nil
	}
	if err != nil {
		return k, err
	}
	if pub, _, _, _, err := ssh.ParseAuthorizedKey(text); err == nil {
		k.pub = pub
		return k, nil
	}
	if st, err := os.Stat(path); err == nil && runtime.GOOS != "windows" && st.Mode().Perm()&0o077 != 0 {
		return k, fmt.Errorf("permissions %04o are too open, the key is not used", st.Mode().Perm())
	}
	signer, err := ssh.ParsePrivateKey(text)
	var locked *ssh.PassphraseMissingError
	switch {
	case err == nil:
		k.pub, k.signer = signer.PublicKey(), signer
		return k, nil
	case !errors.As(err, &locked):
		return k, err
	}
	if k.pub = locked.PublicKey; k.pub == nil {
		if k.pub, err = readPublic(path + ".pub"); err != nil {
			return k, fmt.Errorf("needs a passphrase, and its public part is missing: %w", err)
		}
	}
	if a.canAsk() {
		k.signer = &lazySigner{pub: k.pub, load: func() (ssh.Signer, error) { return a.unlock(path, text) }}
	} else {
		a.note("key %s: needs a passphrase and nobody can be asked", path)
	}
	return k, nil
}

// unlock asks for the passphrase, three times at most.
func (a *auth) unlock(path string, text []byte) (ssh.Signer, error) {
	for range maxPasswordTries {
		pass, err := a.ask("passphrase for key "+path, true)
		if err != nil {
			return nil, err
		}
		if pass == "" {
			break
		}
		if s, err := ssh.ParsePrivateKeyWithPassphrase(text, []byte(pass)); err == nil {
			return s, nil
		}
	}
	a.note("key %s: wrong passphrase", path)
	return nil, errNoPassphrase
}

// certificates reads CertificateFile and the "-cert.pub" beside each key.
func (a *auth) certificates(files []keyFile) ([]*ssh.Certificate, error) {
	var out []*ssh.Certificate
	add := func(path string, must bool) {
		pub, err := readPublic(path)
		if err != nil {
			if must {
				a.note("certificate %s: %v", path, err)
			}
			return
		}
		if c, ok := pub.(*ssh.Certificate); ok && c.CertType == ssh.UserCert {
			out = append(out, c)
		}
	}
	for _, n := range a.s.values["certificatefile"] {
		p, err := a.s.path(n)
		if err != nil {
			return nil, err
		}
		add(p, true)
	}
	for _, k := range files {
		add(k.path+"-cert.pub", false)
	}
	return out, nil
}

func readPublic(path string) (ssh.PublicKey, error) {
	text, err := readSmall(path)
	if err != nil {
		return nil, err
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(text)
	return pub, err
}

func readSmall(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > maxKeyFile || !st.Mode().IsRegular() {
		return nil, errors.New("is not a key file")
	}
	return os.ReadFile(path)
}
