package site

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/vitalveil/vitalveil/internal/record"
	"github.com/vitalveil/vitalveil/internal/state"
)

// maxDocument bounds configuration files and network documents, in bytes.
const maxDocument = 4 << 20

// Path is a path in a document that Load reads. It may be relative, to the document's
// directory; Load makes it absolute. Empty stays empty.
type Path string

// Secret says where a secret is: a path as Path is one, or "credential:NAME" for the
// credential of that name that systemd hands to the service. It is never the secret
// itself.
type Secret string

const credentialPrefix = "credential:"

var credentialName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// Load reads the JSON document at path into a pointer to a zero value: strictly, at most
// 4 MiB of it, with every Path and Secret in it made absolute. Where the type has a
// method Check() error, that has the last word.
func Load(path string, into any) error {
	b, err := state.ReadFile(path, maxDocument)
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return err
	}
	if err := record.DecodeJSON(b, maxDocument, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	resolve(reflect.ValueOf(into).Elem(), dir)
	if c, ok := into.(interface{ Check() error }); ok {
		if err := c.Check(); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

var (
	pathType   = reflect.TypeFor[Path]()
	secretType = reflect.TypeFor[Secret]()
)

// resolve makes the paths below v absolute.
func resolve(v reflect.Value, dir string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				resolve(v.Field(i), dir)
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			resolve(v.Index(i), dir)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			e := reflect.New(v.Type().Elem()).Elem()
			e.Set(v.MapIndex(k))
			resolve(e, dir)
			v.SetMapIndex(k, e)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			resolve(v.Elem(), dir)
		}
	case reflect.String:
		relative := v.Len() > 0 && !filepath.IsAbs(v.String())
		if relative && (v.Type() == pathType || v.Type() == secretType && !strings.HasPrefix(v.String(), credentialPrefix)) {
			v.SetString(filepath.Join(dir, v.String()))
		}
	}
}

// Path is the file that has the secret. A credential has one only in a service that
// systemd has started.
func (s Secret) Path() (string, error) {
	name, ok := strings.CutPrefix(string(s), credentialPrefix)
	if !ok {
		return string(s), nil
	}
	if !credentialName.MatchString(name) {
		return "", fmt.Errorf("%q does not name a credential: it has letters, digits and . _ - only", s)
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		return "", fmt.Errorf("%s is there for a service that systemd starts with LoadCredential=%s:PATH only", s, name)
	}
	return filepath.Join(dir, name), nil
}

// Read returns the secret, of at most max bytes. A file that other users may read is
// refused.
func (s Secret) Read(max int64) ([]byte, error) {
	path, err := s.Path()
	if err != nil {
		return nil, err
	}
	refused := fs.FileMode(0o077)
	if strings.HasPrefix(string(s), credentialPrefix) {
		refused = 0o007 // systemd lets the service in by its group or an access list
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&refused != 0 {
		return nil, fmt.Errorf("%s may be read by other users (mode %04o): chmod 600 it", path, info.Mode().Perm())
	}
	return state.ReadFile(path, max)
}

// Save writes a document as Load reads it, with mode 0600.
func Save(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return state.WriteFile(path, append(b, '\n'))
}

// Descriptor reads a network's document, which is the same at everybody.
func Descriptor(path string) (record.Descriptor, error) {
	var d record.Descriptor
	if err := Load(path, &d); err != nil {
		return d, fmt.Errorf("%w (\"vitalveil institution network\" makes it from the members' documents)", err)
	}
	if d.Genesis.Network == "" || len(d.Genesis.Members) == 0 {
		return d, errors.New(path + " describes no network: it has no name or no members")
	}
	return d, nil
}

// MemberOf returns a member's place in a network.
func MemberOf(d record.Descriptor, msp string) (int, error) {
	i := slices.IndexFunc(d.Genesis.Members, func(m record.Member) bool { return m.MSP == msp })
	if i < 0 {
		return 0, fmt.Errorf("%q is not a member of network %q", msp, d.Genesis.Network)
	}
	return i, nil
}
